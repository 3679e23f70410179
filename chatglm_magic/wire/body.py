"""Whole response bodies: decompression, decoding, strict JSON, and the errors of bodies that aren't answers."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..errors import IncompleteAnswerError, InvalidResponseError
from ..strictjson import strict_json
from ..values import Change

MAX_STEP_BYTES = 1 << 18
"""Maximum number of bytes that one step of decompression yields."""

GZIP_OR_ZLIB = 47
"""zlib's ``wbits`` that detects RFC 1952 (gzip) or RFC 1950 (which HTTP calls deflate)."""


class Decompressor:
    """Decompresses a body piece by piece."""

    def __init__(self, encoding: str) -> None:
        """Prepare to decompress a body.

        :raises InvalidResponseError: ``bad_encoding`` for an encoding that isn't supported.
        """
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise InvalidResponseError(
                f"The server compressed its answer in a way that wasn't requested: {sanitize_line(encoding, 40)}.",
                kind="bad_encoding",
            )
        self._decompressor = zlib.decompressobj(GZIP_OR_ZLIB) if name not in ("", "identity") else None
        self._has_input = False

    @property
    def is_compressed(self) -> bool:
        """Whether the body is compressed."""
        return self._decompressor is not None

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Decompress the next bytes; yield at most 256 KiB at a time.

        :raises InvalidResponseError: ``bad_encoding`` for bytes that aren't valid in this encoding.
        """
        if self._decompressor is None:
            yield block
            return
        self._has_input = True
        while block and not self._decompressor.eof:
            try:
                plain = self._decompressor.decompress(block, MAX_STEP_BYTES)
            except zlib.error:
                raise InvalidResponseError(
                    "The server's answer is damaged: it is not compressed as its headers say.", kind="bad_encoding"
                ) from None
            block = self._decompressor.unconsumed_tail
            if plain:
                yield plain

    def close(self) -> None:
        """Check that the body was complete.

        :raises IncompleteAnswerError: ``incomplete`` if the compressed data has no end.
        """
        if self._decompressor is not None and self._has_input and not self._decompressor.eof:
            raise IncompleteAnswerError(
                "The answer is incomplete: its compressed form has no end.", kind="incomplete"
            )


MAX_BODY_BYTES = 64 * 2**20
"""Maximum size of a body, or of one event."""

CONTROL_CHARACTERS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]+"
)
"""Characters that control a terminal or mislead a reader."""

EVENT_LINE = re.compile(rb"^(?:data|event|id|retry|error)?:", re.M)


class BodyBuffer:
    """Collects one body of at most :data:`MAX_BODY_BYTES` bytes."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._content_type = headers.get("content-type", "")
        self._blocks: list[bytes] = []
        self._size = 0

    def feed(self, block: bytes) -> None:
        self._size += len(block)
        if self._size > MAX_BODY_BYTES:
            raise InvalidResponseError(
                f"The server's answer is larger than {MAX_BODY_BYTES // 2**20} MiB; reading stopped.",
                kind="too_large",
            )
        self._blocks.append(block)

    def peek(self, size: int) -> bytes:
        """Return the first ``size`` bytes after leading whitespace; nothing while there are too few."""
        beginning = b""
        for block in self._blocks:  # not all of them: this is called for each block
            beginning += block[: size + 64 - len(beginning)]
            if len(beginning) >= size + 64:
                break
        beginning = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
        return beginning[:size] if len(beginning) >= size else b""

    def take_all(self) -> bytes:
        """Return the body so far, and empty the buffer."""
        raw, self._blocks = b"".join(self._blocks), []
        return raw

    def json_and_events(self) -> tuple[Any, bytes]:
        """Return the JSON at the beginning of the body, and any server-sent events after it.

        :raises InvalidResponseError: describing what the body is instead.
        """
        raw = b"".join(self._blocks)
        if raw.lstrip()[:1] == b"{" and (events := EVENT_LINE.search(raw)):
            with suppress(InvalidResponseError):
                return self._parse(raw[: events.start()]), raw[events.start() :]
        return self._parse(raw), b""

    def json(self) -> Any:
        """Return the body parsed as JSON.

        :raises InvalidResponseError: describing what the body is instead.
        """
        return self._parse(b"".join(self._blocks))

    def _parse(self, raw: bytes) -> Any:
        if not raw.strip():
            raise InvalidResponseError("The server sent an empty answer. Look at its log.", kind="empty_reply")
        text = decode_body(raw, self._content_type)
        try:
            return strict_json(text)  # regardless of its content type
        except (ValueError, RecursionError) as error:
            problem = _web_page_error(text) if is_html(text, self._content_type) else _bad_json_error(text, error)
        raise problem


