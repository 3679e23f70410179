"""What a request is made of, whichever client sends it: body, headers, timeouts."""

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
"""Bytes that are read, or sent, at a time."""

END_WAIT_SECONDS = 0.05
"""Seconds to wait, once an answer has said that it is whole, for its last bytes: a new connection costs more."""

MAX_ERROR_BODY_BYTES = 65536
"""How much of a refusal's body is read."""

FRAMING_HEADERS = ("host", "content-length", "transfer-encoding", "connection")


@dataclass(frozen=True, slots=True)
class Request:
    """One question in a dialect's words, with all that a driver must know to ask it."""

    url: str
    dialect: Dialect
    body: Mapping[str, Any]
    data: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: int = 2
    urls_without_usage: set[str] = field(default_factory=set)
    """Addresses that were found to refuse ``stream_options``; shared with the calls to come."""
    sample: int = 0
    """Which of several answers to this question is wanted; known to a tape, and not sent."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer on this side, whether the server is told of them or not."""
    exact: bool = False
    """Whether it is sent once, as it is: not again, and not with less where the server refuses something."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the headers must stand in no error and no answer."""
        return secrets_in(self.headers) if self.headers else ()

    @property
    def all_headers(self) -> Headers:
        """The headers of the request; a body that is not compressed can be read as it comes."""
        return Headers({"Content-Type": "application/json", "Accept-Encoding": "identity"} | dict(self.headers))

    def strip_secrets(self, error: BaseException) -> BaseException:
        """Return an error of a driver, or an interrupt of it, without the key.

        Servers repeat it in their own words, and a verbose traceback prints the variables of each frame: those of
        the HTTP libraries hold the request, ours what the server said.
        """
        if isinstance(error, ChatGLMError):
            error.args = tuple(mask(str(part), self.secrets) for part in error.args)
        return error.with_traceback(None)


class Headers(dict[str, str]):
    """Headers whose values, one of which may be a key, stand in no traceback."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


def encode_json(body: Mapping[str, Any]) -> bytes:
    """Return a request's body as JSON.

    :raises ParameterError: for a value that JSON has no word for.
    """
    try:
        return json.dumps(body, ensure_ascii=True, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = ParameterError(f"A value can't be sent as JSON: {error}. Look at model_kwargs, or at -k.")
    raise problem


def check_headers(headers: Headers) -> Headers:
    """Return headers that can be sent; the error never shows a value, which may be a key.

    :raises EndpointError: ``bad_header`` for line ends, other control characters or non-ASCII letters, and for
        a header that says whom and how much is sent.
    """
    own = next((name for name in headers if name.lower() in FRAMING_HEADERS), None)
    if own is not None:
        raise EndpointError(f"header {own!a} is set by the client itself; leave it out.", kind="bad_header")
    # No variable of this frame holds a value: a verbose traceback prints them.
    odd = next((name for name, value in headers.items() if not _is_sendable(name + value)), None)
    if odd is not None:
        what = "api_key" if odd.lower() == "authorization" else f"header {odd!a}"
        raise EndpointError(
            f"{what} holds a line end, a quotation mark of print, or another character that can't be sent. "
            "Copy it again, without what stands around it.",
            kind="bad_header",
        )
    return headers


def _is_sendable(text: str) -> bool:
    return text.isascii() and not any(ord(char) < 32 or ord(char) == 127 for char in text)
