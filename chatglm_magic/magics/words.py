"""Words and values before a prompt, as people type them: quoted, in brackets, full-width, or a variable's name.

They are read by position, so that the prompt after them stays as typed.
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
"""Opening quotation marks, each with those that can close it."""

_NARROW = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | {"\u3000": " "}
    | dict.fromkeys(DASHES, "-")
    | dict.fromkeys("“”", '"')
    | dict.fromkeys("‘’", "'")
)
"""Full-width and typographic characters with their ASCII forms, one character each."""

WORD = re.compile(r"\S+")
VARIABLE_NAME = r"[ \u3000]?([^\W\d]\w*)[ \u3000]?"
PLACEHOLDER = re.compile(rf"\{{\{{{VARIABLE_NAME}\}}\}}|｛｛{VARIABLE_NAME}｝｝")
EXPRESSION_PLACEHOLDER = re.compile(r"\{\{[ \u3000]*[^\W\d]\w*[ \u3000]*[.\[(|:!][^{}\n]{0,80}\}\}")
"""What looks like a placeholder for a variable, but would have to be evaluated."""

NUMBER = re.compile(r"[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][-+]?\d+)?")
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[nrt\\\"'])")
ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
BRACKETS = {"[": "]", "(": ")", "{": "}"}


def narrow(text: str) -> str:
    """Return a text with full-width and typographic characters replaced by ASCII; its length doesn't change."""
    return text.translate(_NARROW)


