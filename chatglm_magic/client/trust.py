"""Whose certificates are trusted: the same for every road to a server."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from urllib.parse import urlsplit

import certifi

from ..errors import EndpointError
from ..wire.body import sanitize_line

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Name a file or folder of certificates that is trusted in place of all others; the first one counts."""


def ssl_context_for(url: str) -> ssl.SSLContext | None:
    """Return what a server's certificate is checked against; None for a URL without TLS.

    The system's store and certifi's together: Python's builds for macOS come with an empty store, and a company's
    own authority stands in the system's alone. A variable of :data:`CA_VARIABLES` replaces both.

    :raises EndpointError: ``tls`` for a file or folder that is not there, or holds no certificates.
    """
    if urlsplit(url).scheme != "https":
        return None
    name = next((name for name in CA_VARIABLES if os.environ.get(name)), None)
    if name is None:
        return _default_context()
    path = os.environ[name]
    if name == "SSL_CERT_DIR":  # a list of folders, as OpenSSL has it
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


@lru_cache(maxsize=1)  # a new context would mean a new connection for each question
def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


@lru_cache(maxsize=4)
def _load_context(path: str, changed: int) -> ssl.SSLContext:
    """Return the context of a file or folder as it stood when it was last changed."""
    folder = os.path.isdir(path)
    return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
