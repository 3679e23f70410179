"""The certificates that are trusted, the same for both clients and the probe."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from urllib.parse import urlsplit

import certifi

from ..errors import EndpointError
from ..wire.body import sanitize_line

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that name a file or folder of certificates to trust in place of all others; the first one set wins."""


def ssl_context_for(url: str) -> ssl.SSLContext | None:
    """Return the TLS context that verifies a server's certificate; None for a URL without TLS.

    It trusts the system's store and certifi's: Python's builds for macOS have an empty store, and a company's
    private authority is only in the system's. A variable of :data:`CA_VARIABLES` replaces both.

    :raises EndpointError: ``tls`` for a file or folder that doesn't exist or contains no certificates.
    """
    if urlsplit(url).scheme != "https":
        return None
    name = next((name for name in CA_VARIABLES if os.environ.get(name)), None)
    if name is None:
        return _default_context()
    path = os.environ[name]
    if name == "SSL_CERT_DIR":  # a list of folders, as for OpenSSL
        path = next((part for part in path.split(os.pathsep) if os.path.isdir(part)), path)
    if not os.path.exists(path):
        raise EndpointError(
            f"{name} names {sanitize_line(path)!r}, which is not there. Correct or unset it.", kind="tls"
        )
    try:
        return _load_context(path, os.stat(path).st_mtime_ns)
    except (ssl.SSLError, OSError):
        raise EndpointError(
            f"{name} names {sanitize_line(path)!r}, which holds no certificates.", kind="tls"
        ) from None


@lru_cache(maxsize=1)  # a new context would mean a new connection for each request
def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


@lru_cache(maxsize=4)
def _load_context(path: str, changed: int) -> ssl.SSLContext:
    """Return the context for a file or folder; ``changed``, its time stamp, is part of the cache's key."""
    folder = os.path.isdir(path)
    return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
