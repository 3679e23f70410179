"""The synchronous client over requests, its connections, and the bridge to the asynchronous one."""

from __future__ import annotations

import http.client
import io
import os
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ..errors import ChatGLMError
from ..forks import LockOrder, fork_safe_lock
from ..values import Delta
from ..wire.body import BodyBuffer
from .loop import handed_over
from .proxies import Proxy, proxy_for
from .request import BLOCK, END_WAIT, REFUSAL_BYTES, Call
from .response import ResponseReader, is_answer, is_reusable, lowered, response_error
from .retries import Retries
from .timeouts import LOOK_UP, Clock, pause
from .transport_errors import translate_errors
from .trust import trust

if TYPE_CHECKING:
    from .async_client import AsyncClient


MAX_INTERIM = 100
"""Interim responses before an answer: more are no way of this protocol."""

POOL = 64
"""Idle connections kept; more threads than this open further ones."""


class Timed(io.RawIOBase):
    """A socket's file whose reads give up at the moment ``end``, by :func:`time.monotonic`.

    :param file: http.client's buffered file, of which nothing has been read; it is closed with this one.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._sock = file, file.raw._sock
        limit = self._sock.gettimeout()
        self.end = time.monotonic() + (3600.0 if limit is None else limit)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        while True:
            left = self.end - time.monotonic()
            self._sock.settimeout(max(0.001, min(left, LOOK_UP)))
            try:
                # Not the file's own readinto, which reads no more after its first wait in vain.
                count: int = self._sock.recv_into(buffer)
            except TimeoutError:
                if left <= LOOK_UP:
                    raise
            else:
                return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        # Not detached: an interrupt in between would leave a file that can't be closed, and be lost in that error.
        self.fp = io.BufferedReader(Timed(self.fp), 65536)
        super().begin()

    def _read_status(self) -> tuple[str, int, str]:
        """Pass over what a server says on the way (102, 103); http.client itself does so with 100 alone."""
        for _ in range(MAX_INTERIM):
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 101 < found[1] < 200:
                break
            http.client.parse_headers(self.fp)
        return found


class _Plain(HTTPConnection):
    response_class = _Response


class _Safe(HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _Safe


POOLS = {"http": _PlainPool, "https": _SafePool}


@cache
def _socks_pools() -> dict[str, Any]:
    """Return the pools for a proxy that speaks SOCKS; the library they need is an extra."""
    from urllib3.contrib import socks

    def timed(pool: Any) -> Any:
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": _Response})
        return type("Pool", (pool,), {"ConnectionCls": connection})

    return {scheme: timed(pool) for scheme, pool in socks.SOCKSProxyManager.pool_classes_by_scheme.items()}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Have certificates checked as on every other road: pools that trust others are others."""
        host, keys = super().build_connection_pool_key_attributes(request, verify, cert)
        if (context := trust(request.url)) is not None:
            keys["ssl_context"] = context
        return host, keys

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Add nothing to what the pool's own context trusts."""
        conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = "CERT_REQUIRED", None, None

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _socks_pools() if proxy.lower().startswith("socks") else POOLS
        return manager


def timer(response: requests.Response) -> Timed | None:
    """Return what times the reads of an answer; None once it has been read to its end."""
    file = getattr(getattr(getattr(response.raw, "_fp", None), "fp", None), "raw", None)
    return file if isinstance(file, Timed) else None


def give(response: requests.Response, seconds: float) -> None:
    """Let the next reads of an answer take so long, all together."""
    file = timer(response)
    if file is not None:
        file.end = time.monotonic() + seconds


def new_session() -> requests.Session:
    """Return a session that keeps connections, and neither cookies nor anything of the environment.

    Neither netrc, which would replace our Authorization, nor proxies for loopback: see ``proxy_for``.
    """
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_maxsize=POOL))
    return session


def proxies_of(proxy: Proxy | None) -> dict[str, str]:
    """Return a proxy as requests wants it."""
    return dict.fromkeys(("http", "https"), proxy.url) if proxy else {}


