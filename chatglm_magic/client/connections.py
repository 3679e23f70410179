"""Connections of requests on which bytes must come in time, however few at once.

A socket's own time limit holds for each piece it receives: a head, or the line before a chunk, that comes byte by
byte would never be too late. So every read of an answer has a moment at which it is over.
"""

from __future__ import annotations

import http.client
import io
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from .limits import LOOK_UP

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


class _Plain(HTTPConnection):
    response_class = _Response


class _Safe(HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _Safe


POOLS = {"http": _PlainPool, "https": _SafePool}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = POOLS
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
