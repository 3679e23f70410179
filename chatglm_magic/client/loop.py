"""The package's event loop thread, on which the panel, batches and sweeps run their tasks."""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from ..forks import LockOrder, fork_safe_lock
from .timeouts import POLL_SECONDS

T = TypeVar("T")

CANCEL_TIMEOUT_SECONDS = 1.0
"""How long to wait for a cancelled task to close its connections."""


class LoopThread:
    """An event loop in a daemon thread, started on first use.

    A separate thread, since ipykernel may stop the tasks of its loop between two cells.
    """

    def __init__(self) -> None:
        self._lock = fork_safe_lock(LockOrder.LOOP)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._owner = 0

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop, from any thread; the future's ``cancel()`` cancels its task."""
        with self._lock:
            if self._owner != os.getpid():  # a forked child has the loop, but not its thread
                self._loop = None
            loop = self._loop or self._start()
            return asyncio.run_coroutine_threadsafe(coroutine, loop)

    @contextmanager
    def running(self, coroutine: Coroutine[Any, Any, T]) -> Iterator[Future[T]]:
        """Run a coroutine while the block runs; leaving the block early cancels it and waits for its end.

        :raises RuntimeError: on the loop thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("This runs on the loop's own thread: await the asynchronous form instead.")
        ended = threading.Event()

        async def watched() -> T:
            try:
                return await coroutine
            finally:
                ended.set()

        future = self.submit(watched())
        try:
            yield future
        finally:
            if not future.done() and future.cancel():
                ended.wait(CANCEL_TIMEOUT_SECONDS)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for it; an interrupt cancels it."""
        with self.running(coroutine) as future:
            while not future.done():
                with suppress(TimeoutError):
                    return future.result(POLL_SECONDS)
            return future.result()

    def stop(self) -> None:
        """Cancel every task, end the loop and wait for its thread to end."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None or self._owner != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = self._loop = asyncio.new_event_loop()
        self._owner = os.getpid()
        self._thread = threading.Thread(target=_run_loop, args=(loop,), name="chatglm-loop", daemon=True)
        self._thread.start()
        return loop


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()  # which closes the pools of connections


LOOP = LoopThread()
"""The loop thread of this process."""

atexit.register(LOOP.stop)


@contextmanager
def poll_for_interrupts() -> Iterator[None]:
    """Wake the running loop regularly if it runs in the main thread.

    A signal handler that cancels a task, such as the kernel's for a cell that awaits, doesn't wake a sleeping
    loop: the task would continue until something else does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []

    def look_up() -> None:
        timers[:] = [loop.call_later(POLL_SECONDS, look_up)]

    look_up()
    try:
        yield
    finally:
        timers[0].cancel()


def iterate_on_loop_thread(generator: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Run an asynchronous generator on the loop thread and yield its items in this one as they arrive."""
    items: queue.SimpleQueue[Any] = queue.SimpleQueue()
    end_mark = object()

    async def pump() -> None:
        try:
            async for item in generator:
                items.put(item)
        finally:
            items.put(end_mark)

    with LOOP.running(pump()) as running:
        while (item := _wait_for_item(items)) is not end_mark:
            yield item
        running.result()


def _wait_for_item(items: queue.SimpleQueue[T]) -> T:
    while True:
        with suppress(queue.Empty):
            return items.get(timeout=POLL_SECONDS)
