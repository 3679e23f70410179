"""A tape between a model and its clients: it answers, or sends the request on and records."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ..client.request import Call
from ..client.timeouts import pause
from ..errors import ChatGLMError, ParameterError, TapeError
from ..values import Delta
from ..wire.body import shown
from .entry import Asked, TapeEntry, TapeRecorder, asked
from .file import TapeFile
from .mismatch import in_words, nearest

if TYPE_CHECKING:
    from ..client.async_client import AsyncClient
    from ..client.sync_client import SyncClient

Mode = Literal["auto", "replay", "record"]
"""``auto`` gives what is there and records what is not, ``replay`` never asks, ``record`` always asks."""

VARIABLE = "CHATGLM_MAGIC_TAPE_MODE"


def mode_in_force(chosen: Mode | None) -> Mode:
    """Return the mode that was chosen, else the environment's, else ``auto``.

    :raises ParameterError: if the environment names none.
    """
    mode = chosen or os.environ.get(VARIABLE) or "auto"
    if mode not in get_args(Mode):
        raise ParameterError(f"{VARIABLE} must be auto, replay or record, not {shown(mode, 40)!r}.")
    return mode  # type: ignore[return-value]


class Tape:
    """One file with the manner in which it is used.

    :param path: of the file; a relative one is of the current folder, ``~`` the home folder.
    :param timed: whether pieces come as they did when they were recorded, or at once.
    :raises TapeError: ``tape_file`` for a path that can't be one.
    """

    def __init__(self, path: str, mode: Mode = "auto", *, timed: bool = False) -> None:
        self.path, self.mode, self.timed = path, mode, timed
        self._file = _file_at(path)

    def using(self, mode: Mode, *, timed: bool) -> Tape:
        """Return a tape of the same file that is used in another manner."""
        found = object.__new__(Tape)
        found.path, found.mode, found.timed, found._file = self.path, mode, timed, self._file
        return found

    def over(self, client: SyncClient) -> RecordingClient:
        """Return a client that asks through another one what the tape does not have."""
        return RecordingClient(self, client)

    def aover(self, client: AsyncClient) -> AsyncRecordingClient:
        """As :meth:`over`, for tasks."""
        return AsyncRecordingClient(self, client)

    @property
    def waits(self) -> bool:
        """Whether looking into the tape may take a while: to read its file, or to find what is nearest."""
        return self._file.changed or self.mode == "replay"

    def find(self, question: Asked) -> TapeEntry | None:
        """Return the recorded answer, if that is what the mode wants.

        :raises TapeError: ``not_on_tape`` if nothing may be asked, with the nearest question that is there.
        """
        found = None if self.mode == "record" else self._file.find(question.key)
        if found is None and self.mode == "replay":
            raise TapeError(self._missing(question), kind="not_on_tape")
        return found

    def begin(self, question: Asked, call: Call) -> TapeRecorder:
        """Begin to record an answer.

        :raises TapeError: if it could not be put on the tape, before it is asked for.
        """
        recording = TapeRecorder(question, call)
        self._file.check()
        return recording

    def keep(self, recording: TapeRecorder) -> None:
        """Put a finished answer on the tape; it is on the disk when this returns."""
        self._file.add(recording.recorded(), again=self.mode == "record")

    def explain(self, question: Asked, error: ChatGLMError) -> None:
        """Add to the error of a server that isn't there how the nearest question on the tape differs."""
        if self.mode != "auto" or error.kind not in UNREACHED or not self._file.there:
            return
        found = nearest(question.request, question.sample, self._file.all())
        if found is not None:
            error.args = (
                f"{error} This question is not on the tape {shown(self.path)}: the nearest there differs in "
                f"{in_words(found)}.",
            )

    def _missing(self, question: Asked) -> str:
        path = shown(self.path)
        record = "Record it: %chatglm_config tape_mode=auto, with the server there."
        if not self._file.there:
            return f"There is no tape {path}, and tape_mode=replay asks no server. {record}"
        found = nearest(question.request, question.sample, self._file.all())
        if found is None:
            return f"The tape {path} holds no answer. {record}"
        return f"This question is not on the tape {path}. The nearest there differs in {in_words(found)}. {record}"


UNREACHED = ("connect", "connect_timeout", "proxy", "tls")
"""Kinds of errors of a server that was not reached."""


class RecordingClient:
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
            except ChatGLMError as error:
                self._tape.explain(question, error)
                raise
            except GeneratorExit:  # whoever reads has left, perhaps since all had come
                if recording.finished and not kept:
                    self._tape.keep(recording)
                raise
        if not kept:
            self._tape.keep(recording)


class AsyncRecordingClient:
    """As :class:`RecordingClient`, for tasks; what touches the disk does not hold up the loop."""

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
            except ChatGLMError as error:
                await asyncio.to_thread(tape.explain, question, error)
                raise
            except GeneratorExit:
                if recording.finished and not kept:
                    await asyncio.to_thread(tape.keep, recording)
                raise
        if not kept:
            await asyncio.to_thread(tape.keep, recording)


def _left(began: float, seconds: float, call: Call) -> float:
    """Return how long to wait for a piece; a file from elsewhere must not make anybody wait for ever."""
    return began + min(seconds, call.limits.total) - time.monotonic()


_files: weakref.WeakValueDictionary[Path, TapeFile] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _file_at(path: str) -> TapeFile:
    """Return the one object of this process for a file: what it holds is read once."""
    try:
        whole = Path(os.path.abspath(Path(path).expanduser()))
        os.fsencode(whole)  # half a character is no part of a name
    except (OSError, RuntimeError, ValueError) as error:
        raise TapeError(f"The tape {shown(path)} can't be found: {error}.", kind="tape_file") from None
    with _lock:
        found = _files.get(whole)
        if found is None:
            found = _files[whole] = TapeFile(whole)
        return found
