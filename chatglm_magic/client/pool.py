"""Connections of aiohttp, kept for the next question: a pool for each event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary

import aiohttp

HEADER_BYTES = 65536
"""The longest header line, as in Python's own HTTP client."""

SPARE = 128
"""File descriptors that the rest of the process may need."""


class Pool:
    """The connections of one loop, as many as the process may have files open.

    The session is closed by its loop: ``asyncio.run`` and our loop thread end the asynchronous generators of a
    loop before they close it, and a generator that is forgotten is ended too.
    """

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
        )
        self.slots = asyncio.Semaphore(_most())
        self._keeper = _kept(self.session)

    async def open(self) -> None:
        """Hand the session to its loop."""
        await anext(self._keeper)


class Pools:
    """The pools of one owner; made again after a fork, closed when the owner goes."""

    def __init__(self) -> None:
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()
        self._owner = os.getpid()

    async def here(self) -> Pool:
        """Return the pool of the running loop."""
        if self._owner != os.getpid():  # the parent's sockets are not ours to use, nor to close
            self.__init__()  # type: ignore[misc]
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.session.closed:
            pool = self._pools[loop] = Pool()
            await pool.open()
        return pool

    def close(self) -> None:
        """Let the pools go; their loops close what is idle."""
        self._pools = WeakKeyDictionary()


async def _kept(session: aiohttp.ClientSession) -> AsyncGenerator[aiohttp.ClientSession, None]:
    try:
        yield session
    finally:
        await session.close()


def _most() -> int:
    """Return how many connections the process's limit of open files allows."""
    try:
        import resource
    except ImportError:  # Windows has no such limit on sockets
        return 4096
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(4096, soft - SPARE)) if soft != resource.RLIM_INFINITY else 4096
