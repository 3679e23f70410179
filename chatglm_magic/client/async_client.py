"""The asynchronous client over aiohttp, with its connection pools."""

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
from .loop import poll_for_interrupts
from .proxies import Proxy, proxy_for
from .request import BLOCK_BYTES, END_WAIT_SECONDS, MAX_ERROR_BODY_BYTES, Request
from .response import ResponseReader, is_answer, is_reusable, make_response_error
from .retries import Retries
from .timeouts import Deadline
from .transport_errors import translate_errors
from .trust import ssl_context_for

MAX_HEADER_BYTES = 65536
"""Maximum length of a header line, as in Python's ``http.client``."""

RESERVED_FILE_DESCRIPTORS = 128
"""File descriptors left to the rest of the process."""

_REUSABLE: weakref.WeakKeyDictionary[ResponseHandler, bool] = weakref.WeakKeyDictionary()
"""For each connection that has carried a response, whether it can carry another request."""

_CONNECTIONS: weakref.WeakKeyDictionary[aiohttp.ClientResponse, ResponseHandler] = weakref.WeakKeyDictionary()
"""The connection of each response: a response whose body came with its headers has released it by then."""


class _ClosedMeanwhile(aiohttp.ClientConnectionError):
    """A pooled connection was closed by the server, or is about to be, before anything was sent over it."""


class _PooledRequest(aiohttp.ClientRequest):
    """A request that isn't sent over a pooled connection that the server has closed or will close.

    If it is cancelled with unsent bytes, its connection is aborted.
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
    """Return whether the server has closed an idle connection, even if the loop hasn't read the end yet.

    With TLS there may be other data to read, such as a session ticket, so this returns False.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or transport.get_extra_info("ssl_object") is not None:
        return False
    return wait_for_read(sock, timeout=0)


def _drop_unsent(transport: asyncio.Transport) -> None:
    """Abort a connection that has unsent bytes: ``close`` alone would wait until the server has read them."""
    if transport.get_write_buffer_size():
        transport.abort()


class ConnectionPool:
    """The connections of one event loop, as many as the process's limit of open files allows.

    The loop closes the session: ``asyncio.run`` and our loop thread end a loop's asynchronous generators before
    they close it, and a garbage-collected generator is ended too.
    """

    def __init__(self) -> None:
        self.session = _new_session(aiohttp.TCPConnector(limit=0))
        self._socks_sessions: dict[str, aiohttp.ClientSession] = {}
        self.slots = asyncio.Semaphore(_max_connections())
        self._users = 0
        self._is_closing = False
        self._keeper = self._hold_open()

    async def open(self) -> None:
        """Register the session with the running loop."""
        await anext(self._keeper)

    def close_when_idle(self) -> None:
        """Close the session as soon as no request uses it; called on its loop."""
        self._is_closing = True
        if not self._users:
            self._ending = asyncio.get_running_loop().create_task(self._keeper.aclose())

    def abandon(self) -> None:
        """Release the session of a loop that was closed without ending its generators, as ``loop.close()`` does.

        No loop remains to await on; the first step of ``close`` is enough to close the sockets.
        """
        for session in (self.session, *self._socks_sessions.values()):
            if session.connector is not None:
                with suppress(StopIteration, RuntimeError):
                    next(session.connector.close().__await__())
            session.detach()

    def session_for(self, proxy: Proxy | None, url: str) -> aiohttp.ClientSession:
        """Return the session for a proxy: each SOCKS proxy has a separate one.

        :raises EndpointError: ``proxy`` if the packages for SOCKS are missing.
        """
        if proxy is None or not proxy.is_socks:
            return self.session
        if proxy.url not in self._socks_sessions:
            proxy.require_package("aiohttp_socks", url)
            self._socks_sessions[proxy.url] = _new_session(proxy.new_connector())
        return self._socks_sessions[proxy.url]

    async def _hold_open(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            for session in (self.session, *self._socks_sessions.values()):
                await session.close()

    def __enter__(self) -> None:
        self._users += 1

    def __exit__(self, *error: object) -> None:
        self._users -= 1
        self.slots.release()
        if self._is_closing:
            self.close_when_idle()


class ConnectionPools:
    """The pools of one client, one per loop; replaced after a fork, closed when the client is collected."""

    def __init__(self) -> None:
        self._pools: dict[asyncio.AbstractEventLoop, ConnectionPool] = {}
        self._owner = os.getpid()
        # No reference to self in the finalizer: parts of a garbage cycle would be finalized in any order.
        weakref.finalize(self, _close_pools, self._pools, self._owner)

    async def for_running_loop(self) -> ConnectionPool:
        """Return the pool of the running loop."""
        if self._owner != os.getpid():  # the sockets belong to the parent: neither use nor close them
            self.__init__()  # type: ignore[misc]
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.session.closed:
            for other in [other for other in self._pools if other.is_closed()]:
                if closed_pool := self._pools.pop(other, None):
                    closed_pool.abandon()
            pool = self._pools[loop] = ConnectionPool()
            await pool.open()
        return pool

    def close(self) -> None:
        """Have each loop close its pool."""
        _close_pools(self._pools, self._owner)


def _close_pools(pools: dict[asyncio.AbstractEventLoop, ConnectionPool], owner: int) -> None:
    """Have each running loop close its pool; can be called from any thread."""
    while pools:
        loop, pool = pools.popitem()
        if owner != os.getpid():
            continue
        try:
            loop.call_soon_threadsafe(pool.close_when_idle)
        except RuntimeError:  # it is closed
            pool.abandon()


def _new_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        request_class=_PooledRequest,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
    )


