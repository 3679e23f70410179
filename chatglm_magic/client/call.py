"""What a call needs, whichever driver makes it: address, headers, time limits, when to try again."""

from __future__ import annotations

import ipaddress
import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import ChatGLMError, EndpointError, ParameterError, RefusedError
from ..wire import Dialect, codec

if TYPE_CHECKING:
    import ssl

REFUSAL_BYTES = 65536
"""How much of a refusal's body is read."""

MAX_RETRY_AFTER = 120.0
FRAMING = ("host", "content-length", "transfer-encoding", "connection")
USAGE_KEY = "stream_options"


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits in seconds: to connect, to the first byte of the answer, between two pieces of it."""

    connect: float = 5.0
    first_byte: float = 600.0
    idle: float = 120.0


@dataclass(frozen=True, slots=True)
class Call:
    """One question in a dialect's words, with all that a driver must know to ask it."""

    url: str
    dialect: Dialect
    body: Mapping[str, Any]
    data: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits = field(default_factory=Limits)
    retries: int = 2

    def reader(self, headers: Mapping[str, str]) -> Any:
        """Return the codec's reader for an answer with these (lower-cased) headers."""
        return codec(self.dialect).Reader(dict(headers))


class Headers(dict[str, str]):
    """Headers whose values, one of which may be a key, stand in no traceback."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


def encoded(body: Mapping[str, Any]) -> bytes:
    """Return a request's body as JSON.

    :raises ParameterError: for a value that JSON has no word for.
    """
    try:
        return json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = ParameterError(f"A value can't be sent as JSON: {error}. Look at model_kwargs, or at -k.")
    raise problem


def bare(url: str) -> str:
    """Return an address without name, password, query and fragment, which could hold a key."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def authorities() -> ssl.SSLContext | bool:
    """Return what certificates are checked against: the system's, or those of ``REQUESTS_CA_BUNDLE``."""
    import ssl

    bundle = os.environ.get("REQUESTS_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle) if bundle else True


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


def checked_url(url: str) -> str:
    """Return a URL that can be asked.

    :raises EndpointError: ``bad_url`` for one without scheme or host, with another scheme than http or
        https, with a name and password, with blanks or control characters, or with an impossible port.
    """
    try:
        parts = urlsplit(url)
        port_ok = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        raise _bad_url("is no address") from None
    if any(char.isspace() or ord(char) < 32 or ord(char) == 127 for char in url):
        raise _bad_url("holds blanks or control characters")
    if parts.scheme not in ("http", "https"):
        raise _bad_url("must begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise _bad_url("must not hold a name or password; a key goes into %chatglm_config api_key")
    if parts.fragment:
        raise _bad_url("must not hold a #")
    if not parts.hostname or not port_ok:
        raise _bad_url("has no host or an impossible port")
    return url


def _bad_url(what: str) -> EndpointError:
    return EndpointError(
        f"endpoint_url {what}. Type it like http://127.0.0.1:8000/ (ChatGLM's own protocol) "
        "or http://127.0.0.1:8000/v1 (OpenAI's).",
        kind="bad_url",
    )


def checked_headers(headers: Headers) -> Headers:
    """Return headers that can be sent; the error never shows a value, which may be a key.

    :raises EndpointError: ``bad_header`` for line ends, other control characters or non-ASCII letters, and for
        a header that says whom and how much is sent.
    """
    own = next((name for name in headers if name.lower() in FRAMING), None)
    if own is not None:
        raise EndpointError(f"header {own!a} is set by the client itself; leave it out.", kind="bad_header")
    # No variable of this frame holds a value: a verbose traceback prints them.
    odd = next((name for name, value in headers.items() if not _sendable(name + value)), None)
    if odd is not None:
        what = "api_key" if odd.lower() == "authorization" else f"header {odd!a}"
        raise EndpointError(
            f"{what} holds a line end, a quotation mark of print, or another character that can't be sent. "
            "Copy it again, without what stands around it.",
            kind="bad_header",
        )
    return headers


def _sendable(text: str) -> bool:
    return text.isascii() and not any(ord(char) < 32 or ord(char) == 127 for char in text)


class Retries:
    """Decides whether a question may be asked again: only if nothing was sent, or the server said to wait."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._left = call.retries
        self._attempt = 0

    def wait_or_raise(self, error: ChatGLMError) -> float:
        """Return the seconds to wait before the next attempt, or raise the error.

        Full jitter below 0.5 s doubled with each attempt, at most 8 s; a ``Retry-After`` of the server in
        seconds is obeyed up to 120 s, and a longer one means not to try.
        """
        if error.kind == "bad_request" and USAGE_KEY in str(error) and USAGE_KEY in self.call.body:
            # ``transformers serve`` refuses a key that others need for token counts: refused before it ran.
            body = {key: value for key, value in self.call.body.items() if key != USAGE_KEY}
            self.call = replace(self.call, body=body, data=encoded(body))
            return 0.0
        refused = isinstance(error, RefusedError) and error.status in (429, 503) and error.kind != "no_money"
        unsent = error.kind in ("connect", "connect_timeout")
        if not (refused or unsent) or self._left <= 0:
            raise error
        self._left -= 1
        self._attempt += 1
        wished = _seconds(error.retry_after) if isinstance(error, RefusedError) else None
        if wished is None:
            return random.uniform(0.05, min(8.0, 0.5 * 2 ** (self._attempt - 1)))
        if wished > MAX_RETRY_AFTER:
            raise error
        return wished


def _seconds(retry_after: str | None) -> float | None:
    """Read a ``Retry-After`` header in seconds; None for anything else, so that jitter takes its place."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
