"""Tool calls between tags, as GLM-4.5 and later write them, and the tags themselves.

A call is ``<tool_call>NAME``, then ``<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>`` for each argument, then
``</tool_call>``; line breaks may separate them. Also read: a JSON object in place of the arguments, or in place of
name and arguments.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any, NamedTuple

from .json_schema import Schema, cast_text
from .tool_arguments import cast_arguments, dump_arguments, parse_object

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
KEY_OPEN, KEY_CLOSE, VALUE_OPEN, VALUE_CLOSE = "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"
NAME_ENDS = re.compile(r"[\n<{]")
STRAY_TAGS = (VALUE_CLOSE, KEY_CLOSE)
"""Tags that faulty parsers leave after a name."""

AFTER_NAME = (KEY_OPEN, CALL_CLOSE, CALL_OPEN, "{")
"""What may follow the name of a call."""

NAMED_JSON = re.compile(r'\{\s*"name"\s*:\s*"([^"\\]*)"')
NAMED_JSON_BEGINNING = re.compile(r'\{\s*(?:"(?:n(?:a(?:m(?:e(?:"\s*(?::\s*(?:"[^"\\]*)?)?)?)?)?)?)?)?')
STRING_MARKS = re.compile(r'\\.|"', re.DOTALL)
MAX_NAME_CHARS = 256


class ParsedCall(NamedTuple):
    """A call that was found in text; ``arguments`` is JSON, or the text itself if it can't be parsed."""

    name: str
    arguments: str


