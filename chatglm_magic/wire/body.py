"""Whole bodies: JSON read with care, and the many shapes in which servers say that something is wrong."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import IncompleteAnswerError, InvalidResponseError
from ..strictjson import strict_json
from ..values import Change

PIECE = 1 << 18
"""Bytes that one step of undoing may yield."""

GZIP_OR_ZLIB = 47
"""zlib's ``wbits`` for "find out by yourself": RFC 1952 (gzip) or RFC 1950 (what HTTP calls deflate)."""


class Inflate:
    """Takes in a body's bytes and yields them plain."""

    def __init__(self, encoding: str) -> None:
        """Raise a InvalidResponseError for an encoding that was not asked for and can't be undone."""
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise InvalidResponseError(
                f"The server compressed its answer in a way that was not asked for: {shown(encoding, 40)}.",
                kind="bad_encoding",
            )
        self._undo = zlib.decompressobj(GZIP_OR_ZLIB) if name not in ("", "identity") else None
        self._fed = False

    @property
    def undoes(self) -> bool:
        """Whether there is anything to undo."""
        return self._undo is not None

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Take in the next bytes; yield what they mean, at most 256 KiB at a time.

        :raises InvalidResponseError: ``bad_encoding`` for bytes that are not compressed as they should be.
        """
        if self._undo is None:
            yield block
            return
        self._fed = True
        while block and not self._undo.eof:
            try:
                plain = self._undo.decompress(block, PIECE)
            except zlib.error:
                raise InvalidResponseError(
                    "The server's answer is damaged: it is not compressed as its headers say.", kind="bad_encoding"
                ) from None
            block = self._undo.unconsumed_tail
            if plain:
                yield plain

    def close(self) -> None:
        """End the body.

        :raises IncompleteAnswerError: ``incomplete`` if the compressed form has no end.
        """
        if self._undo is not None and self._fed and not self._undo.eof:
            raise IncompleteAnswerError(
                "The answer is incomplete: its compressed form has no end.", kind="incomplete"
            )


LIMIT = 64 * 2**20
"""Bytes of a body, or of one event, above which we stop reading."""

DEEPEST_WORDS = 8
"""How far into an error body a server's own words are looked for; what lies deeper is shown as JSON."""

CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]+"
)
"""Characters that a terminal obeys, or that are there to mislead a reader."""


class Whole:
    """Collects one body up to :data:`LIMIT` bytes."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._type = headers.get("content-type", "")
        self._blocks: list[bytes] = []
        self._size = 0

    def feed(self, block: bytes) -> None:
        self._size += len(block)
        if self._size > LIMIT:
            raise InvalidResponseError(
                f"The server's answer is larger than {LIMIT // 2**20} MiB; reading stopped.", kind="too_large"
            )
        self._blocks.append(block)

    def beginning(self, size: int) -> bytes:
        """Return the body's first bytes without the blanks before them; nothing while there are too few."""
        begun = b""
        for block in self._blocks:  # not all of them: this is asked at each block
            begun += block[: size + 64 - len(begun)]
            if len(begun) >= size + 64:
                break
        begun = begun.removeprefix(b"\xef\xbb\xbf").lstrip()
        return begun[:size] if len(begun) >= size else b""

    def taken(self) -> bytes:
        """Return the body so far, and forget it: it isn't whole."""
        raw, self._blocks = b"".join(self._blocks), []
        return raw

    def json(self) -> Any:
        """Return the body as JSON values.

        :raises InvalidResponseError: with what the body is instead.
        """
        raw = b"".join(self._blocks)
        if not raw.strip():
            raise InvalidResponseError("The server sent an empty answer. Look at its log.", kind="empty_reply")
        text = _decode(raw, self._type)
        if _is_html(text, self._type):
            raise InvalidResponseError(
                "This URL returned a web page, not an API response: "
                f"{shown(page_title(text))}. Check endpoint_url (%chatglm_config endpoint_url=...).",
                kind="not_a_model_server",
            )
        try:
            return strict_json(text)
        except (ValueError, RecursionError) as error:
            problem = _no_json(text, error)
        raise problem


def _no_json(text: str, error: Exception) -> InvalidResponseError:
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data" and _is_object(text[: error.pos]):
        return json_lines()
    where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
    why = f" ({shown(str(error), 80)})" if type(error) is ValueError else ""
    return InvalidResponseError(
        f"The server's response isn't valid JSON{where}{why}: {shown(text)}", kind="bad_json"
    )


