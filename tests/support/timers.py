"""Time in a test's hands: waits that last until the test ends them, and the end of all that was begun."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from chatglm_magic import Session

T = TypeVar("T")


class HeldSleep:
    """Stands for ``asyncio.sleep`` in a widget; ``seconds`` lists what was asked of it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._held: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    async def __call__(self, seconds: float) -> None:
        """Wait until :meth:`end` is called; a wait of no time does not last."""
        if not seconds:
            return
        event = asyncio.Event()
        with self._lock:
            self.seconds.append(seconds)
            self._held.append((asyncio.get_running_loop(), event))
        await event.wait()

    @property
    def held(self) -> int:
        """How many waits last."""
        return len(self._held)

    def end(self) -> None:
        """End the waits that last."""
        self.end_after(lambda: None)

    def end_after(self, act: Callable[[], object]) -> None:
        """Do something, and then end the waits that lasted before."""
        with self._lock:
            held, self._held = self._held, []
        act()
        for loop, event in held:
            loop.call_soon_threadsafe(event.set)


class TrackedSession(Session):
    """A session that knows what was submitted to its loop."""

    def __init__(self) -> None:
        super().__init__()
        self._submitted: list[Future[Any]] = []

    def submit(self, question: Coroutine[Any, Any, T]) -> Future[T]:
        """Submit, and keep the future."""
        future = super().submit(question)
        self._submitted.append(future)
        return future

    def wait_submitted(self, sleep: HeldSleep | None = None) -> None:
        """Wait until all that was submitted has ended, and what that has submitted; end each wait of ``sleep``.

        Then nothing can come any more that nobody asks for.
        """
        end = time.monotonic() + 10
        while pending := [future for future in self._submitted if not future.done()]:
            assert time.monotonic() < end, f"{len(pending)} coroutines have not ended"
            if sleep is not None:
                sleep.end()
            wait(pending, 0.005)
