"""The request that both clients send: URL, body, headers and timeouts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..credentials import mask, secrets_in
from ..errors import ChatGLMError, EndpointError, ParameterError
from ..wire import Dialect
from .timeouts import Timeouts

BLOCK_BYTES = 65536
"""How many bytes to read or send at a time."""

END_WAIT_SECONDS = 0.05
"""How long to wait for the last bytes of an answer that is complete: a new connection would cost more."""

MAX_ERROR_BODY_BYTES = 65536
"""How much of an error response's body is read."""

FRAMING_HEADERS = ("host", "content-length", "transfer-encoding", "connection")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, encoded in a dialect, with everything a client needs to send it."""

    url: str
    dialect: Dialect
    body: Mapping[str, Any]
    data: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: int = 2
    urls_without_usage: set[str] = field(default_factory=set)
    """URLs that have refused ``stream_options``; shared with later requests."""
    sample: int = 0
    """Which of several answers to this request to return; used by tapes, not sent."""
    stop: tuple[str, ...] = ()
    """Stop sequences applied by the client, whether they are sent or not."""
    exact: bool = False
    """Whether to send it once and unchanged: no retries, and no second request without what the server refused."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Header values that must not appear in any error or answer."""
        return secrets_in(self.headers) if self.headers else ()

    @property
    def all_headers(self) -> Headers:
        """All headers of the request; an uncompressed response can be read as it arrives."""
        return Headers({"Content-Type": "application/json", "Accept-Encoding": "identity"} | dict(self.headers))

    def strip_secrets(self, error: BaseException) -> BaseException:
        """Remove the key from an error or an interrupt; return it without its traceback.

        Servers repeat the key in their messages, and a verbose traceback prints the variables of each frame: those
        of the HTTP libraries contain the request, ours the server's response.
        """
        if isinstance(error, ChatGLMError):
            error.args = tuple(mask(str(part), self.secrets) for part in error.args)
        return error.with_traceback(None)


class Headers(dict[str, str]):
    """Headers whose ``repr`` omits the values, one of which may be a key, from tracebacks."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


def encode_json(body: Mapping[str, Any]) -> bytes:
    """Return a request's body as JSON.

    :raises ParameterError: for a value that JSON can't represent.
    """
    try:
        return json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = ParameterError(f"A value can't be sent as JSON: {error}. Look at model_kwargs, or at -k.")
    raise problem


def check_headers(headers: Headers) -> Headers:
    """Return headers that can be sent; the error never contains a value, which may be a key.

    :raises EndpointError: ``bad_header`` for line ends, other control characters or non-ASCII letters, and for
        a header that the client sets itself, such as ``Host`` or ``Content-Length``.
    """
    framing = next((name for name in headers if name.lower() in FRAMING_HEADERS), None)
    if framing is not None:
        raise EndpointError(f"header {framing!a} is set by the client itself; leave it out.", kind="bad_header")
    # No variable of this frame contains a value: a verbose traceback would print it.
    invalid = next((name for name, value in headers.items() if not _is_sendable(name + value)), None)
    if invalid is not None:
        subject = "api_key" if invalid.lower() == "authorization" else f"header {invalid!a}"
        raise EndpointError(
            f"{subject} contains a line end, a typographic quotation mark, or another character that "
            "can't be sent. Copy it again, without the text around it.",
            kind="bad_header",
        )
    return headers


def _is_sendable(text: str) -> bool:
    return text.isascii() and not any(ord(char) < 32 or ord(char) == 127 for char in text)