def json_lines() -> InvalidResponseError:
    """Say that JSON came line by line, as Ollama's own protocol has it."""
    return InvalidResponseError(
        "The server sent JSON lines, not server-sent events: that is another protocol (Ollama's /api?). "
        "Its address for OpenAI's protocol ends in /v1 (%chatglm_config endpoint_url=...).",
        kind="not_sse",
    )


def _is_object(text: str) -> bool:
    return text.lstrip()[:1] == "{"


def _decode(raw: bytes, content_type: str) -> str:
    charset = re.search(r"charset=\"?([\w.:-]{1,40})", content_type, re.IGNORECASE)
    name = charset[1] if charset else "utf-8"
    try:
        return raw.decode(name if name.lower() != "utf-8" else "utf-8-sig")
    except (LookupError, UnicodeError) as error:
        raise InvalidResponseError(
            f"The server's answer is not the {shown(name)} it should be ({type(error).__name__}).",
            kind="bad_encoding",
        ) from None


def _is_html(text: str, content_type: str) -> bool:
    return "text/html" in content_type or text.lstrip()[:15].lower().startswith(("<!doctype", "<html"))


def page_title(text: str) -> str:
    title = re.search(r"<title[^>]{0,200}>([^<]{1,200})", text[:65536], re.IGNORECASE)
    return title[1] if title else text[:200]


def shown(value: Any, limit: int = 300) -> str:
    """Make a server's text fit for one line of a message: no control characters, cut at ``limit``."""
    text = value if isinstance(value, str) else _as_json(value)
    line = CONTROLS.sub(" ", text[: limit * 4]).strip()
    return line if len(line) <= limit else line[:limit] + "…"


def _as_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=repr)
    except RecursionError:
        return "(JSON that is nested too deep to be shown)"


def message_of(reply: Any, deep: int = DEEPEST_WORDS) -> str | None:
    """Find the server's own words in an error body, which servers write in at least eight shapes.

    :param deep: how far into lists and objects to look.
    """
    if isinstance(reply, str):
        return reply
    if not deep:
        return None
    if isinstance(reply, list):
        parts = [message_of(item, deep - 1) for item in reply[:5]]
        return "; ".join(part for part in parts if part) or None
    if not isinstance(reply, dict):
        return None
    for key in ("error", "detail", "message", "msg"):
        if reply.get(key):
            found = message_of(reply[key], deep - 1)
            if found:
                loc = reply.get("loc")
                where = ".".join(str(part) for part in loc) if isinstance(loc, list) else ""
                return f"{where}: {found}" if where else found
    return None


def raise_if_error(reply: Any) -> None:
    """Raise what an answer with HTTP status 200 says went wrong, if it says so."""
    if not isinstance(reply, dict) or reply.get("choices"):
        return
    status, words = reply.get("status"), reply.get("response")
    if isinstance(status, int) and status >= 400:
        said = shown(words or message_of(reply) or reply)
        raise InvalidResponseError(f"The server reports status {status}: {said}", kind="server_error")
    if isinstance(words, str):
        return
    if failed(reply):
        raise InvalidResponseError(
            f"The server reports an error: {shown(message_of(reply) or reply)}", kind="server_error"
        )


def failed(reply: Any) -> bool:
    """Tell whether an answer, or an event of one, says that something went wrong."""
    if not isinstance(reply, dict) or reply.get("choices"):
        return isinstance(reply, dict) and bool(reply.get("error"))
    said = reply.get("error") or reply.get("detail") or reply.get("object") == "error"
    return bool(said) or reply.get("success") is False


def wrong_shape(reply: Any, missing: str, other_path: str) -> InvalidResponseError:
    """Say that JSON came, but no answer of this dialect."""
    return InvalidResponseError(
        f"The server's answer holds no {missing}: {shown(reply)}. Does it speak the other dialect? "
        f"Then end endpoint_url in {other_path} (%chatglm_config endpoint_url=...).",
        kind="bad_shape",
    )


def changes_of(headers: Mapping[str, str]) -> tuple[Change, ...]:
    """Return what a server says, in the header ``X-ChatGLM-Changed``, that it changed of the request."""
    notes = (note.strip() for note in headers.get("x-chatglm-changed", "").split(";"))
    return tuple(Change(note) for note in notes if note)
