"""How the viewer and the explorer run callbacks: one at a time, in any thread, with every error displayed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import ipywidgets as w

from ...session import Session
from ..debounce import Sleep
from ..trouble import ErrorReporter, StatusWidget

Act = Callable[[], object]
T = TypeVar("T", bound=w.Widget)


class _SharedState:
    """What the guards of one widget share: the lock, and whether handlers are suspended."""

    def __init__(self, sleep: Sleep) -> None:
        self.lock = threading.RLock()
        self.sleep = sleep
        self.suspended = False
        self.statuses: list[StatusWidget] = []


class CallbackGuard:
    """Makes widget callbacks of functions without arguments.

    A kernel may run callbacks in several threads at once (ipykernel 7's subshells), and clicks made while a cell
    ran arrive in a burst. A callback therefore runs under one lock and reads the current state instead of its
    arguments. An error is logged and displayed in ``status``.

    :param sibling: the guard of another part, to share its lock; only the latest of both status lines is shown.
    :param sleep: waits before delayed work; tests replace it to control when that happens.
    """

    def __init__(
        self, session: Session, sibling: CallbackGuard | None = None, *, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.status = StatusWidget()
        self._session = session
        self._reporter = ErrorReporter(session, self.status)
        self._shared: _SharedState = sibling._shared if sibling else _SharedState(sleep)
        self._shared.statuses.append(self.status)

    def show_status(self, text: str) -> None:
        """Show a status line; an empty text clears it."""
        self._clear()
        if text:
            self.status.show_text(text)

    def show_error(self, error: BaseException) -> None:
        """Log an error and show it."""
        self._clear()
        self._reporter.report(error)

    def handler(self, act: Act) -> Callable[..., None]:
        """Return ``act`` as a callback that ignores its arguments."""

        def handle(*_: Any) -> None:
            with self._shared.lock:
                if not self._shared.suspended:
                    self.catch_errors(act)()

        return handle

    def value_handler(self, act: Callable[[Any], object]) -> Callable[[Any], None]:
        """Return ``act`` as an observer that receives the new value, which the widget may have lost since."""
        return lambda change: self.handler(lambda: act(change["new"]))()

    def make_atomic(self, widget: T) -> T:
        """Make a widget set a new value from the page and notify its observers in one step; return the widget.

        ipywidgets sets a value first and notifies later: a value set in between would be reported in its place.
        """
        set_state = widget.set_state

        def set_state_locked(state: dict[str, Any]) -> None:
            with self._shared.lock:
                set_state(state)

        widget.set_state = set_state_locked
        return widget

    def catch_errors(self, act: Act) -> Act:
        """Return ``act`` with its errors displayed instead of raised."""

        def safe() -> None:
            try:
                act()
            except Exception as error:  # noqa: BLE001 - ``show_error`` displays and logs it
                self.show_error(error)

        return safe

    @contextmanager
    def suspend_handlers(self) -> Iterator[None]:
        """Set widgets without running the handlers that observe them."""
        with self._shared.lock:
            before, self._shared.suspended = self._shared.suspended, True
            try:
                yield
            finally:
                self._shared.suspended = before

    def run_in_thread(self, act: Act, *, after: float = 0.0) -> None:
        """Run ``act`` in a worker thread after ``after`` seconds, without waiting for it."""

        async def run() -> Any:
            await self._shared.sleep(after)
            await asyncio.to_thread(self.catch_errors(act))

        self._session.submit(run())

    def debounce(self, act: Act, *, pause: float) -> Callable[..., None]:
        """Return a version of ``act`` that runs at most once every ``pause`` seconds, in a worker thread.

        A call made while ``act`` runs makes it run once more, so that the last call is never lost.
        """
        lock, handle = threading.Lock(), self.handler(act)
        waiting = False

        def run() -> None:
            nonlocal waiting
            with lock:
                waiting = False
            handle()

        def trigger(*_: Any) -> None:
            nonlocal waiting
            with lock:
                if waiting:
                    return
                waiting = True
            self.run_in_thread(run, after=pause)

        return trigger

    def _clear(self) -> None:
        for status in self._shared.statuses:
            if status is not self.status:
                status.value = ""
        self.status.value = ""
