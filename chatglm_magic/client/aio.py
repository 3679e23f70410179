"""One question as a task, over aiohttp: what many at once and the panel use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

import aiohttp

from ..errors import ChatGLMError, EndpointError
from ..values import Delta
from .address import authorities, proxy_for
from .call import BLOCK, END_WAIT, REFUSAL_BYTES, Call
from .foreign import translated
from .incoming import Incoming, refused
from .limits import Clock
from .loop import awake
from .pool import Pool, Pools
from .retries import Retries


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
            break
        except ChatGLMError as error:
            wait = retries.wait_or_raise(error)
        if wait.notice:
            yield Delta(notice=wait.notice)
        await asyncio.sleep(wait.seconds)
    try:
        if told := retries.told():
            yield told
        async for delta in _read(response, call, clock):
            yield delta
        await _let_go(response)
    finally:
        response.close()


async def _read(response: aiohttp.ClientResponse, call: Call, clock: Clock) -> AsyncIterator[Delta]:
    incoming = Incoming(call, clock, response.headers.items())
    while not incoming.done:
        # Not wait_for: in Python 3.11 it loses a cancellation that comes together with data.
        with translated(call, clock):
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
    if response.status == 200:
        return response
    try:
        raise refused(call, response.status, response.headers.items(), await _beginning(response, call))
    finally:
        response.close()


async def _post(pool: Pool, call: Call, clock: Clock) -> aiohttp.ClientResponse:
    connect = min(call.limits.connect, clock.left())
    try:
        async with asyncio.timeout(clock.until_answer()) as patience:
            body = _Body(call, clock, patience)
            with translated(call, clock):
                return await pool.session.post(
                    call.url,
                    data=body if body.long else call.data,
                    headers=call.all_headers | ({"Content-Length": str(len(call.data))} if body.long else {}),
                    allow_redirects=False,
                    proxy=proxy_for(call.url),
                    ssl=authorities(call.url),
                    timeout=aiohttp.ClientTimeout(total=None, connect=connect),
                )
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
