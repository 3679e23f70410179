"""Run the requests of one widget: one at a time, stoppable at any moment, each displayed by its own receiver."""

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


PAGE_FRAME_SECONDS = 1 / 8
"""Minimum time between two updates of a page; at a higher rate, message overhead would exceed the text itself."""


class AnswerReceiver(Protocol):
    """Receives one answer as it streams, and displays it."""

    def show_draft(self, draft: Draft) -> int:
        """Display the answer so far; return the number of characters sent to the page."""

    def keep_turn(self, turn: Turn) -> None:
        """Keep the turn of a finished answer.

        The runner is still busy: display the end only in ``on_end`` of :meth:`RequestRunner.start`.
        """


class ThrottledView(LiveView):
    """A session's view of one answer, throttled to what a page can follow. Called on the package's loop thread."""

    def __init__(self, receiver: AnswerReceiver) -> None:
        super().__init__(Throttle(PAGE_FRAME_SECONDS))
        self._receiver = receiver

    def close(self, turn: Turn) -> None:
        """Pass the turn to the receiver."""
        self._receiver.keep_turn(turn)

    def _draw(self, draft: Any) -> int:
        return self._receiver.show_draft(draft)


class RequestRunner:
    """Runs requests on the package's loop thread, one at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._busy = self._stopping = False
        self._task: asyncio.Task[Answer] | None = None
        self._end: Future[None] = Future()

    @property
    def busy(self) -> bool:
        """Whether a request is running."""
        return self._busy

    def start(
        self,
        make_request: Callable[[], Coroutine[Any, Any, Answer]],
        on_end: Callable[[BaseException | None], None],
    ) -> bool:
        """Run a coroutine from ``make_request`` unless another one is running; return whether it was started.

        :param on_end: called on the loop thread as soon as the next request can be started, with the error, a
            ``CancelledError`` or None. Display the end there. The next request may already be running by then.
        :raises ChatGLMError: from ``make_request``, if the request is invalid.
        """
        with self._lock:
            if self._busy:
                return False
            self._busy, self._stopping, self._task = True, False, None
            end = self._end = Future()
        try:
            self._session.submit(self._run(make_request(), on_end, end))
        except BaseException:
            self._busy = False
            end.set_result(None)
            raise
        return True

    def stop(self) -> None:
        """Cancel the running request, if any; the partial answer is kept."""
        with self._lock:
            self._stopping = self._busy
            task = self._task if self._busy else None
        if task is not None:
            with suppress(RuntimeError):  # the loop has ended, and the request with it
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def stop_and_wait(self) -> bool:
        """Stop the running request and wait for its end, on the loop thread; return whether there was one."""
        with self._lock:
            end, busy = self._end, self._busy
        if busy:
            self.stop()
            await asyncio.shield(asyncio.wrap_future(end))
        return busy

    async def _run(
        self,
        request: Coroutine[Any, Any, Answer],
        on_end: Callable[[BaseException | None], None],
        end: Future[None],
    ) -> None:
        task = asyncio.ensure_future(request)
        await asyncio.sleep(0)  # a task cancelled before its first step could not save its turn
        with self._lock:
            self._task = task
            if self._stopping:
                task.cancel()
        error: BaseException | None = None
        try:
            await task
        except (asyncio.CancelledError, Exception) as raised:  # noqa: BLE001 - ``on_end`` reports it
            error = raised
        self._busy = False
        try:
            on_end(error)
        finally:
            end.set_result(None)