def _max_connections() -> int:
    """Return the number of connections that the process's limit of open files allows."""
    try:
        import resource
    except ImportError:  # pragma: no cover - Windows has no such limit on sockets
        return 4096
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(4096, soft - RESERVED_FILE_DESCRIPTORS)) if soft != resource.RLIM_INFINITY else 4096


class AsyncClient:
    """Sends requests over pooled connections, from any event loop."""

    def __init__(self) -> None:
        self._pools = ConnectionPools()

    def close(self) -> None:
        """Close the pooled connections."""
        self._pools.close()

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Send a request and yield the answer as it arrives; a cancelled task closes its connection.

        :raises ChatGLMError: as ``SyncClient.stream``.
        """
        deadline = Deadline(request.timeouts)
        pool = await self._pools.for_running_loop()
        await _acquire_slot(pool, deadline)
        with pool, poll_for_interrupts():
            try:
                async with aclosing(_stream_with_retries(pool, request, deadline)) as deltas:
                    async for delta in deltas:
                        yield delta
            except BaseException as error:  # noqa: BLE001 - raised again
                raise request.strip_secrets(error) from None


async def _stream_with_retries(
    pool: ConnectionPool, request: Request, deadline: Deadline
) -> AsyncGenerator[Delta, None]:
    retries = Retries(request, deadline)
    while True:
        try:
            response = await _attempt(pool, retries.request, deadline)
            try:
                async with aclosing(_read_answer(response, retries, deadline)) as deltas:
                    async for delta in deltas:
                        yield delta
                await _release(response)
            finally:
                response.close()
            return
        except ChatGLMError as error:
            wait = retries.wait_or_raise(error)
        if wait.notice:
            yield Delta(notice=wait.notice)
        await asyncio.sleep(wait.seconds)


async def _read_answer(
    response: aiohttp.ClientResponse, retries: Retries, deadline: Deadline
) -> AsyncGenerator[Delta, None]:
    request = retries.request
    if changes := retries.changes_so_far():
        yield changes
    reader = retries.reader = ResponseReader(request, deadline, response.headers.items())
    if (protocol := _CONNECTIONS.pop(response, None)) is not None:
        _REUSABLE[protocol] = is_reusable(response.headers.items())
    while not reader.done:
        # Not wait_for: in Python 3.11 it loses a cancellation that comes together with data.
        with translate_errors(request, deadline):
            async with asyncio.timeout(deadline.until_bytes()):
                block = await response.content.readany()
        if not block:
            break
        for delta in reader.feed(block):
            yield delta
    for delta in reader.close():
        yield delta


async def _acquire_slot(pool: ConnectionPool, deadline: Deadline) -> None:
    """Wait until the process can open another connection."""
    if not pool.slots.locked():
        await pool.slots.acquire()
        return
    try:
        async with asyncio.timeout(deadline.until_answer()):
            await pool.slots.acquire()
    except TimeoutError:
        raise EndpointError(
            "All connections this process may open are in use. Send fewer requests at once "
            "(max_concurrency), or raise the limit of open files (ulimit -n).",
            kind="pool_timeout",
        ) from None


async def _attempt(pool: ConnectionPool, request: Request, deadline: Deadline) -> aiohttp.ClientResponse:
    response = await _post(pool, request, deadline)
    if is_answer(response.status):
        return response
    try:
        beginning = await _read_beginning(response, request)
        raise make_response_error(request, response.status, response.headers.items(), beginning)
    finally:
        response.close()


async def _post(pool: ConnectionPool, request: Request, deadline: Deadline) -> aiohttp.ClientResponse:
    connect = min(request.timeouts.connect, deadline.remaining())
    proxy, context = proxy_for(request.url), ssl_context_for(request.url)
    session = pool.session_for(proxy, request.url)
    try:
        async with asyncio.timeout(deadline.until_answer()) as timeout:
            body = _BlockBody(request, deadline, timeout)
            send = partial(
                session.post,
                request.url,
                data=body if body.is_long else request.data,
                headers=request.all_headers | ({"Content-Length": str(len(request.data))} if body.is_long else {}),
                allow_redirects=False,
                proxy=proxy.url if proxy and not proxy.is_socks else None,
                ssl=True if context is None else context,
                timeout=aiohttp.ClientTimeout(total=None, connect=connect),
            )
            with translate_errors(request, deadline, proxy):
                while True:
                    with suppress(_ClosedMeanwhile):  # each one is out of the pool then, so this ends
                        return await send()
    except TimeoutError:
        raise deadline.timeout_error() from None


class _BlockBody:
    """A long body in blocks, each of which the server must accept within the connect timeout."""

    def __init__(self, request: Request, deadline: Deadline, timeout: asyncio.Timeout) -> None:
        self._request, self._deadline, self._timeout = request, deadline, timeout
        self.is_long = len(request.data) > BLOCK_BYTES

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._request.data), BLOCK_BYTES):
            self._set_timeout(self._request.timeouts.connect)
            self._deadline.sending = True
            yield self._request.data[start : start + BLOCK_BYTES]
        if not self._timeout.expired():  # if it has, sending took too long
            self._deadline.sending = False
        self._set_timeout(self._deadline.until_answer())

    def _set_timeout(self, seconds: float) -> None:
        with suppress(RuntimeError):  # the response came before the whole request was sent
            self._timeout.reschedule(asyncio.get_running_loop().time() + seconds)


async def _release(response: aiohttp.ClientResponse) -> None:
    """Return the connection to the pool if the response has ended; a stream's end may still be on its way."""
    if response.content.at_eof():
        response.release()
        return
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(END_WAIT_SECONDS):
            if not await response.content.readany():
                response.release()


async def _read_beginning(response: aiohttp.ClientResponse, request: Request) -> bytes:
    """Return the first bytes of an error response; none if they can't be read, since the status is enough."""
    raw = b""
    with suppress(Exception):
        async with asyncio.timeout(request.timeouts.idle):
            while len(raw) < MAX_ERROR_BODY_BYTES and (block := await response.content.readany()):
                raw += block
    return raw
