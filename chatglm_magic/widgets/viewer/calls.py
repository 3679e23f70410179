"""How the viewer's handlers are called: one at a time, in any thread, and no error is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import ipywidgets as w

from ...session import Session
from ..debounce import Sleep
from ..trouble import Status, Trouble

Act = Callable[[], object]
T = TypeVar("T", bound=w.Widget)


class _Turn:
    """Whose turn it is: one lock, and whether widgets are being filled just now."""

    def __init__(self, sleep: Sleep) -> None:
        self.lock = threading.RLock()
        self.sleep = sleep
        self.filling = False
        self.statuses: list[Status] = []


class Calls:
    """Makes handlers of functions without arguments.

    A kernel may call handlers in several threads at once (ipykernel 7's subshells), and clicks that came while a
    cell ran come in a burst: a handler looks at the present state, under one lock, and not at what it is handed.
    What goes wrong becomes a line in ``status``, and is recorded.

    :param beside: another part's calls: the lock is the same, and of both lines only the last one said is shown.
    :param sleep: waits for what is to be done later; it is for tests, which decide when that is.
    """

    def __init__(self, session: Session, beside: Calls | None = None, *, sleep: Sleep = asyncio.sleep) -> None:
        self.status = Status()
        self._session = session
        self._trouble = Trouble(session, self.status)
        self._turn: _Turn = beside._turn if beside else _Turn(sleep)
        self._turn.statuses.append(self.status)

    def say(self, text: str) -> None:
        """Show a line; an empty one takes the last away."""
        self._clear()
        if text:
            self.status.say(text)

    def tell(self, error: BaseException) -> None:
        """Show what went wrong."""
        self._clear()
        self._trouble.tell(error)

    def handler(self, act: Act) -> Callable[..., None]:
        """Return ``act`` as a handler; what a widget hands over is not looked at."""

        def handle(*_: Any) -> None:
            with self._turn.lock:
                if not self._turn.filling:
                    self.guarded(act)()

        return handle

    def heard(self, act: Callable[[Any], object]) -> Callable[[Any], None]:
        """Return ``act`` as an observer that is handed the new value: the list may be filled again meanwhile."""
        return lambda change: self.handler(lambda: act(change["new"]))()

    def whole(self, widget: T) -> T:
        """Return a widget whose new value and what hears of it are one step: no filling comes in between.

        ipywidgets sets a value first and tells of it later; one that is set meanwhile would be told in its place.
        """
        take = widget.set_state

        def take_whole(state: dict[str, Any]) -> None:
            with self._turn.lock:
                take(state)

        widget.set_state = take_whole
        return widget

    def guarded(self, act: Act) -> Act:
        """Return ``act`` with its errors told of."""

        def safe() -> None:
            try:
                act()
            except Exception as error:  # noqa: BLE001 - ``tell`` shows and records it
                self.tell(error)

        return safe

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Set widgets without their observers taking it for a person's doing."""
        with self._turn.lock:
            before, self._turn.filling = self._turn.filling, True
            try:
                yield
            finally:
                self._turn.filling = before

    def apart(self, act: Act, *, after: float = 0.0) -> None:
        """Do something in a thread of its own, ``after`` seconds; nobody waits for it."""

        async def later() -> Any:
            await self._turn.sleep(after)
            await asyncio.to_thread(self.guarded(act))

        self._session.submit(later())

    def soon(self, act: Act, *, pause: float) -> Callable[..., None]:
        """Return a wish: however often it is called, ``act`` is done once in ``pause`` seconds, in its own thread.

        What is wished for while it is being done is done once more, so that the last wish is never lost.
        """
        lock, handle = threading.Lock(), self.handler(act)
        waiting = False

        def begin() -> None:
            nonlocal waiting
            with lock:
                waiting = False
            handle()

        def wish(*_: Any) -> None:
            nonlocal waiting
            with lock:
                if waiting:
                    return
                waiting = True
            self.apart(begin, after=pause)

        return wish

    def _clear(self) -> None:
        for status in self._turn.statuses:
            if status is not self.status:
                status.value = ""
        self.status.value = ""
