"""Text for people: a server's or a model's without control characters, and counts with their nouns.

A model can write the bytes that move a cursor, set a clipboard (OSC 52), rename a window or turn the rest of a
line around. Here each such character becomes a visible escape. The mapping looks at one character at a time and
keeps no state, so a stream may be cut anywhere: ``visible(a) + visible(b) == visible(a + b)``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
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
_LONGEST_LINE_SOURCE = 65_536


def _escape(match: re.Match[str]) -> str:
    """One character as Python would write it in a literal: ``\\r``, ``\\x1b``, ``\\u202e``, ``\\U000e0041``."""
    code = ord(match.group())
    if code == 0x0D:
        return "\\r"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _shower(unsafe: re.Pattern[str]) -> Callable[[str], str]:
    return lambda text: unsafe.sub(_escape, text)


_visible = _shower(_UNSAFE_IN_TERMINAL)
_inert = _shower(_UNSAFE_IN_PAGE)


def visible(text: str) -> str:
    """`text` for a terminal: nothing in the result moves, colours, hides or reorders anything.

    Only tab and newline stay as they are; a carriage return is shown as ``\\r``, because it lets later
    text overwrite earlier text. Right for chunks of a stream as well as for whole texts.
    """
    return _visible(text)


def inert(text: str) -> str:
    """`text` for a page: as `visible`, but what has no width and no effect there stays as it is."""
    return _inert(text)


def one_line(text: str, limit: int = 500) -> str:
    """`text` as one line of at most `limit` characters for an error message, cut with ``…``.

    White space of any kind becomes one space; the rest is shown as `visible` shows it.
    """
    line = visible(" ".join(text[:_LONGEST_LINE_SOURCE].split()))
    complete = len(line) <= limit and len(text) <= _LONGEST_LINE_SOURCE
    return line if complete else line[: max(limit - 1, 0)].rstrip() + "…"


def quoted(text: object) -> str:
    """Return a name, of a file say, between quotation marks: readable, whatever letters it has."""
    return f"'{one_line(str(text), 300)}'"


def display_width(text: str) -> int:
    """Return how many columns a text takes in a terminal: two for a wide character (UAX #11), none for marks."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return a text with blanks behind it, or before it, so that it takes as many columns."""
    blanks = " " * max(0, width - display_width(text))
    return blanks + text if right else text + blanks


def aligned(rows: Sequence[Sequence[str]], *, right: bool = False) -> list[str]:
    """Return the rows of a table as lines whose columns stand below each other."""
    widths = [max(display_width(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = (
        "  ".join(pad(cell, width, right=right) for cell, width in zip(row, widths, strict=True)) for row in rows
    )
    return [line.rstrip() for line in lines]


def printable(text: str, stream: Any) -> str:
    """Return a text with what a stream's encoding lacks (``LANG=C``, a pipe on Windows) as escapes."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, errors="backslashreplace").decode(encoding)


def write(stream: Any, text: str) -> None:
    """Write text for a terminal to a stream of any encoding; nothing in it is obeyed."""
    stream.write(printable(visible(text), stream))


def spell_surrogates(text: str) -> str:
    r"""Return a text with each lone surrogate as the six characters ``\udXXX``."""
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 turn``, ``1,024 turns``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def when(created: str) -> str:
    """Return an ISO 8601 time as local time, to the minute; a text that isn't a time stays as it is."""
    try:
        return datetime.fromisoformat(created).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, OSError):
        return one_line(created, 30)


def seconds(value: float) -> str:
    """Return a duration as it is written everywhere: to a tenth of a second."""
    return f"{value:.1f} s" if value >= 0.05 or not value else "<0.1 s"
