"""Puts finished turns into the store, off the loop: a slow disk holds up no question."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..values import Turn

if TYPE_CHECKING:
    from ..store import Store


class Recorder:
    """Writes turns in the order they come, in a thread; used on one loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[tuple[Turn, int]] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, turn: Turn, position: int) -> None:
        """Have a turn written soon."""
        self._waiting.append((turn, position))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """Wait until all is written."""
        if self._task is not None:
            with suppress(asyncio.CancelledError):
                await self._task
        self._write()  # what a loop that ends has left

    async def _drain(self) -> None:
        while self._waiting:
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        with suppress(IndexError):  # another thread has taken the last one
            while True:
                self._store.put(*self._waiting.popleft())