class SyncClient:
    """Asks over one pool of connections; made again after a fork, closed with its owner."""

    def __init__(self) -> None:
        self._session: requests.Session | None = None
        self._owner = 0
        self._lock = fork_safe_lock(LockOrder.CLIENT)

    def stream(self, call: Call) -> Generator[Delta, None, None]:
        """Ask, and yield the answer's pieces as they arrive.

        :raises ChatGLMError: an EndpointError, ResponseError, InvalidResponseError or IncompleteAnswerError.
        """
        try:
            yield from self._answer(call, Clock(call.limits))
        except BaseException as error:  # noqa: BLE001 - raised again
            raise call.hidden(error) from None

    def _answer(self, call: Call, clock: Clock) -> Generator[Delta, None, None]:
        retries = Retries(call, clock)
        while True:
            try:
                with closing(self._attempt(retries.call, clock)) as response:
                    yield from self._read(response, retries, clock)
                return
            except ChatGLMError as error:
                wait = retries.wait_or_raise(error)
            if wait.notice:
                yield Delta(notice=wait.notice)
            pause(wait.seconds)

    def _read(self, response: requests.Response, retries: Retries, clock: Clock) -> Generator[Delta, None, None]:
        call = retries.call
        if news := retries.news():
            yield news
        incoming = retries.reader = ResponseReader(call, clock, response.raw.headers.items())
        read, timed, guard = response.raw.read1, timer(response), translate_errors(call, clock)
        while not incoming.done:  # once for each token of a stream
            if timed is not None:  # pragma: no branch - as long as urllib3 is made as it is
                timed.end = clock.moment()
            with guard:
                block = read(BLOCK)
            if not block:
                break
            yield from incoming.feed(block)
        yield from incoming.close()
        if is_reusable(response.raw.headers.items()):
            _let_go(response)

    def ask_json(self, call: Call) -> Any:
        """Send a request that isn't a prompt, such as a count of tokens; return the whole JSON response.

        :raises ChatGLMError: as :meth:`stream`.
        """
        try:
            return self._whole(call, Clock(call.limits))
        except BaseException as error:  # noqa: BLE001 - raised again
            raise call.hidden(error) from None

    def _whole(self, call: Call, clock: Clock) -> Any:
        with closing(self._attempt(call, clock)) as response:
            clock.answered = True
            body = BodyBuffer(lowered(response.raw.headers.items()))
            give(response, call.limits.idle)
            with translate_errors(call, clock):
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

    def _attempt(self, call: Call, clock: Clock) -> requests.Response:
        response = self._post(call, clock)
        if not is_answer(response.status_code):
            with closing(response):
                words = _beginning(response, call)
                raise response_error(call, response.status_code, response.raw.headers.items(), words)
        return response

    def _post(self, call: Call, clock: Clock) -> requests.Response:
        proxy = proxy_for(call.url)
        trust(call.url)  # here, where its error is ours
        if proxy and proxy.is_socks:
            proxy.require("socks", call.url)
        with translate_errors(call, clock, proxy):
            return self._pool().post(
                call.url,
                # A long body goes in blocks, each under the connect limit; in one piece all of it would be.
                data=call.data if len(call.data) <= BLOCK else io.BytesIO(call.data),
                headers=call.all_headers,
                timeout=(min(call.limits.connect, clock.left()), clock.until_answer()),
                allow_redirects=False,
                stream=True,
                proxies=proxies_of(proxy),
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


GENUINE = issubclass(HTTPConnection, http.client.HTTPConnection)
"""Whether urllib3 is the one that requests was made for."""


class BridgedClient(SyncClient):
    """Has the questions asked on the package's loop thread, and hands their answers over as they come."""

    def __init__(self, client: Callable[[], AsyncClient]) -> None:
        super().__init__()
        self._client = client

    def stream(self, call: Call) -> Generator[Delta, None, None]:
        """Ask, and yield the answer's pieces as they arrive; as :meth:`SyncClient.stream`."""
        yield from handed_over(self._client().stream(call))
