"""One panel's requests: one at a time, stopped at any moment, each shown in its own place."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from ..render.views import LiveView, Throttle
from ..session import Session

if TYPE_CHECKING:
    from ..session.draft import Draft
    from ..values import Answer, Turn


PAGE_FRAME = 1 / 8
"""Seconds between two updates of a page at least: with more of them, their frames weigh as much as the text."""


class Receiver(Protocol):
    """What takes one answer while it arrives."""

    def frame(self, draft: Draft) -> int:
        """Show an answer as far as it has come; return the size of what went to the page, in characters."""

    def keep(self, turn: Turn) -> None:
        """Keep the turn of an answer that has ended.

        The runner is still busy: what tells the user of the end is shown later, by ``ended`` of :class:`Runner`.
        """


class Showing(LiveView):
    """A session's view of one answer, slow enough for every page. It is called on the package's loop thread."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(Throttle(PAGE_FRAME))
        self._receiver = receiver

    def close(self, turn: Turn) -> None:
        """Hand over the turn."""
        self._receiver.keep(turn)

    def _draw(self, draft: Any) -> int:
        return self._receiver.frame(draft)


class Runner:
    """Runs a panel's requests on the package's loop thread, one at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._busy = self._stopping = False
        self._task: asyncio.Task[Answer] | None = None
        self._end: Future[None] = Future()

    @property
    def busy(self) -> bool:
        """Whether a question is under way."""
        return self._busy

    def start(
        self, ask: Callable[[], Coroutine[Any, Any, Answer]], ended: Callable[[BaseException | None], None]
    ) -> bool:
        """Run what ``ask`` returns; return False, and run nothing, while another request is under way.

        :param ended: is called on the loop thread once the next request is accepted, with the error if there was
            one, or with a ``CancelledError``. Whatever tells the user of the end belongs there. The next request
            may have begun by then.
        :raises ChatGLMError: of ``ask``, for what can't be asked.
        """
        with self._lock:
            if self._busy:
                return False
            self._busy, self._stopping, self._task = True, False, None
            end = self._end = Future()
        try:
            self._session.submit(self._run(ask(), ended, end))
        except BaseException:
            self._busy = False
            end.set_result(None)
            raise
        return True

    def stop(self) -> None:
        """Cancel the question under way; what has arrived stays. Does nothing if there is none."""
        with self._lock:
            self._stopping = self._busy
            task = self._task if self._busy else None
        if task is not None:
            with suppress(RuntimeError):  # the loop has ended, and with it the question
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def halt(self) -> bool:
        """Stop the question under way and wait for its end, on the loop thread; tell whether there was one."""
        with self._lock:
            end, busy = self._end, self._busy
        if busy:
            self.stop()
            await asyncio.shield(asyncio.wrap_future(end))
        return busy

    async def _run(
        self,
        question: Coroutine[Any, Any, Answer],
        ended: Callable[[BaseException | None], None],
        end: Future[None],
    ) -> None:
        task = asyncio.ensure_future(question)
        await asyncio.sleep(0)  # a task that is cancelled before its first step could keep nothing of its turn
        with self._lock:
            self._task = task
            if self._stopping:
                task.cancel()
        error: BaseException | None = None
        try:
            await task
        except (asyncio.CancelledError, Exception) as found:  # noqa: BLE001 - ``ended`` tells it
            error = found
        self._busy = False
        try:
            ended(error)
        finally:
            end.set_result(None)
