"""Text for people: control characters of a server or a model escaped, and counts with their nouns.

A model can write the bytes that move a cursor, set a clipboard (OSC 52), rename a window or reverse the rest of a
line. Each such character becomes a visible escape. Characters are mapped one by one, without state, so the chunks
of a stream can be escaped separately.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

# C0 without tab and newline, DEL, C1 (a bare U+009B is CSI), surrogates: what a terminal obeys or can't print.
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
# Embeddings, overrides and isolates, which reorder what follows them; tag characters, which hide text.
_DECEIVING = r"\u202a-\u202e\u2066-\u206f\ufff9-\ufffb\U000e0000-\U000e007f"
# Marks, joins and breaks of no width. Not here: U+200D and U+200C, which emoji and Persian are made with.
_WIDTHLESS = r"\u061c\u180e\u200b\u200e\u200f\u2028\u2029\u2060-\u2065\ufeff"

_UNSAFE_IN_TERMINAL = re.compile(f"[{_CONTROLS}{_DECEIVING}{_WIDTHLESS}]")
_UNSAFE_IN_PAGE = re.compile(f"[{_CONTROLS}{_DECEIVING}]")

_SURROGATE = re.compile("[\ud800-\udfff]")

# Enough input for any message, so that a server's 100 MB error page costs nothing.
_MAX_LINE_SOURCE_CHARS = 65_536


def _escape(match: re.Match[str]) -> str:
    """Return a character as in a Python literal: ``\\r``, ``\\x1b``, ``\\u202e``, ``\\U000e0041``."""
    code = ord(match.group())
    if code == 0x0D:
        return "\\r"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def escape_controls(text: str) -> str:
    """Escape whatever moves, colours, hides or reorders text in a terminal.

    Only tab and newline stay as they are; a carriage return becomes ``\\r``, because it lets later text overwrite
    earlier text.
    """
    return _UNSAFE_IN_TERMINAL.sub(_escape, text)


def escape_page_controls(text: str) -> str:
    """Escape controls for a web page: zero-width characters, which have no effect there, stay as they are."""
    return _UNSAFE_IN_PAGE.sub(_escape, text)


def one_line(text: str, limit: int = 500) -> str:
    """Return a text as one line of at most ``limit`` characters for an error message, cut with ``…``.

    White space of any kind becomes one space; controls are escaped as by :func:`escape_controls`.
    """
    line = escape_controls(" ".join(text[:_MAX_LINE_SOURCE_CHARS].split()))
    complete = len(line) <= limit and len(text) <= _MAX_LINE_SOURCE_CHARS
    return line if complete else line[: max(limit - 1, 0)].rstrip() + "…"


def quote_name(text: object) -> str:
    """Return a name, such as a file's, in quotation marks and with its controls escaped."""
    return f"'{one_line(str(text), 300)}'"


def display_width(text: str) -> int:
    """Return the number of terminal columns of a text: two for a wide character (UAX #11), none for marks."""
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Pad a text with spaces to a number of terminal columns; ``right`` aligns it on the right."""
    blanks = " " * max(0, width - display_width(text))
    return blanks + text if right else text + blanks


def align_columns(rows: Sequence[Sequence[str]], *, right: bool = False) -> list[str]:
    """Return the rows of a table as lines with aligned columns."""
    widths = [max(display_width(row[index]) for row in rows) for index in range(len(rows[0]))]
    lines = (
        "  ".join(pad(cell, width, right=right) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
    return [line.rstrip() for line in lines]


def escape_unencodable(text: str, stream: Any) -> str:
    """Escape the characters that a stream's encoding lacks (``LANG=C``, a pipe on Windows)."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, errors="backslashreplace").decode(encoding)


def write_escaped(stream: Any, text: str) -> None:
    """Write text to a terminal stream of any encoding, with its controls escaped."""
    stream.write(escape_unencodable(escape_controls(text), stream))


def escape_surrogates(text: str) -> str:
    r"""Return a text with each lone surrogate as the six characters ``\udXXX``."""
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 turn``, ``1,024 turns``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def format_time(created: str) -> str:
    """Return an ISO 8601 time as local time, to the minute; other text is returned as one line."""
    try:
        return datetime.fromisoformat(created).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return one_line(created, 30)


def format_seconds(value: float) -> str:
    """Return a duration to a tenth of a second: ``1.2 s``."""
    return f"{value:.1f} s" if value >= 0.05 or not value else "<0.1 s"
