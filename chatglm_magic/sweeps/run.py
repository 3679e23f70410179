"""One run over a sweep's cells, on the package's loop thread: so many questions at once, stopped together."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..session.draft import Draft
from ..values import Turn
from .asking import Plans
from .board import Board, Slot
from .recording import Recorder

if TYPE_CHECKING:
    from ..session import Session

TURN = 0.2
"""Seconds that an interrupt may have to wait at most."""


class Run:
    """Asks what is to be asked; failures are turns, and stop nothing.

    The last answer is put on the board together with the end of the run: whoever sees it can begin the next run.
    """

    def __init__(self, board: Board, plans: Plans, slots: Sequence[Slot], jobs: int, name: str) -> None:
        self.plans = plans
        self._board, self._slots, self._jobs, self._name = board, slots, jobs, name
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: Future[None] | None = None
        self.thread: int | None = None
        self.over = self._stopping = self._closing = False
        self._started, self._took, self.ended = time.monotonic(), 0.0, 0
        self._last: tuple[Slot, Turn | None] | None = None
        # One random number for the run, and counted on: the system takes its time over each.
        self._ids = itertools.count(uuid.uuid4().int >> 1)

    @property
    def future(self) -> Future[None]:
        """The run's end; not to be cancelled, there is :meth:`stop`."""
        assert self._future is not None, "the run was started"
        return self._future

    @property
    def active(self) -> bool:
        """Whether it goes on."""
        return not self.over and (self._future is None or not self._future.done())

    @property
    def seconds(self) -> float:
        """How long it has taken, or took."""
        return self._took if self.over else time.monotonic() - self._started

    @property
    def pending(self) -> int:
        """How many of its questions have not ended; 0 once it is over."""
        return len(self._slots) - self.ended if self.active else 0

    @property
    def left(self) -> float | None:
        """Seconds that it will take at the present pace."""
        if self.over or not self.ended:
            return None
        return self.seconds / self.ended * (len(self._slots) - self.ended)

    def start(self, session: Session) -> None:
        """Begin; returns at once."""
        self._recorder = Recorder(session.store)
        self._future = session.submit(self._main())  # type: ignore[arg-type, assignment, unused-ignore]

    def wait(self, timeout: float | None = None) -> None:
        """Wait for its end in short turns: an interrupt does not end a long wait on every system."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self.future.done() and (left := end - time.monotonic()) > 0:
            wait([self.future], min(left, TURN))

    def stop(self) -> None:
        """Cancel what is under way, from any thread; what came is kept."""
        self._stopping = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and with it every task
                self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None and not self._closing:
            self._closing = True
            self._task.cancel()

    async def _main(self) -> None:
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        self.thread = threading.get_ident()
        todo = iter(() if self._stopping else self._slots)
        workers = [asyncio.create_task(self._work(todo)) for _ in range(min(self._jobs, len(self._slots)))]
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*workers)
        finally:
            self._closing = True
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            try:
                await self._recorder.close()
                self.plans.close()
            finally:
                self._end()

    def _end(self) -> None:
        with self._board.lock:
            self._took, self.over = self.seconds, True
            if self._last is not None:
                self.ended += 1
                self._board.put(*self._last)
        self._board.tell()

    async def _work(self, todo: Iterator[Slot]) -> None:
        for slot in todo:
            await self._ask(slot)

    async def _ask(self, slot: Slot) -> None:
        number, sample = slot
        draft = Draft(self.plans.base(number, self._board.cells[number].prompt))
        self._board.began(slot, draft)
        turn: Turn | None = None
        try:
            turn = await self.plans.answered(draft, number, sample)
        except asyncio.CancelledError:
            stopped = draft.turn("interrupted")
            turn = stopped if stopped.answer or stopped.reasoning else None
            raise
        finally:
            if turn is not None:
                turn = replace(turn, id=f"{next(self._ids):032x}", conversation=self._name)
                self._recorder.put(turn, number * self._board.samples + sample)
            if self.ended == len(self._slots) - 1:
                self._last = slot, turn
            else:
                self.ended += 1
                self._board.ended(slot, turn)