class TaggedCall:
    """Parser of one call between its tags that reads each character once, however many pieces there are.

    :param tag: the opening tag; empty where it is missing.
    """

    def __init__(self, schemas: Mapping[str, Schema], tag: str) -> None:
        self.tag = tag
        self.call: ParsedCall | None = None
        """The call, after :meth:`find_end` has found its end; None if the text isn't a call."""
        self.has_begun = False
        """Whether the name, and what must follow it, has arrived."""
        self.ends_at: int | None = None
        """Where the call ends in the held text, once known."""
        self._schemas = schemas
        self._name = ""
        self._read_to = self._searched_to = self._scanned_to = 0
        """How far arguments were read, the closing tag was searched for, and JSON strings were tracked."""
        self._key_end = -1
        self._in_string = False
        self._values: dict[str, Any] = {}
        self._is_json = self._is_named = self._is_broken = False

    def find_end(self, held: str) -> int | None:
        """Return where the call ends in the held text; None if more is needed, 0 if it names no bound tool."""
        if self.ends_at is not None:
            return self.ends_at
        if not self.has_begun:
            begins = self._read_name(held)
            if begins is None:
                return None
            if not begins:
                return 0
        if self._is_json:
            self.ends_at = self._find_end_of_json(held)
            return self.ends_at
        while not self._is_broken and (argument := self._read_argument(held)):
            if argument == "wait":
                return None
        self.ends_at = self._find_end_of_arguments(held)
        return self.ends_at

    def parse_incomplete(self, held: str) -> ParsedCall | None:
        """Return the call of an answer that ended within it: invalid, with its text as arguments."""
        return self._invalid_call(held) if self._name else None

    def _invalid_call(self, text: str) -> ParsedCall:
        """Return a call whose arguments are its text, which isn't a JSON object."""
        inside = text[len(self.tag) :]
        return ParsedCall(self._name, inside if parse_object(inside) is None else CALL_OPEN + inside)

    def _read_name(self, held: str) -> bool | None:
        """Read the name; return whether it is a bound tool's, or None if more text is needed."""
        start = self._skip_blanks(held[:MAX_NAME_CHARS], len(self.tag))
        beginning = held[start : start + MAX_NAME_CHARS]
        if start >= MAX_NAME_CHARS:
            return False
        if beginning.startswith("{"):
            return self._read_json_name(beginning, start)
        ends = NAME_ENDS.search(beginning)
        name = beginning[: ends.start()].strip() if ends else beginning.strip()
        self._name = name if name in self._schemas else ""
        if ends is None:
            may_continue = len(beginning) < MAX_NAME_CHARS and any(
                known.startswith(name) for known in self._schemas
            )
            return None if may_continue else False
        position = start + ends.start()
        while tag := next(
            (tag for tag in STRAY_TAGS if held.startswith(tag, self._skip_blanks(held, position))), ""
        ):
            position = self._skip_blanks(held, position) + len(tag)
        if len(held) - start > 4 * MAX_NAME_CHARS:
            return False
        rest = held[self._skip_blanks(held, position) :]
        if not self._name or not any(
            tag.startswith(rest) or rest.startswith(tag) for tag in (*AFTER_NAME, *STRAY_TAGS)
        ):
            return False
        if not rest.startswith(AFTER_NAME):
            return None
        self.has_begun, self._is_json, self._read_to = (
            True,
            rest.startswith("{"),
            self._skip_blanks(held, position),
        )
        return True

    def _read_json_name(self, beginning: str, start: int) -> bool | None:
        match = NAMED_JSON.match(beginning)
        if match is None:
            return None if len(beginning) < MAX_NAME_CHARS and NAMED_JSON_BEGINNING.fullmatch(beginning) else False
        self._name = match[1] if match[1] in self._schemas else ""
        self.has_begun, self._is_json, self._is_named, self._read_to = True, True, True, start
        return bool(self._name)

    def _read_argument(self, held: str) -> str | None:
        """Read the next argument; return ``wait`` if more text is needed, None if there is none."""
        start = self._skip_blanks(held, self._read_to)
        if not held.startswith(KEY_OPEN, start):
            return "wait" if KEY_OPEN.startswith(held[start:]) else None
        if self._key_end < 0:
            self._key_end = held.find(KEY_CLOSE, max(start, self._searched_to))
            self._searched_to = max(start, len(held) - len(KEY_CLOSE)) if self._key_end < 0 else self._key_end
        key_end = self._key_end
        value_end = held.find(VALUE_CLOSE, self._searched_to) if key_end >= 0 else -1
        if value_end < 0:
            self._searched_to = max(self._searched_to, len(held) - len(VALUE_CLOSE))
            return "wait"
        self._key_end = -1
        key = held[start + len(KEY_OPEN) : key_end].strip()
        value_start = self._skip_blanks(held, key_end + len(KEY_CLOSE))
        is_tagged = held.startswith(VALUE_OPEN, value_start)
        text = (
            held[value_start + len(VALUE_OPEN) : value_end] if is_tagged else held[value_start:value_end].rstrip()
        )
        properties = self._schemas[self._name].get("properties")
        schema = properties.get(key) if isinstance(properties, Mapping) else None
        self._values[key] = cast_text(
            text, schema if isinstance(schema, Mapping) else {}, self._schemas[self._name]
        )
        self._read_to = self._searched_to = value_end + len(VALUE_CLOSE)
        return "read"

    def _find_end_of_arguments(self, held: str) -> int | None:
        start = self._skip_blanks(held, self._read_to)
        if held.startswith(CALL_CLOSE, start):
            self.call = ParsedCall(self._name, dump_arguments(self._values))
            return start + len(CALL_CLOSE)
        if held.startswith(CALL_OPEN, start):  # its closing tag is missing
            self.call = ParsedCall(self._name, dump_arguments(self._values))
            return start
        if any(tag.startswith(held[start:]) for tag in (KEY_OPEN, CALL_CLOSE, CALL_OPEN)):
            return None
        self._is_broken = True
        end = held.find(CALL_CLOSE, max(self._searched_to, self._read_to))
        if end < 0:
            self._searched_to = max(self._read_to, len(held) - len(CALL_CLOSE))
            return None
        self.call = self._invalid_call(held[:end])
        return end + len(CALL_CLOSE)

    def _find_end_of_json(self, held: str) -> int | None:
        while (end := held.find(CALL_CLOSE, max(self._searched_to, self._read_to))) >= 0:
            if self._ends_in_string(held, end):  # the tag is part of an argument
                self._searched_to = end + len(CALL_CLOSE)
                continue
            inner = self._arguments_in(parse_object(held[self._read_to : end]))
            if inner is None:
                self.call = self._invalid_call(held[:end])
            else:
                self.call = ParsedCall(
                    self._name, dump_arguments(cast_arguments(inner, self._schemas[self._name]))
                )
            return end + len(CALL_CLOSE)
        self._searched_to = max(self._searched_to, len(held) - len(CALL_CLOSE))
        return None

    def _arguments_in(self, values: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the arguments in a call's object, which may be JSON text themselves; None if there are none."""
        if values is None or not self._is_named:
            return values
        inner = next((values[key] for key in ("arguments", "parameters") if key in values), None)
        if inner is None:
            return {} if values.keys() <= {"name", "arguments", "parameters"} else None
        inner = parse_object(inner) if isinstance(inner, str) else inner
        return inner if isinstance(inner, dict) else None

    def _ends_in_string(self, held: str, end: int) -> bool:
        """Return whether a position is within a JSON string; each character is read once."""
        for mark in STRING_MARKS.finditer(held, max(self._scanned_to, self._read_to), end):
            self._in_string ^= mark[0] == '"'
        self._scanned_to = end
        return self._in_string

    @staticmethod
    def _skip_blanks(held: str, start: int) -> int:
        """Return the position of the next character that isn't whitespace."""
        while start < len(held) and held[start].isspace():
            start += 1
        return start


def find_bound_name(name: str, bound: Container[str]) -> str:
    """Return the bound tool for a name to which a faulty parser may have left a tag; empty if there is none."""
    candidate = name.strip()
    while tag := next((tag for tag in (*STRAY_TAGS, CALL_CLOSE) if candidate.endswith(tag)), ""):
        candidate = candidate.removesuffix(tag).strip()
    return candidate if candidate in bound else ""
