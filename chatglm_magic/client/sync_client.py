"""The synchronous client over requests, its connections, and a synchronous wrapper of the asynchronous client."""

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
from .loop import iterate_on_loop_thread
from .proxies import Proxy, proxy_for
from .request import BLOCK_BYTES, END_WAIT_SECONDS, MAX_ERROR_BODY_BYTES, Request
from .response import ResponseReader, is_answer, is_reusable, lower_names, make_response_error
from .retries import Retries
from .timeouts import POLL_SECONDS, Deadline, sleep_in_steps
from .transport_errors import translate_errors
from .trust import ssl_context_for

if TYPE_CHECKING:
    from .async_client import AsyncClient


MAX_INTERIM_RESPONSES = 100
"""How many interim (1xx) responses to skip before the final one."""

MAX_IDLE_CONNECTIONS = 64
"""How many idle connections to keep; more threads than that open additional ones."""


class DeadlineFile(io.RawIOBase):
    """A socket's file whose reads time out at ``deadline``, by :func:`time.monotonic`.

    :param file: the buffered file of ``http.client``, still unread; it is closed with this one.
    """

    _file: Any = None  # until an uninterrupted __init__: Python closes the object in any case

    def __init__(self, file: Any) -> None:
        self._file, self._sock = file, file.raw._sock
        limit = self._sock.gettimeout()
        self.deadline = time.monotonic() + (3600.0 if limit is None else limit)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        while True:
            remaining = self.deadline - time.monotonic()
            self._sock.settimeout(max(0.001, min(remaining, POLL_SECONDS)))
            try:
                # Not ``file.readinto``, which stops reading for good after its first timeout.
                count: int = self._sock.recv_into(buffer)
            except TimeoutError:
                if remaining <= POLL_SECONDS:
                    raise
            else:
                return count

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        # Not detached: an interrupt in between would leave a file that can't be closed, and be lost in that error.
        self.fp = io.BufferedReader(DeadlineFile(self.fp), 65536)
        super().begin()

    def _read_status(self) -> tuple[str, int, str]:
        """Skip interim responses (102, 103); ``http.client`` skips only 100."""
        for _ in range(MAX_INTERIM_RESPONSES):
            status_line: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 101 < status_line[1] < 200:
                break
            http.client.parse_headers(self.fp)
        return status_line


class _HTTPConnection(HTTPConnection):
    response_class = _Response


class _HTTPSConnection(HTTPSConnection):
    response_class = _Response


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection


POOL_CLASSES = {"http": _HTTPPool, "https": _HTTPSPool}


@cache
def _socks_pool_classes() -> dict[str, Any]:
    """Return the pools for SOCKS proxies; the library they need is an optional dependency."""
    from urllib3.contrib import socks

    def timed(pool: Any) -> Any:
        connection = type("Connection", (pool.ConnectionCls,), {"response_class": _Response})
        return type("Pool", (pool,), {"ConnectionCls": connection})

    return {scheme: timed(pool) for scheme, pool in socks.SOCKSProxyManager.pool_classes_by_scheme.items()}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Verify certificates as the asynchronous client does; each TLS context gets separate pools."""
        host, keys = super().build_connection_pool_key_attributes(request, verify, cert)
        if (context := ssl_context_for(request.url)) is not None:
            keys["ssl_context"] = context
        return host, keys

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Add nothing to the certificates that the pool's TLS context trusts."""
        conn.cert_reqs, conn.ca_certs, conn.ca_cert_dir = "CERT_REQUIRED", None, None

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        is_socks = proxy.lower().startswith("socks")
        manager.pool_classes_by_scheme = _socks_pool_classes() if is_socks else POOL_CLASSES
        return manager


def find_deadline_file(response: requests.Response) -> DeadlineFile | None:
    """Return the file that times a response's reads; None after the response has been read to its end."""
    file = getattr(getattr(getattr(response.raw, "_fp", None), "fp", None), "raw", None)
    return file if isinstance(file, DeadlineFile) else None


def set_read_deadline(response: requests.Response, seconds: float) -> None:
    """Give the next reads of a response this many seconds in total."""
    file = find_deadline_file(response)
    if file is not None:
        file.deadline = time.monotonic() + seconds


def new_session() -> requests.Session:
    """Return a session that keeps connections, but no cookies and no settings from the environment.

    That leaves out netrc, which would replace our Authorization, and proxies for loopback: see ``proxy_for``.
    """
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_maxsize=MAX_IDLE_CONNECTIONS))
    return session


def requests_proxies(proxy: Proxy | None) -> dict[str, str]:
    """Return a proxy in the form that requests expects."""
    return dict.fromkeys(("http", "https"), proxy.url) if proxy else {}


