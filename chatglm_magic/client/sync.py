"""One question in the caller's thread, over requests.

Bytes are read with ``raw.read1``: prompt for every framing, and cheap. An interrupt in the middle closes the
connection, so that the server stops.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from contextlib import closing, suppress
from typing import Any

import requests

from ..errors import ChatGLMError
from ..forks import Rank, lock
from ..values import Delta
from ..wire.body import Whole
from .address import bundle, proxy_for
from .call import BLOCK, END_WAIT, REFUSAL_BYTES, Call
from .connections import give, new_session, timer
from .foreign import translated
from .incoming import Incoming, lowered, refused
from .limits import Clock, pause
from .retries import Retries


class SyncClient:
    """Asks over one pool of connections; made again after a fork, closed with its owner."""

    def __init__(self) -> None:
        self._session: requests.Session | None = None
        self._owner = 0
        self._lock = lock(Rank.CLIENT)

    def stream(self, call: Call) -> Generator[Delta, None, None]:
        """Ask, and yield the answer's pieces as they arrive.

        :raises ChatGLMError: of the kinds of EndpointError, RefusedError, ReplyError and BrokenOffError.
        """
        try:
            yield from self._answer(call, Clock(call.limits))
        except BaseException as error:  # noqa: BLE001 - raised again
            raise call.hidden(error) from None

    def _answer(self, call: Call, clock: Clock) -> Generator[Delta, None, None]:
        retries = Retries(call, clock)
        response = yield from self._begin(retries, clock)
        with closing(response):
            if told := retries.told():
                yield told
            incoming = Incoming(call, clock, response.raw.headers.items())
            read, timed, guard = response.raw.read1, timer(response), translated(call, clock)
            while not incoming.done:  # once for each token of a stream
                if timed is not None:  # pragma: no branch - as long as urllib3 is made as it is
                    timed.end = clock.moment()
                with guard:
                    block = read(BLOCK)
                if not block:
                    break
                yield from incoming.feed(block)
            yield from incoming.close()
            _let_go(response)

    def ask_json(self, call: Call) -> Any:
        """Ask something that is no question, such as a count of tokens; return the whole JSON reply.

        :raises ChatGLMError: as :meth:`stream`.
        """
        try:
            return self._whole(call, Clock(call.limits))
        except BaseException as error:  # noqa: BLE001 - raised again
            raise call.hidden(error) from None

    def _whole(self, call: Call, clock: Clock) -> Any:
        with closing(self._attempt(call, clock)) as response:
            clock.answered = True
            body = Whole(lowered(response.raw.headers.items()))
            give(response, call.limits.idle)
            with translated(call, clock):
                while block := response.raw.read1(BLOCK):
                    clock.heard(content=False)
                    body.feed(block)
            response.raw.release_conn()
        return body.json()

    def close(self) -> None:
        """Close the pooled connections."""
        session, self._session = self._session, None
        if session and self._owner == os.getpid():
            session.close()

    def _begin(self, retries: Retries, clock: Clock) -> Generator[Delta, None, requests.Response]:
        while True:
            try:
                return self._attempt(retries.call, clock)
            except ChatGLMError as error:
                wait = retries.wait_or_raise(error)
            if wait.notice:
                yield Delta(notice=wait.notice)
            pause(wait.seconds)

    def _attempt(self, call: Call, clock: Clock) -> requests.Response:
        response = self._post(call, clock)
        if response.status_code != 200:
            with closing(response):
                words = _beginning(response, call)
                raise refused(call, response.status_code, response.raw.headers.items(), words)
        return response

    def _post(self, call: Call, clock: Clock) -> requests.Response:
        proxy = proxy_for(call.url)
        with translated(call, clock):
            return self._pool().post(
                call.url,
                # A long body goes in blocks, each under the connect limit; in one piece all of it would be.
                data=call.data if len(call.data) <= BLOCK else io.BytesIO(call.data),
                headers=call.all_headers,
                timeout=(min(call.limits.connect, clock.left()), clock.until_answer()),
                allow_redirects=False,
                stream=True,
                verify=bundle(call.url) or True,
                proxies={"http": proxy, "https": proxy} if proxy else {},
            )

    def _pool(self) -> requests.Session:
        with self._lock:
            if self._session is None or self._owner != os.getpid():
                self._session, self._owner = new_session(), os.getpid()
            return self._session


def _beginning(response: requests.Response, call: Call) -> bytes:
    """Return the first bytes of a refusal, as far as they can be had; the status stands without them."""
    raw = b""
    give(response, call.limits.idle)  # for all of it together
    with suppress(Exception):
        while len(raw) < REFUSAL_BYTES and (block := response.raw.read1(BLOCK)):
            raw += block
    return raw


def _let_go(response: requests.Response) -> None:
    """Give the connection back to the pool if its answer has ended; a stream's end may still be on the way."""
    give(response, END_WAIT)
    with suppress(Exception):
        if not response.raw.read1(1):
            response.raw.release_conn()