def insert_variables(text: str, names: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Insert ``{{variables}}`` into a text; return it and what stays as typed: unknown names, expressions."""
    missing = [match[0] for match in EXPRESSION_PLACEHOLDER.finditer(text)]

    def value_of(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name in names:
            return str(names[name])
        missing.append(name)
        return match[0]

    return PLACEHOLDER.sub(value_of, text), missing


def report_missing(missing: list[str]) -> None:
    """Print what was not inserted."""
    for name in dict.fromkeys(missing):
        if name.startswith("{{"):
            text = f"{name} is sent as typed: only the name of a variable can be inserted; nothing is evaluated."
        else:
            text = f"No variable {name}: {{{{{name}}}}} is sent as typed."
        write_escaped(sys.stderr, text + "\n")


class MagicLine:
    """The line of a magic as typed (``text``) and in ASCII (``narrow``), with the variables to insert into values.

    :param raw: whether ``{{name}}`` is left as it is.
    """

    def __init__(self, text: str, variables: Mapping[str, Any] | None = None, *, raw: bool = False) -> None:
        self.text, self.narrow = text, narrow(text)
        self._raw = raw
        self._variables = {} if variables is None else variables
        self._rewrites: list[tuple[int, int, str]] = []
        self.assigned: dict[str, Any] = {}
        """The values of ``NAME=…``, for a magic that accepts it."""

    def read_as(self, start: int, end: int, ascii_form: str | None = None) -> str:
        """Return a part in ASCII, and remember it if it was typed differently.

        :param ascii_form: what the part is read as; by default its narrow form.
        """
        if ascii_form is None:
            ascii_form = self.narrow[start:end]
        if self.text[start:end] != ascii_form:
            self._rewrites.append((start, end, ascii_form))
        return ascii_form

    @property
    def was_rewritten(self) -> bool:
        """Whether something was read as another text than was typed."""
        return bool(self._rewrites)

    def text_as_read(self, end: int) -> str:
        """Return the line up to a position as it was read; quoted texts stay as typed."""
        text = self.text[:end]
        for start, stop, ascii_form in sorted(self._rewrites, reverse=True):
            text = f"{text[:start]}{ascii_form}{text[stop:]}"
        return text.strip()

    def skip_blanks(self, position: int) -> int:
        """Return the position of the next word."""
        while position < len(self.narrow) and self.narrow[position] in " \t":
            position += 1
        return position

    def is_bare(self, position: int) -> bool:
        """Tell whether the value at a position is neither quoted nor in brackets."""
        return (
            self.text[position : position + 1] not in QUOTES
            and self.narrow[position : position + 1] not in BRACKETS
        )

    def read_value(
        self, position: int, after: str, *, lists: bool, escapes: bool, stops: str = ""
    ) -> tuple[Any, int]:
        """Read the value at a position; return it and its end.

        Texts stay as typed. Brackets are read up to the closing one, as JSON or as a Python literal.

        :param after: the option or parameter of the value, for error messages.
        :param lists: whether a bracket begins a list or an object; otherwise it is text.
        :param escapes: whether backslash escapes are replaced, as in Python.
        :param stops: characters that end a word besides blanks.
        :raises CommandError: for a missing value, an unclosed quotation mark or bracket, or an invalid list.
        """
        if position >= len(self.narrow) or self.narrow[position].isspace():
            raise CommandError(f"{after} needs a value")
        if self.text[position] in QUOTES:
            return self._read_quoted(position, after, escapes=escapes, stops=stops)
        is_named = self.narrow.startswith("{{", position) and not self._raw
        if is_named and (match := PLACEHOLDER.match(self.narrow, position)) and self._can_end(match.end(), stops):
            self.read_as(match.start(), match.end())
            name = match[1] or match[2]
            if name in self._variables:
                return self._variables[name], match.end()
            raise CommandError(f"{after}: no variable named {name}")
        if lists and self.narrow[position] in BRACKETS:
            value, end = self._read_brackets(position, after)
            if not self._can_end(end, stops):
                raise CommandError(f"{after}: a blank must follow the bracket that closes its value")
            return value, end
        pattern = re.compile(rf"[^\s{re.escape(stops)}]+") if stops else WORD
        word = pattern.match(self.narrow, position)
        if word is None:
            raise CommandError(f"{after} needs a value")
        text = self.text[position : word.end()]
        return self._expand(text, escapes), word.end()

    def _expand(self, text: str, escapes: bool) -> str:
        """Replace backslash escapes and ``{{variables}}`` in a text."""
        if escapes:
            text = ESCAPE.sub(lambda match: _unescape(match[1]), text)
        if not self._raw and ("{{" in text or "｛｛" in text):
            text, missing = insert_variables(text, self._variables)
            report_missing(missing)
        return text

    def _can_end(self, position: int, stops: str) -> bool:
        """Tell whether a value can end here: at the end of the line, or before a blank or one of ``stops``."""
        following = self.narrow[position : position + 1]
        return not following or following.isspace() or following in stops

    def _read_quoted(self, position: int, after: str, *, escapes: bool, stops: str) -> tuple[str, int]:
        """Read up to the closing quotation mark, which ends a value; an apostrophe within a word doesn't."""
        end = self._find_closing_quote(
            position, after, escapes=escapes, can_end=lambda end: self._can_end(end, stops)
        )
        self.read_as(end, end + 1)
        return self._expand(self.text[position + 1 : end], escapes), end + 1

    def _find_closing_quote(
        self, position: int, after: str, *, escapes: bool, can_end: Callable[[int], bool]
    ) -> int:
        """Return the position of the closing quotation mark; read the opening one as ASCII."""
        closing, end = QUOTES[self.text[position]], position + 1
        while end < len(self.text) and not (self.text[end] in closing and can_end(end + 1)):
            end += 2 if escapes and self.text[end] == "\\" else 1
        if end >= len(self.text):
            raise CommandError(f"the quotation mark after {after} is not closed")
        self.read_as(position, position + 1)
        return end

    def _read_brackets(self, position: int, after: str) -> tuple[Any, int]:
        """Read a list, a tuple or an object, whose quotation marks may be typographic."""
        parts, stack, end = list[str](), list[str](), position
        while end < len(self.narrow):
            char = self.narrow[end]
            if self.text[end] in QUOTES:
                string, end = self._read_string(end, after)
                parts.append(string)
                continue
            parts.append(self.read_as(end, end + 1))
            end += 1
            if char in BRACKETS:
                stack.append(BRACKETS[char])
            elif char in BRACKETS.values():
                if char != stack.pop():
                    break
                if not stack:
                    return _parse_list("".join(parts), after), end
        raise CommandError(f"the bracket after {after} is not closed")

    def _read_string(self, position: int, after: str) -> tuple[str, int]:
        """Return a quoted text within brackets with ASCII quotation marks, and its end."""
        opening = self.text[position]
        end = self._find_closing_quote(position, after, escapes=True, can_end=lambda end: True)
        content = self.text[position + 1 : end]
        if opening in "\"'":
            return f"{opening}{content}{opening}", end + 1
        return json.dumps(content, ensure_ascii=False), end + 1


def _unescape(mark: str) -> str:
    return chr(int(mark[1:], 16)) if mark[0] == "u" else ESCAPES.get(mark, mark)


def _parse_list(text: str, after: str) -> Any:
    """Parse a list or an object as JSON, or else as a Python literal."""
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
    """Parse a value as typed: JSON, a number, True, False or None, or else plain text."""
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