class SyncClient:
    """Sends requests over one pool of connections, which is replaced after a fork."""

    def __init__(self) -> None:
        self._session: requests.Session | None = None
        self._owner = 0
        self._lock = fork_safe_lock(LockOrder.CLIENT)

    def stream(self, request: Request) -> Generator[Delta, None, None]:
        """Send a request and yield the answer as it arrives.

        :raises ChatGLMError: an EndpointError, ResponseError, InvalidResponseError or IncompleteAnswerError.
        """
        try:
            yield from self._stream_with_retries(request, Deadline(request.timeouts))
        except BaseException as error:  # noqa: BLE001 - raised again
            raise request.strip_secrets(error) from None

    def _stream_with_retries(self, request: Request, deadline: Deadline) -> Generator[Delta, None, None]:
        retries = Retries(request, deadline)
        while True:
            try:
                with closing(self._attempt(retries.request, deadline)) as response:
                    yield from self._read_answer(response, retries, deadline)
                return
            except ChatGLMError as error:
                wait = retries.wait_or_raise(error)
            if wait.notice:
                yield Delta(notice=wait.notice)
            sleep_in_steps(wait.seconds)

    def _read_answer(
        self, response: requests.Response, retries: Retries, deadline: Deadline
    ) -> Generator[Delta, None, None]:
        request = retries.request
        if changes := retries.changes_so_far():
            yield changes
        reader = retries.reader = ResponseReader(request, deadline, response.raw.headers.items())
        read, file, guard = response.raw.read1, find_deadline_file(response), translate_errors(request, deadline)
        while not reader.done:  # once for each token of a stream
            if file is not None:  # pragma: no branch - as long as urllib3 has these attributes
                file.deadline = deadline.read_deadline()
            with guard:
                block = read(BLOCK_BYTES)
            if not block:
                break
            yield from reader.feed(block)
        yield from reader.close()
        if is_reusable(response.raw.headers.items()):
            _release(response)

    def request_json(self, request: Request) -> Any:
        """Send a request that isn't a prompt, such as a count of tokens; return the whole JSON response.

        :raises ChatGLMError: as :meth:`stream`.
        """
        try:
            return self._read_json(request, Deadline(request.timeouts))
        except BaseException as error:  # noqa: BLE001 - raised again
            raise request.strip_secrets(error) from None

    def _read_json(self, request: Request, deadline: Deadline) -> Any:
        with closing(self._attempt(request, deadline)) as response:
            deadline.answered = True
            body = BodyBuffer(lower_names(response.raw.headers.items()))
            set_read_deadline(response, request.timeouts.idle)
            with translate_errors(request, deadline):
                while block := response.raw.read1(BLOCK_BYTES):
                    deadline.on_bytes(content=False)
                    body.feed(block)
            response.raw.release_conn()
        return body.json()

    def close(self) -> None:
        """Close the pooled connections."""
        session, self._session = self._session, None
        if session and self._owner == os.getpid():
            session.close()

    def _attempt(self, request: Request, deadline: Deadline) -> requests.Response:
        response = self._post(request, deadline)
        if not is_answer(response.status_code):
            with closing(response):
                beginning = _read_beginning(response, request)
                raise make_response_error(request, response.status_code, response.raw.headers.items(), beginning)
        return response

    def _post(self, request: Request, deadline: Deadline) -> requests.Response:
        proxy = proxy_for(request.url)
        ssl_context_for(request.url)  # here, where its error isn't translated
        if proxy and proxy.is_socks:
            proxy.require_package("socks", request.url)
        with translate_errors(request, deadline, proxy):
            return self._get_session().post(
                request.url,
                # A long body is sent in blocks, each under the connect timeout; in one piece, all of it would be.
                data=request.data if len(request.data) <= BLOCK_BYTES else io.BytesIO(request.data),
                headers=request.all_headers,
                timeout=(min(request.timeouts.connect, deadline.remaining()), deadline.until_answer()),
                allow_redirects=False,
                stream=True,
                proxies=requests_proxies(proxy),
            )

    def _get_session(self) -> requests.Session:
        with self._lock:
            if self._session is None or self._owner != os.getpid():
                self._session, self._owner = new_session(), os.getpid()
            return self._session


def _read_beginning(response: requests.Response, request: Request) -> bytes:
    """Return the first bytes of an error response; none if they can't be read, since the status is enough."""
    raw = b""
    set_read_deadline(response, request.timeouts.idle)  # for the whole beginning
    with suppress(Exception):
        while len(raw) < MAX_ERROR_BODY_BYTES and (block := response.raw.read1(BLOCK_BYTES)):
            raw += block
    return raw


def _release(response: requests.Response) -> None:
    """Return the connection to the pool if the response has ended; a stream's end may still be on its way."""
    set_read_deadline(response, END_WAIT_SECONDS)
    with suppress(Exception):
        if not response.raw.read1(1):
            response.raw.release_conn()


HAS_STANDARD_URLLIB3 = issubclass(HTTPConnection, http.client.HTTPConnection)
"""Whether urllib3 is the original, and not a replacement such as urllib3-future."""


class BridgedClient(SyncClient):
    """Sends requests with the asynchronous client on the loop thread, and yields the answers synchronously."""

    def __init__(self, client: Callable[[], AsyncClient]) -> None:
        super().__init__()
        self._client = client

    def stream(self, request: Request) -> Generator[Delta, None, None]:
        """Send a request and yield the answer as it arrives, as :meth:`SyncClient.stream` does."""
        yield from iterate_on_loop_thread(self._client().stream(request))
