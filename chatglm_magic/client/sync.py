"""One question in the caller's thread, over requests.

Bytes are read with ``raw.read1``: prompt for every framing, and cheap. An interrupt in the middle closes the
connection, so that the server stops.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import closing, suppress
from typing import Any

import requests

from ..errors import ChatGLMError, RefusedError
from ..values import Delta
from ..wire.refusal import refusal
from .address import bare, proxy_for
from .call import REFUSAL_BYTES, Call
from .foreign import translated
from .retries import Retries

BLOCK = 65536


class SyncClient:
    """Asks over one pool of connections; made again after a fork, closed with its owner."""

    def __init__(self) -> None:
        self._session: requests.Session | None = None
        self._owner = 0

    def stream(self, call: Call) -> Generator[Delta, None, None]:
        """Ask, and yield the answer's pieces as they arrive.

        :raises ChatGLMError: of the kinds of EndpointError, RefusedError, ReplyError and BrokenOffError.
        """
        response = self._begin(call)
        with closing(response):
            reader = call.reader({name.lower(): value for name, value in response.headers.items()})
            begun = False
            while not reader.done:
                with translated(call, begun=begun):
                    block = response.raw.read1(BLOCK, decode_content=True)
                if not block:
                    break
                if not begun:
                    begun = True
                    _set_timeout(response, call.limits.idle)
                yield from reader.feed(block)
            yield from reader.close()
            reader.check()
            if call.dialect == "chatglm":
                # A whole answer leaves the connection clean; after a stream some servers close it unasked.
                response.raw.release_conn()

    def close(self) -> None:
        """Close the pooled connections."""
        session, self._session = self._session, None
        if session and self._owner == os.getpid():
            session.close()

    def _begin(self, call: Call) -> requests.Response:
        retries = Retries(call)
        while True:
            try:
                return self._attempt(retries.call)
            except ChatGLMError as error:
                wait = retries.wait_or_raise(error)
            time.sleep(wait)

    def _attempt(self, call: Call) -> requests.Response:
        response = self._post(call)
        if response.status_code != 200:
            raise self._refused(response, call)
        return response

    def _post(self, call: Call) -> requests.Response:
        proxy = proxy_for(call.url)
        with translated(call, begun=False):
            return self._pool().post(
                call.url,
                data=call.data,
                headers={"Content-Type": "application/json", **call.headers},
                timeout=(call.limits.connect, call.limits.first_byte),
                allow_redirects=False,
                stream=True,
                verify=os.environ.get("REQUESTS_CA_BUNDLE") or True,
                proxies={"http": proxy, "https": proxy} if proxy else {},
            )

    def _refused(self, response: requests.Response, call: Call) -> RefusedError:
        with closing(response):
            raw = b""
            with suppress(Exception):  # whatever of the body can be read explains the status; the rest can wait
                while len(raw) < REFUSAL_BYTES and (block := response.raw.read1(BLOCK, decode_content=True)):
                    raw += block
            headers = {name.lower(): value for name, value in response.headers.items()}
            return refusal(response.status_code, headers, raw, bare(call.url))

    def _pool(self) -> requests.Session:
        if self._session is None or self._owner != os.getpid():
            self._session, self._owner = requests.Session(), os.getpid()
            # Neither netrc (it would replace our Authorization) nor proxies for loopback: see proxy_for.
            self._session.trust_env = False
        return self._session


def _set_timeout(response: requests.Response, seconds: float) -> None:
    """Change the read limit of a running answer; urllib3 has no public way, so the socket is looked up."""
    raw: Any = response.raw
    sock = getattr(getattr(raw, "connection", None), "sock", None)
    if sock is None:  # a connection that closes after this answer lives on in the reading file only
        sock = getattr(getattr(getattr(getattr(raw, "_fp", None), "fp", None), "raw", None), "_sock", None)
    if sock is not None:
        with suppress(OSError):
            sock.settimeout(seconds)
