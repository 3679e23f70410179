"""Arguments of a call as its tool's schema has them, while they stream: ``"3"`` becomes 3 where a number belongs.

Servers' parsers give numbers and truth values as texts, and texts that look like numbers as numbers (vllm#39574).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..credentials import mask, mask_values
from ..strictjson import strict_json
from .json_schema import Schema, cast_text, is_valid

JSON_BLANKS = " \t\r\n"


class ArgumentCaster:
    """Takes the text of a JSON object in pieces; casts the simple values of its first level that don't fit.

    What fits, what can't be cast and what isn't JSON goes through as it came. Only values that may have to be cast
    are held back until they are whole, so that texts still stream.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        properties = schema.get("properties")
        self._properties = properties if isinstance(properties, Mapping) else {}
        self._depth = 0
        self._place = "key"
        """Within the first level: before or in a ``key``, before a ``value``, or ``in`` one."""
        self._key = ""
        self._token: list[str] = []
        """The string or the simple value under way."""
        self._in_string = self._escaped = self._holds = False
        self.changed = False
        """Whether a value was cast."""

    def feed(self, text: str) -> str:
        """Take in a piece; return what can be handed out."""
        return "".join(map(self._take, text))

    def close(self) -> str:
        """End the arguments; return what was held back."""
        return self._released() if self._holds else ""

    def _take(self, char: str) -> str:
        if self._in_string:
            return self._within_string(char)
        if self._holds and char in f",}}{JSON_BLANKS}":  # the end of a number or a word
            return self._cast() + self._take(char)
        if self._holds:
            self._token.append(char)
            return ""
        if char == '"':
            return self._begin_string(char)
        if self._depth == 1 and self._place == "value" and char not in f"{JSON_BLANKS}[{{":
            self._place = "in"
            if self._wanted() is not None:
                self._holds, self._token = True, [char]
                return ""
        self._structure(char)
        return char

    def _structure(self, char: str) -> None:
        """Follow the marks of JSON that aren't part of a string."""
        if char in "{[":
            self._place = "in" if self._depth == 1 else self._place
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
        elif self._depth == 1 and char == ":":
            self._place = "value"
        elif self._depth == 1 and char == ",":
            self._place = "key"

    def _begin_string(self, char: str) -> str:
        self._in_string, self._token = True, [char]
        if self._depth == 1 and self._place == "value":
            self._place = "in"
            wanted = self._wanted()
            self._holds = wanted is not None and not _takes_any_text(wanted)
        return "" if self._holds else char

    def _within_string(self, char: str) -> str:
        self._token.append(char)
        ends = char == '"' and not self._escaped
        self._escaped = char == "\\" and not self._escaped
        if ends:
            self._in_string = False
            if self._depth == 1 and self._place == "key":
                self._key = _parse_json_or("".join(self._token), "")
            if self._holds:
                return self._cast()
        return "" if self._holds else char

    def _wanted(self) -> Schema | None:
        wanted = self._properties.get(self._key)
        return wanted if isinstance(wanted, Mapping) else None

    def _cast(self) -> str:
        """Return the value that was held, in the type that its schema wants."""
        raw, wanted = self._released(), self._wanted()
        value = _parse_json_or(raw, _NOT_JSON)
        if value is _NOT_JSON or wanted is None or is_valid(value, wanted, self._schema):
            return raw
        meant = cast_text(value if isinstance(value, str) else raw, wanted, self._schema)
        if not is_valid(meant, wanted, self._schema):
            return raw
        self.changed = True
        return json.dumps(meant, ensure_ascii=False)

    def _released(self) -> str:
        raw, self._token, self._holds = "".join(self._token), [], False
        return raw


_NOT_JSON = object()


def mask_json(text: str, secrets: Sequence[str]) -> str:
    """Return arguments without secrets, also without those whose letters are escapes in it."""
    try:
        values = strict_json(text)
    except (ValueError, RecursionError):
        return mask(text, secrets)
    hidden = mask_values(values, secrets)
    return text if hidden == values else json.dumps(hidden, ensure_ascii=False)


def _takes_any_text(schema: Schema) -> bool:
    """Tell whether every text fits: it needn't be held."""
    return schema.get("type") == "string" and schema.keys() <= {
        "type",
        "title",
        "description",
        "default",
        "examples",
    }


def _parse_json_or(raw: str, default: Any) -> Any:
    try:
        return strict_json(raw)
    except (ValueError, RecursionError):
        return default
