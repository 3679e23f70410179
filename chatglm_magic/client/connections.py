"""Connections of requests whose answers' heads must come in time.

A socket's time limit holds for each piece it receives: a head that comes byte by byte would never be too late.
So the head is read under one limit for all of it, the read limit that the request set.
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

POOL = 64
"""Idle connections kept; more threads than this open further ones."""


class _Timed(io.RawIOBase):
    """A socket's file that gives up at a moment, until it is told that the head is over."""

    def __init__(self, file: Any) -> None:
        self._file, self._sock = file, file._sock
        limit = self._sock.gettimeout()
        self.end: float | None = None if limit is None else time.monotonic() + limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.end is not None:
            self._sock.settimeout(max(0.001, self.end - time.monotonic()))
        count: int | None = self._file.readinto(buffer)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def begin(self) -> None:
        timed = _Timed(self.fp.detach())
        self.fp = io.BufferedReader(timed, 65536)
        super().begin()
        timed.end = None


class _Plain(HTTPConnection):
    response_class = _Response


class _Safe(HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SafePool(HTTPSConnectionPool):
    ConnectionCls = _Safe


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SafePool}


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
