"""Live mode: a slider has settled, and the prompt is asked again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from ...session import Session
from ..asking import Runner
from ..trouble import Trouble

SETTLED = 0.25
"""Seconds without another change after which a slider has settled."""


class Settling:
    """Calls back when there has been no further change for a while."""

    def __init__(
        self, session: Session, trouble: Trouble, runner: Runner, settled: Callable[[bool], None]
    ) -> None:
        """``settled`` is told whether an answer under way had to be stopped."""
        self._session, self._trouble, self._runner, self._settled = session, trouble, runner, settled
        self._lock = threading.Lock()
        self._number = 0

    def moved(self) -> None:
        """Take note of a change; any thread may call."""
        self._session.submit(self._wait(self._next()))

    def forget(self) -> None:
        """Let the changes so far be: something else has been asked for."""
        self._next()

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    async def _wait(self, number: int) -> None:
        await asyncio.sleep(SETTLED)
        if number != self._number:
            return
        try:
            stopped = await self._runner.halt()
            if number == self._number:
                self._settled(stopped)
        except Exception as error:  # noqa: BLE001 - it is told
            self._trouble.tell(error)
