"""Waiting until something has stopped changing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from ..session import Session
from .trouble import ErrorReporter

Sleep = Callable[[float], Awaitable[object]]
"""Waits for so many seconds on the package's loop, as ``asyncio.sleep`` does."""


class Debouncer:
    """Calls ``act`` on the package's loop thread once there has been no further :meth:`trigger` for a while.

    :param act: is called with a function that returns whether nothing has been triggered or cancelled since, to be
        called again after each wait. Its errors are displayed by ``reporter``.
    :param delay: seconds without another trigger.
    :param sleep: how to wait for them.
    """

    def __init__(
        self,
        session: Session,
        reporter: ErrorReporter,
        act: Callable[[Callable[[], bool]], Awaitable[None]],
        *,
        delay: float,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._session, self._reporter, self._act = session, reporter, act
        self._delay, self._sleep = delay, sleep
        self._lock = threading.Lock()
        self._number = 0

    def trigger(self) -> None:
        """Call ``act`` after the delay, from any thread; an earlier trigger that still waits does nothing."""
        self._session.submit(self._wait(self._next()))

    def cancel(self) -> None:
        """Let the triggers so far do nothing."""
        self._next()

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    async def _wait(self, number: int) -> None:
        await self._sleep(self._delay)
        if number != self._number:
            return
        try:
            await self._act(lambda: number == self._number)
        except Exception as error:  # noqa: BLE001 - it is told
            self._reporter.report(error)
