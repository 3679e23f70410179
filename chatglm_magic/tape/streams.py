"""Clients with a tape before them, for both roads of a question."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import TYPE_CHECKING

from ..client.call import Call
from ..client.limits import pause
from ..values import Delta
from .question import asked

if TYPE_CHECKING:
    from ..client.aio import AsyncClient
    from ..client.sync import SyncClient
    from .tape import Tape


class Taped:
    """Answers from a tape, or asks through a client and records."""

    def __init__(self, tape: Tape, client: SyncClient) -> None:
        self._tape, self._client = tape, client

    def stream(self, call: Call) -> Generator[Delta, None, None]:
        """Yield the pieces of an answer, recorded or new.

        :raises ChatGLMError: as the client, and TapeError.
        """
        question = asked(call)
        found = self._tape.find(question)
        if found is not None:
            began = time.monotonic()
            for seconds, delta in found.deltas():
                if (wait := self._tape.timed and _left(began, seconds, call)) > 0:
                    pause(wait)
                yield delta
            return
        recording = self._tape.begin(question, call)
        kept = False
        with closing(self._client.stream(call)) as deltas:
            try:
                for delta in deltas:
                    recording.take(delta)
                    if recording.stopped and not kept:
                        kept = True
                        self._tape.keep(recording)
                    yield delta
            except GeneratorExit:  # whoever reads has left, perhaps since all had come
                if recording.finished and not kept:
                    self._tape.keep(recording)
                raise
        if not kept:
            self._tape.keep(recording)


class AsyncTaped:
    """As :class:`Taped`, for tasks; what touches the disk does not hold up the loop."""

    def __init__(self, tape: Tape, client: AsyncClient) -> None:
        self._tape, self._client = tape, client

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Yield the pieces of an answer, recorded or new.

        :raises ChatGLMError: as the client, and TapeError.
        """
        question, tape = asked(call), self._tape
        found = await asyncio.to_thread(tape.find, question) if tape.waits else tape.find(question)
        if found is not None:
            began = time.monotonic()
            for seconds, delta in found.deltas():
                if (wait := tape.timed and _left(began, seconds, call)) > 0:
                    await asyncio.sleep(wait)
                yield delta
            return
        recording = tape.begin(question, call)
        kept = False
        async with aclosing(self._client.stream(call)) as deltas:
            try:
                async for delta in deltas:
                    recording.take(delta)
                    if recording.stopped and not kept:
                        kept = True
                        await asyncio.to_thread(tape.keep, recording)
                    yield delta
            except GeneratorExit:
                if recording.finished and not kept:
                    await asyncio.to_thread(tape.keep, recording)
                raise
        if not kept:
            await asyncio.to_thread(tape.keep, recording)


def _left(began: float, seconds: float, call: Call) -> float:
    """Return how long to wait for a piece; a file from elsewhere must not make anybody wait for ever."""
    return began + min(seconds, call.limits.total) - time.monotonic()
