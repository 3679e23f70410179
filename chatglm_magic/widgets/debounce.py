"""Debounce: act once something has stopped changing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from ..session import Session
from .trouble import ErrorReporter

Sleep = Callable[[float], Awaitable[object]]
"""Waits for a number of seconds on the package's loop, like ``asyncio.sleep``."""


class Debouncer:
    """Calls ``act`` on the package's loop thread once no further :meth:`trigger` has come for ``delay`` seconds.

    :param act: called with a function that returns whether this trigger is still the latest and not cancelled, to
        be checked after each wait. ``reporter`` displays its errors.
    :param sleep: waits for the delay; tests replace it.
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
        self._latest = 0

    def trigger(self) -> None:
        """Call ``act`` after the delay, instead of for earlier triggers. May be called from any thread."""
        self._session.submit(self._wait(self._invalidate()))

    def cancel(self) -> None:
        """Cancel all earlier triggers."""
        self._invalidate()

    def _invalidate(self) -> int:
        """Make a new number the latest, which cancels earlier triggers; return it."""
        with self._lock:
            self._latest += 1
            return self._latest

    async def _wait(self, number: int) -> None:
        await self._sleep(self._delay)
        if number != self._latest:
            return
        try:
            await self._act(lambda: number == self._latest)
        except Exception as error:  # noqa: BLE001 - it is reported
            self._reporter.report(error)
