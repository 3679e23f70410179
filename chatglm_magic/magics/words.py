"""Words and values before a prompt, as people type them: quoted, in brackets, full-width, or a variable's name.

Everything here is read by position, so that the prompt behind it stays as it was typed.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import CommandError
from ..render.text import one_line, write_escaped

DASHES = "-‐‑‒–—―−－"
QUOTES = {'"': '"', "'": "'", "“": '“”"', "”": '“”"', "‘": "‘’'", "’": "‘’'", "＂": "＂", "＇": "＇", "「": "」"}
"""Quotation marks, each with those that close it."""

_NARROW = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | {"\u3000": " "}
    | dict.fromkeys(DASHES, "-")
    | dict.fromkeys("“”", '"')
    | dict.fromkeys("‘’", "'")
)
"""Each full-width or typographic character with its ASCII form, one for one."""

WORD = re.compile(r"\S+")
NAME = r"[ \u3000]?([^\W\d]\w*)[ \u3000]?"
PLACE = re.compile(rf"\{{\{{{NAME}\}}\}}|｛｛{NAME}｝｝")
NO_NAME = re.compile(r"\{\{[ \u3000]*[^\W\d]\w*[ \u3000]*[.\[(|:!][^{}\n]{0,80}\}\}")
"""What looks like a place for a variable, but would have to be evaluated."""

NUMBER = re.compile(r"[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][-+]?\d+)?")
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[nrt\\\"'])")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
OPENING = {"[": "]", "(": ")", "{": "}"}


def narrow(text: str) -> str:
    """Return a text with full-width and typographic characters as their ASCII forms; its length stays."""
    return text.translate(_NARROW)


def insert(text: str, names: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return a text with its ``{{variables}}``, and what stays as typed: unknown names, and expressions."""
    missing = [found[0] for found in NO_NAME.finditer(text)]

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name in names:
            return str(names[name])
        missing.append(name)
        return found[0]

    return PLACE.sub(value, text), missing


def tell_missing(missing: list[str]) -> None:
    """Say what was not inserted."""
    for name in dict.fromkeys(missing):
        if name.startswith("{{"):
            text = f"{name} is sent as typed: only a variable's name can stand there, nothing is evaluated."
        else:
            text = f"No variable {name}: {{{{{name}}}}} is sent as typed."
        write_escaped(sys.stderr, text + "\n")


