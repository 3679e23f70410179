"""The asynchronous client over aiohttp, with its pools of connections."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from functools import partial

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from urllib3.util import wait_for_read

from ..errors import ChatGLMError, EndpointError
from ..values import Delta
from .loop import awake
from .proxies import Proxy, proxy_for
from .request import BLOCK, END_WAIT, REFUSAL_BYTES, Call
from .response import ResponseReader, is_answer, is_reusable, response_error
from .retries import Retries
from .timeouts import Clock
from .transport_errors import translate_errors
from .trust import trust

HEADER_BYTES = 65536
"""The longest header line, as in Python's own HTTP client."""

SPARE = 128
"""File descriptors that the rest of the process may need."""


_REUSABLE: weakref.WeakKeyDictionary[ResponseHandler, bool] = weakref.WeakKeyDictionary()
"""For each connection that has carried an answer, whether it can carry another request."""

_CONNECTIONS: weakref.WeakKeyDictionary[aiohttp.ClientResponse, ResponseHandler] = weakref.WeakKeyDictionary()
"""The connection of each response: one whose answer came with its head has let go of it by then."""


class _ClosedMeanwhile(aiohttp.ClientConnectionError):
    """A pooled connection was closed by its server, or is about to be, and nothing was sent over it."""


class _Request(aiohttp.ClientRequest):
    """A request that isn't sent over a pooled connection which the server closes.

    If it is given up while bytes of it still wait, its connection is broken off.
    """

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        transport, protocol = conn.transport, conn.protocol
        if transport is None or protocol is None:
            return await super().send(conn)
        if protocol in _REUSABLE and (not _REUSABLE[protocol] or _is_closed(transport)):
            raise _ClosedMeanwhile
        conn.add_callback(partial(_drop_unsent, transport))
        response = await super().send(conn)
        _CONNECTIONS[response] = protocol
        return response


def _is_closed(transport: asyncio.Transport) -> bool:
    """Return whether the server has closed an idle connection, also where the loop hasn't read the end yet.

    With TLS there may be other data to read, such as a session ticket, so this returns False.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("ssl_object") is not None:
        return False
    return wait_for_read(sock, timeout=0)


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
        self.session = _new_session(aiohttp.TCPConnector(limit=0))
        self._socks: dict[str, aiohttp.ClientSession] = {}
        self.slots = asyncio.Semaphore(_most())
        self._asking = 0
        self._over = False
        self._keeper = self._hold_open()

    async def open(self) -> None:
        """Hand the session to its loop."""
        await anext(self._keeper)

    def end(self) -> None:
        """Close the session, on its loop, once nobody asks over it any more."""
        self._over = True
        if not self._asking:
            self._ending = asyncio.get_running_loop().create_task(self._keeper.aclose())

    def settle(self) -> None:
        """Let the session go after its loop was closed without its generators: ``loop.close()`` alone does so.

        The sockets go with their connections. No loop is left to wait on: closing's first step is all it takes.
        """
        for session in (self.session, *self._socks.values()):
            if session.connector is not None:
                with suppress(StopIteration, RuntimeError):
                    next(session.connector.close().__await__())
            session.detach()

    def session_for(self, proxy: Proxy | None, url: str) -> aiohttp.ClientSession:
        """Return the session that goes through a proxy: one of its own for each that speaks SOCKS.

        :raises EndpointError: ``proxy`` where the packages for that are missing.
        """
        if proxy is None or not proxy.is_socks:
            return self.session
        if proxy.url not in self._socks:
            proxy.require("aiohttp_socks", url)
            self._socks[proxy.url] = _new_session(_socks_connector(proxy))
        return self._socks[proxy.url]

    async def _hold_open(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            for session in (self.session, *self._socks.values()):
                await session.close()

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
        # The finalizer holds no reference to self: parts of a garbage cycle would be finalized in any order.
        weakref.finalize(self, _close, self._pools, self._owner)

    async def here(self) -> Pool:
        """Return the pool of the running loop."""
        if self._owner != os.getpid():  # the parent's sockets are not ours to use, nor to close
            self.__init__()  # type: ignore[misc]
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.session.closed:
            for other in [other for other in self._pools if other.is_closed()]:
                if left := self._pools.pop(other, None):
                    left.settle()
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
        if owner != os.getpid():
            continue
        try:
            loop.call_soon_threadsafe(pool.end)
        except RuntimeError:  # it is closed
            pool.settle()


def _new_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        request_class=_Request,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        max_line_size=HEADER_BYTES,
        max_field_size=HEADER_BYTES,
    )


def _socks_connector(proxy: Proxy) -> aiohttp.BaseConnector:
    """Return a connector through a proxy that speaks SOCKS; it looks names up itself where its scheme says so."""
    from aiohttp_socks import ProxyConnector

    scheme, _, rest = proxy.url.partition("://")
    far = scheme.lower() in ("socks5h", "socks4a")
    connector: aiohttp.BaseConnector = ProxyConnector.from_url(f"{scheme.lower()[:6]}://{rest}", rdns=far, limit=0)
    return connector


def _most() -> int:
    """Return how many connections the process's limit of open files allows."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows has no such limit on sockets
        return 4096
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(4096, soft - SPARE)) if soft != resource.RLIM_INFINITY else 4096