def _web_page_error(text: str) -> InvalidResponseError:
    return InvalidResponseError(
        "This URL returned a web page, not an API response: "
        f"{sanitize_line(page_title(text))}. Check endpoint_url (%chatglm_config endpoint_url=...).",
        kind="not_a_model_server",
    )


def _bad_json_error(text: str, error: Exception) -> InvalidResponseError:
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data" and _is_object(text[: error.pos]):
        return json_lines_error()
    where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
    why = f" ({sanitize_line(str(error), 80)})" if type(error) is ValueError else ""
    return InvalidResponseError(
        f"The server's response isn't valid JSON{where}{why}: {sanitize_line(text)}", kind="bad_json"
    )


def json_lines_error() -> InvalidResponseError:
    """Return the error for JSON lines, which Ollama's native protocol sends."""
    return InvalidResponseError(
        "The server sent JSON lines, not server-sent events: that is another protocol (Ollama's /api?). "
        "Its address for OpenAI's protocol ends in /v1 (%chatglm_config endpoint_url=...).",
        kind="not_sse",
    )


def _is_object(text: str) -> bool:
    return text.lstrip()[:1] == "{"


CHARSET = re.compile(r"charset=[\"']?([\w.:-]{1,40})", re.IGNORECASE)


def decode_body(raw: bytes, content_type: str) -> str:
    """Decode a body by its declared charset.

    :raises InvalidResponseError: ``bad_encoding`` for bytes that aren't valid in it, and for an unknown charset.
    """
    charset = CHARSET.search(content_type)
    name = charset[1] if charset else "utf-8"
    try:
        return raw.decode(name if name.lower() != "utf-8" else "utf-8-sig")
    except (LookupError, UnicodeError) as error:
        raise InvalidResponseError(
            f"The server's answer is not the {sanitize_line(name)} it should be ({type(error).__name__}).",
            kind="bad_encoding",
        ) from None


def is_html(text: str, content_type: str) -> bool:
    """Return whether a text that isn't JSON is a web page."""
    return "text/html" in content_type or text.lstrip()[:15].lower().startswith(("<!doctype", "<html"))


def page_title(text: str) -> str:
    title = re.search(r"<title[^>]{0,200}>([^<]{1,200})", text[:65536], re.IGNORECASE)
    return title[1] if title else text[:200]


def sanitize_line(value: Any, limit: int = 300) -> str:
    """Return a server's text as one line for a message: without control characters, cut at ``limit``."""
    text = value if isinstance(value, str) else dump_json(value)
    line = CONTROL_CHARACTERS.sub(" ", text[: limit * 4]).strip()
    return line if len(line) <= limit else line[:limit] + "…"


def dump_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=repr)
    except RecursionError:
        return "(JSON that is nested too deep to be shown)"


def wrong_shape_error(reply: Any, missing: str, other_path: str, other: str) -> InvalidResponseError:
    """Return the error for JSON that isn't an answer in this dialect; ``other`` is the other dialect."""
    return InvalidResponseError(
        f"The server's answer holds no {missing}: {sanitize_line(reply)}. Does it speak the other dialect? "
        f"Then end endpoint_url in {other_path} (%chatglm_config endpoint_url=...), or set dialect={other}.",
        kind="bad_shape",
    )


def reported_changes(headers: Mapping[str, str]) -> tuple[Change, ...]:
    """Return the changes of the request that a server reports in the header ``X-ChatGLM-Changed``."""
    notes = (note.strip() for note in headers.get("x-chatglm-changed", "").split(";"))
    return tuple(Change(note) for note in notes if note)