class Line:
    """The line of a magic with its narrow twin, and the variables that may be inserted into values."""

    def __init__(self, text: str, variables: Mapping[str, Any] | None = None, *, raw: bool = False) -> None:
        self.text, self.narrow = text, narrow(text)
        self._raw = raw
        self._variables = {} if variables is None else variables
        self._read: list[tuple[int, int, str]] = []
        self.assigned: dict[str, Any] = {}
        """What ``NAME=…`` gave a value, where a magic takes that."""

    def take(self, start: int, end: int, meant: str | None = None) -> str:
        """Return a part in its narrow form, or as it is meant, and take note if it was typed otherwise."""
        read = self.narrow[start:end] if meant is None else meant
        if self.text[start:end] != read:
            self._read.append((start, end, read))
        return read

    @property
    def changed(self) -> bool:
        """Whether something that was read stood there in another form."""
        return bool(self._read)

    def as_read(self, end: int) -> str:
        """Return the line up to a place as it was read; what was only typed otherwise in a text stays."""
        text = self.text[:end]
        for start, over, read in sorted(self._read, reverse=True):
            text = f"{text[:start]}{read}{text[over:]}"
        return text.strip()

    def skip_blanks(self, position: int) -> int:
        """Return the place of the next word."""
        while position < len(self.narrow) and self.narrow[position] in " \t":
            position += 1
        return position

    def is_bare(self, position: int) -> bool:
        """Tell whether the value at a place stands neither between quotation marks nor in brackets."""
        return (
            self.text[position : position + 1] not in QUOTES
            and self.narrow[position : position + 1] not in OPENING
        )

    def value(self, position: int, after: str, *, lists: bool, escapes: bool, stops: str = "") -> tuple[Any, int]:
        """Read the value that stands at a place; return it, and where it ends.

        A text is as it was typed. What stands in brackets is read to the closing one, as JSON or Python has it.

        :param after: what it belongs to, for errors.
        :param lists: whether a bracket begins a list or an object, else it is a text.
        :param escapes: whether a backslash means what it does in Python: line ends, tabs, quotation marks.
        :param stops: further characters than blanks that end a word.
        :raises CommandError: for no value, a quotation mark or bracket that is not closed, and a list that can't
            be read.
        """
        if position >= len(self.narrow) or self.narrow[position].isspace():
            raise CommandError(f"{after} needs a value")
        if self.text[position] in QUOTES:
            return self._quoted(position, after, escapes=escapes, stops=stops)
        named = self.narrow.startswith("{{", position) and not self._raw
        if named and (place := PLACE.match(self.narrow, position)) and self._ends(place.end(), stops):
            self.take(place.start(), place.end())
            name = place[1] or place[2]
            if name in self._variables:
                return self._variables[name], place.end()
            raise CommandError(f"{after}: no variable named {name}")
        if lists and self.narrow[position] in OPENING:
            value, end = self._bracketed(position, after)
            if not self._ends(end, stops):
                raise CommandError(f"{after}: a blank must follow the bracket that closes its value")
            return value, end
        pattern = re.compile(rf"[^\s{re.escape(stops)}]+") if stops else WORD
        word = pattern.match(self.narrow, position)
        if word is None:
            raise CommandError(f"{after} needs a value")
        text = self.text[position : word.end()]
        return self._finished(text, escapes), word.end()

    def _finished(self, text: str, escapes: bool) -> str:
        if escapes:
            text = ESCAPE.sub(lambda found: _escaped(found[1]), text)
        if not self._raw and ("{{" in text or "｛｛" in text):
            text, missing = insert(text, self._variables)
            tell_missing(missing)
        return text

    def _ends(self, position: int, stops: str) -> bool:
        """Tell whether a value may end here: before a blank, at the line's end, or before a sign that ends it."""
        behind = self.narrow[position : position + 1]
        return not behind or behind.isspace() or behind in stops

    def _quoted(self, position: int, after: str, *, escapes: bool, stops: str) -> tuple[str, int]:
        """Read up to the closing mark: one that a blank or the line's end follows, and no apostrophe in a word."""
        end = self._closing(position, after, escapes=escapes, may_end=lambda behind: self._ends(behind, stops))
        self.take(end, end + 1)
        return self._finished(self.text[position + 1 : end], escapes), end + 1

    def _closing(self, position: int, after: str, *, escapes: bool, may_end: Callable[[int], bool]) -> int:
        """Return the place of the mark that closes the one at a place, and take note of how that one was typed."""
        closing, end = QUOTES[self.text[position]], position + 1
        while end < len(self.text) and not (self.text[end] in closing and may_end(end + 1)):
            end += 2 if escapes and self.text[end] == "\\" else 1
        if end >= len(self.text):
            raise CommandError(f"the quotation mark after {after} is not closed")
        self.take(position, position + 1)
        return end

    def _bracketed(self, position: int, after: str) -> tuple[Any, int]:
        """Read a list, a tuple or an object; quotation marks in it may be typographic."""
        read, stack, at = list[str](), list[str](), position
        while at < len(self.narrow):
            char = self.narrow[at]
            if self.text[at] in QUOTES:
                inside, over = self._string(at, after)
                read.append(inside)
                at = over
                continue
            read.append(self.take(at, at + 1))
            at += 1
            if char in OPENING:
                stack.append(OPENING[char])
            elif char in OPENING.values():
                if char != stack.pop():
                    break
                if not stack:
                    return _literal("".join(read), after), at
        raise CommandError(f"the bracket after {after} is not closed")

    def _string(self, position: int, after: str) -> tuple[str, int]:
        """Return a quoted text within brackets with ASCII marks around it, and where it ends."""
        opening = self.text[position]
        end = self._closing(position, after, escapes=True, may_end=lambda behind: True)
        inside = self.text[position + 1 : end]
        if opening in "\"'":
            return f"{opening}{inside}{opening}", end + 1
        return json.dumps(inside, ensure_ascii=False), end + 1


def _escaped(mark: str) -> str:
    return chr(int(mark[1:], 16)) if mark[0] == "u" else ESCAPES.get(mark, mark)


def _literal(text: str, after: str) -> Any:
    """Read a list or an object as JSON, or else as Python, has it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        value = ast.literal_eval(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise CommandError(
            f'the value of {after} can\'t be read: {one_line(text, 60)}. Texts need quotation marks: ["a", "b"].'
        ) from None
    return list(value) if isinstance(value, tuple) else value


def parse_literal(text: str) -> Any:
    """Read a value as a person types it: JSON, Python's numbers, True, False and None, or else plain text."""
    words = {"None": None, "none": None, "True": True, "False": False}
    plain = narrow(text)
    if plain in words:
        return words[plain]
    if NUMBER.fullmatch(plain):
        try:
            return int(plain) if re.fullmatch(r"[-+]?[\d_]+", plain) and len(plain) < 400 else float(plain)
        except ValueError:
            return text
    try:
        return json.loads(plain)
    except (ValueError, RecursionError):
        return text