class AsyncClient:
    """Asks over pooled connections, from any event loop."""

    def __init__(self) -> None:
        self._pools = Pools()

    def close(self) -> None:
        """Close the pooled connections."""
        self._pools.close()

    async def stream(self, call: Call) -> AsyncGenerator[Delta, None]:
        """Ask, and yield the answer's pieces as they arrive; a cancelled task closes its connection.

        :raises ChatGLMError: as :meth:`.sync.SyncClient.stream`.
        """
        clock = Clock(call.limits)
        pool = await self._pools.here()
        await _slot(pool, clock)
        with pool, awake():
            try:
                async with aclosing(_answer(pool, call, clock)) as deltas:
                    async for delta in deltas:
                        yield delta
            except BaseException as error:  # noqa: BLE001 - raised again
                raise call.hidden(error) from None


async def _answer(pool: Pool, call: Call, clock: Clock) -> AsyncGenerator[Delta, None]:
    retries = Retries(call, clock)
    while True:
        try:
            response = await _attempt(pool, retries.call, clock)
            try:
                async with aclosing(_read(response, retries, clock)) as deltas:
                    async for delta in deltas:
                        yield delta
                await _let_go(response)
            finally:
                response.close()
            return
        except ChatGLMError as error:
            wait = retries.wait_or_raise(error)
        if wait.notice:
            yield Delta(notice=wait.notice)
        await asyncio.sleep(wait.seconds)


async def _read(response: aiohttp.ClientResponse, retries: Retries, clock: Clock) -> AsyncGenerator[Delta, None]:
    call = retries.call
    if news := retries.news():
        yield news
    incoming = retries.reader = ResponseReader(call, clock, response.headers.items())
    if (protocol := _CONNECTIONS.pop(response, None)) is not None:
        _REUSABLE[protocol] = is_reusable(response.headers.items())
    while not incoming.done:
        # Not wait_for: in Python 3.11 it loses a cancellation that comes together with data.
        with translate_errors(call, clock):
            async with asyncio.timeout(clock.until_bytes()):
                block = await response.content.readany()
        if not block:
            break
        for delta in incoming.feed(block):
            yield delta
    for delta in incoming.close():
        yield delta


async def _slot(pool: Pool, clock: Clock) -> None:
    """Take one of the connections that the process may have open."""
    if not pool.slots.locked():
        await pool.slots.acquire()
        return
    try:
        async with asyncio.timeout(clock.until_answer()):
            await pool.slots.acquire()
    except TimeoutError:
        raise EndpointError(
            "All connections this process may open are in use. Ask fewer questions at once "
            "(max_concurrency), or raise the limit of open files (ulimit -n).",
            kind="pool_timeout",
        ) from None


async def _attempt(pool: Pool, call: Call, clock: Clock) -> aiohttp.ClientResponse:
    response = await _post(pool, call, clock)
    if is_answer(response.status):
        return response
    try:
        raise response_error(call, response.status, response.headers.items(), await _beginning(response, call))
    finally:
        response.close()


async def _post(pool: Pool, call: Call, clock: Clock) -> aiohttp.ClientResponse:
    connect = min(call.limits.connect, clock.left())
    proxy, context = proxy_for(call.url), trust(call.url)
    session = pool.session_for(proxy, call.url)
    try:
        async with asyncio.timeout(clock.until_answer()) as patience:
            body = _Body(call, clock, patience)
            send = partial(
                session.post,
                call.url,
                data=body if body.long else call.data,
                headers=call.all_headers | ({"Content-Length": str(len(call.data))} if body.long else {}),
                allow_redirects=False,
                proxy=proxy.url if proxy and not proxy.is_socks else None,
                ssl=True if context is None else context,
                timeout=aiohttp.ClientTimeout(total=None, connect=connect),
            )
            with translate_errors(call, clock, proxy):
                while True:
                    with suppress(_ClosedMeanwhile):  # each one is out of the pool then, so this ends
                        return await send()
    except TimeoutError:
        raise clock.expired() from None


class _Body:
    """A long body in blocks, each of which the server must take within the connect limit."""

    def __init__(self, call: Call, clock: Clock, patience: asyncio.Timeout) -> None:
        self._call, self._clock, self._patience = call, clock, patience
        self.long = len(call.data) > BLOCK

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._call.data), BLOCK):
            self._wait(self._call.limits.connect)
            self._clock.sending = True
            yield self._call.data[start : start + BLOCK]
        if not self._patience.expired():  # else it is the sending that took too long
            self._clock.sending = False
        self._wait(self._clock.until_answer())

    def _wait(self, seconds: float) -> None:
        with suppress(RuntimeError):  # the answer, or its refusal, came before all of the question was sent
            self._patience.reschedule(asyncio.get_running_loop().time() + seconds)


async def _let_go(response: aiohttp.ClientResponse) -> None:
    """Give the connection back to the pool if its answer has ended; a stream's end may still be on the way."""
    if response.content.at_eof():
        response.release()
        return
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(END_WAIT):
            if not await response.content.readany():
                response.release()


async def _beginning(response: aiohttp.ClientResponse, call: Call) -> bytes:
    """Return the first bytes of a refusal, as far as they can be had; the status stands without them."""
    raw = b""
    with suppress(Exception):
        async with asyncio.timeout(call.limits.idle):
            while len(raw) < REFUSAL_BYTES and (block := await response.content.readany()):
                raw += block
    return raw
