"""One question as a task, over aiohttp: what many at once and the panel use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import aiohttp

from ..errors import ChatGLMError, RefusedError
from ..values import Delta
from ..wire.refusal import refusal
from .address import authorities, bare, proxy_for
from .call import REFUSAL_BYTES, Call
from .foreign import translated_async
from .retries import Retries

BLOCK = 65536


async def stream(call: Call) -> AsyncGenerator[Delta, None]:
    """Ask, and yield the answer's pieces as they arrive; a cancelled task closes its connection.

    :raises ChatGLMError: as :meth:`.sync.SyncClient.stream`.
    """
    limits = aiohttp.ClientTimeout(total=None, sock_connect=call.limits.connect, sock_read=call.limits.first_byte)
    async with aiohttp.ClientSession(timeout=limits, trust_env=False, max_field_size=65536) as session:
        response = await _begin(session, call)
        async with response:
            reader = call.reader({name.lower(): value for name, value in response.headers.items()})
            limit, begun = call.limits.first_byte, False
            while not reader.done:
                with translated_async(call, begun=begun):
                    # Not wait_for: in Python 3.11 it loses a cancellation that comes together with data.
                    async with asyncio.timeout(limit):
                        block = await response.content.readany()
                if not block:
                    break
                limit, begun = call.limits.idle, True
                for delta in reader.feed(block):
                    yield delta
            for delta in reader.close():
                yield delta
            reader.check()


async def _begin(session: aiohttp.ClientSession, call: Call) -> aiohttp.ClientResponse:
    retries = Retries(call)
    while True:
        try:
            return await _attempt(session, retries.call)
        except ChatGLMError as error:
            wait = retries.wait_or_raise(error)
        await asyncio.sleep(wait)


async def _attempt(session: aiohttp.ClientSession, call: Call) -> aiohttp.ClientResponse:
    response = await _post(session, call)
    if response.status != 200:
        raise await _refused(response, call)
    return response


async def _post(session: aiohttp.ClientSession, call: Call) -> aiohttp.ClientResponse:
    with translated_async(call, begun=False):
        return await session.post(
            call.url,
            data=call.data,
            headers={"Content-Type": "application/json", **call.headers},
            allow_redirects=False,
            proxy=proxy_for(call.url),
            ssl=authorities(),
        )


async def _refused(response: aiohttp.ClientResponse, call: Call) -> RefusedError:
    async with response:
        raw = b""
        with suppress(Exception):  # whatever of the body can be read explains the status
            async with asyncio.timeout(call.limits.idle):
                raw = await response.content.read(REFUSAL_BYTES)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return refusal(response.status, headers, raw, bare(call.url))
