"""Addresses: whether one can be asked, what of it may be shown, and how it is reached."""

from __future__ import annotations

import ipaddress
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from ..credentials import names_a_key
from ..errors import EndpointError

if TYPE_CHECKING:
    import ssl


def bare(url: str) -> str:
    """Return an address without name, password, query and fragment, which could hold a key."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def bundle(url: str) -> str | None:
    """Return the file of certificates that ``REQUESTS_CA_BUNDLE`` names; None means the usual ones, or no TLS.

    :raises EndpointError: ``tls`` for a file or folder that is not there.
    """
    path = (os.environ.get("REQUESTS_CA_BUNDLE") or None) if urlsplit(url).scheme == "https" else None
    if path is not None and not os.path.exists(path):
        raise EndpointError(
            f"REQUESTS_CA_BUNDLE names {path!a}, which is not there. Correct or unset it.", kind="tls"
        )
    return path


def authorities(url: str) -> ssl.SSLContext | bool:
    """Return what certificates are checked against: the system's, or those of ``REQUESTS_CA_BUNDLE``."""
    path = bundle(url)
    return _context(path) if path else True


@lru_cache(maxsize=4)  # a new context would mean a new connection for each question
def _context(path: str) -> ssl.SSLContext:
    import ssl

    folder = os.path.isdir(path)
    return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)


@lru_cache(maxsize=256)
def is_loopback(url: str) -> bool:
    """Tell whether a URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_for(url: str) -> str | None:
    """Return the environment's proxy for a URL; loopback never goes through one."""
    import urllib.request  # here and not above: it takes as long as all of this package to import

    parts = urlsplit(url)
    if is_loopback(url) or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


@lru_cache(maxsize=256)
def checked_url(url: str) -> str:
    """Return a URL that can be asked.

    :raises EndpointError: ``bad_url`` for one without scheme or host, with another scheme than http or
        https, with a name and password, with blanks or control characters, or with an impossible port.
    """
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        raise _bad_url("isn't a valid URL") from None
    if any(char.isspace() or ord(char) < 32 or ord(char) == 127 for char in url):
        raise _bad_url("holds blanks or control characters")
    if parts.scheme not in ("http", "https"):
        raise _bad_url("must begin with http:// or https://")
    no_secrets(url)
    if parts.fragment:
        raise _bad_url("must not hold a #")
    if not parts.hostname or not port_ok:
        raise _bad_url("has no host or an impossible port")
    return url


def no_secrets(url: str) -> None:
    """Refuse an address that holds a name and password, or a key in its query.

    :raises EndpointError: ``bad_url``, which does not repeat it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    if "@" in parts.netloc:
        raise _bad_url("must not hold a name or password; a key goes into api_key (%chatglm_config api_key)")
    pairs = [*re.split("[&;]", parts.query), *parts.path.split(";")[1:], *re.split("[&;?]", parts.fragment)]
    if any(names_a_key(unquote_plus(pair.partition("=")[0])) for pair in pairs):
        raise _bad_url("must not hold a key; it goes into api_key (%chatglm_config api_key)")


def _bad_url(what: str) -> EndpointError:
    return EndpointError(
        f"endpoint_url {what}. Type it like http://127.0.0.1:8000/ (ChatGLM's own protocol) "
        "or http://127.0.0.1:8000/v1 (OpenAI's).",
        kind="bad_url",
    )
