"""Connections of aiohttp, kept for the next question: a pool for each event loop."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial

import aiohttp
from aiohttp.connector import Connection

HEADER_BYTES = 65536
"""The longest header line, as in Python's own HTTP client."""

SPARE = 128
"""File descriptors that the rest of the process may need."""


class _Request(aiohttp.ClientRequest):
    """A request whose connection is broken off if it is given up while bytes of the request still wait."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if conn.transport is not None:
            conn.add_callback(partial(_drop_unsent, conn.transport))
        return await super().send(conn)


def _drop_unsent(transport: asyncio.Transport) -> None:
    """Abort a connection that has unsent bytes: ``close`` alone would wait until the server has read them all."""
    if transport.get_write_buffer_size():
        transport.abort()


class Pool:
    """The connections of one loop, as many as the process may have files open.

    The session is closed by its loop: ``asyncio.run`` and our loop thread end the asynchronous generators of a
    loop before they close it, and a generator that is forgotten is ended too.
    """

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        self.session = aiohttp.ClientSession(
            connector=connector,
            request_class=_Request,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
        )
        self.slots = asyncio.Semaphore(_most())
        self._asking = 0
        self._over = False
        self._keeper = _kept(self.session)

    async def open(self) -> None:
        """Hand the session to its loop."""
        await anext(self._keeper)

    def end(self) -> None:
        """Close the session, on its loop, once nobody asks over it any more."""
        self._over = True
        if not self._asking:
            self._ending = asyncio.get_running_loop().create_task(self._keeper.aclose())

    def __enter__(self) -> None:
        self._asking += 1

    def __exit__(self, *error: object) -> None:
        self._asking -= 1
        self.slots.release()
        if self._over:
            self.end()


class Pools:
    """The pools of one owner; made again after a fork, closed when the owner goes."""

    def __init__(self) -> None:
        self._pools: dict[asyncio.AbstractEventLoop, Pool] = {}
        self._owner = os.getpid()
        # What a finaliser holds is no part of a cycle of garbage, whose parts would end in any order.
        weakref.finalize(self, _close, self._pools, self._owner).atexit = False

    async def here(self) -> Pool:
        """Return the pool of the running loop."""
        if self._owner != os.getpid():  # the parent's sockets are not ours to use, nor to close
            self.__init__()  # type: ignore[misc]
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.session.closed:
            for other in [other for other in self._pools if other.is_closed()]:
                self._pools.pop(other, None)
            pool = self._pools[loop] = Pool()
            await pool.open()
        return pool

    def close(self) -> None:
        """Let the pools go; their loops close what is idle."""
        _close(self._pools, self._owner)


def _close(pools: dict[asyncio.AbstractEventLoop, Pool], owner: int) -> None:
    """Have each loop that still runs close its pool; any thread may call."""
    while pools:
        loop, pool = pools.popitem()
        with suppress(RuntimeError):  # a closed loop has closed its pool already
            if owner == os.getpid():
                loop.call_soon_threadsafe(pool.end)


async def _kept(session: aiohttp.ClientSession) -> AsyncGenerator[aiohttp.ClientSession, None]:
    try:
        yield session
    finally:
        await session.close()


def _most() -> int:
    """Return how many connections the process's limit of open files allows."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows has no such limit on sockets
        return 4096
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(4096, soft - SPARE)) if soft != resource.RLIM_INFINITY else 4096
