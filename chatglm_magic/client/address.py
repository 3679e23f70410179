"""Checks of endpoint URLs, and the part of a URL that can be displayed."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from ..credentials import is_secret_name
from ..errors import EndpointError


def redact_url(url: str) -> str:
    """Return a URL without user name, password, query and fragment, which could contain a key."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@lru_cache(maxsize=256)
def is_loopback(url: str) -> bool:
    """Return whether a URL's host is this machine; 0.0.0.0, which servers print for all interfaces, counts too."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@lru_cache(maxsize=256)
def check_url(url: str) -> str:
    """Return the URL if requests can be sent to it.

    :raises EndpointError: ``bad_url`` if it has no scheme or host, a scheme other than http or https, a user name
        and password, whitespace or control characters, or an invalid port.
    """
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        raise _bad_url_error("isn't a valid URL") from None
    if any(char.isspace() or ord(char) < 32 or ord(char) == 127 for char in url):
        raise _bad_url_error("contains spaces or control characters")
    if parts.scheme not in ("http", "https"):
        raise _bad_url_error("must begin with http:// or https://")
    check_no_secrets(url)
    if parts.fragment:
        raise _bad_url_error("must not contain a #")
    if not parts.hostname or not port_ok:
        raise _bad_url_error("has no host or an impossible port")
    return url


def check_no_secrets(url: str) -> None:
    """Refuse a URL that contains a user name and password, or a key in its query.

    :raises EndpointError: ``bad_url``; the message doesn't repeat the URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    if "@" in parts.netloc:
        raise _bad_url_error(
            "must not contain a name or password; a key goes into api_key (%chatglm_config api_key)"
        )
    pairs = [*re.split("[&;]", parts.query), *parts.path.split(";")[1:], *re.split("[&;?]", parts.fragment)]
    if any(is_secret_name(unquote_plus(pair.partition("=")[0])) for pair in pairs):
        raise _bad_url_error("must not contain a key; it goes into api_key (%chatglm_config api_key)")


def _bad_url_error(what: str) -> EndpointError:
    return EndpointError(
        f"endpoint_url {what}. Type it like http://127.0.0.1:8000/ (ChatGLM's own protocol) "
        "or http://127.0.0.1:8000/v1 (OpenAI's).",
        kind="bad_url",
    )
