"""Arguments of tool calls: casting to the types in the tool's schema (``"3"`` to 3), parsing and masking.

Servers' parsers send numbers and booleans as strings, and strings that look like numbers as numbers (vllm#39574).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..credentials import mask, mask_values
from ..strictjson import strict_json
from .json_schema import Schema, cast_text, is_valid

JSON_BLANKS = " \t\r\n"


class ArgumentCaster:
    """Casts the scalar top-level values of a JSON object that comes in pieces, if they violate the schema.

    Valid values, values that can't be cast, and text that isn't JSON pass unchanged. Only values that may have to
    be cast are held back until they are complete, so that strings still stream.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        properties = schema.get("properties")
        self._properties = properties if isinstance(properties, Mapping) else {}
        self._depth = 0
        self._position = "key"
        """Position at the top level: before or in a ``key``, before a ``value``, or ``in`` one."""
        self._key = ""
        self._token: list[str] = []
        """The characters of the current string or scalar."""
        self._in_string = self._escaped = self._is_held = False
        self.changed = False
        """Whether a value was cast."""

    def feed(self, text: str) -> str:
        """Process a piece; return what can be passed on."""
        return "".join(map(self._read_char, text))

    def close(self) -> str:
        """Finish the arguments; return what was held back."""
        return self._release() if self._is_held else ""

    def _read_char(self, char: str) -> str:
        if self._in_string:
            return self._read_string_char(char)
        if self._is_held and char in f",}}{JSON_BLANKS}":  # the end of a number or a word
            return self._cast_held() + self._read_char(char)
        if self._is_held:
            self._token.append(char)
            return ""
        if char == '"':
            return self._begin_string(char)
        if self._depth == 1 and self._position == "value" and char not in f"{JSON_BLANKS}[{{":
            self._position = "in"
            if self._value_schema() is not None:
                self._is_held, self._token = True, [char]
                return ""
        self._follow_structure(char)
        return char

    def _follow_structure(self, char: str) -> None:
        """Track JSON's structural characters outside strings."""
        if char in "{[":
            self._position = "in" if self._depth == 1 else self._position
            self._depth += 1
        elif char in "}]":
            self._depth -= 1
        elif self._depth == 1 and char == ":":
            self._position = "value"
        elif self._depth == 1 and char == ",":
            self._position = "key"

    def _begin_string(self, char: str) -> str:
        self._in_string, self._token = True, [char]
        if self._depth == 1 and self._position == "value":
            self._position = "in"
            schema = self._value_schema()
            self._is_held = schema is not None and not _takes_any_text(schema)
        return "" if self._is_held else char

    def _read_string_char(self, char: str) -> str:
        self._token.append(char)
        ends = char == '"' and not self._escaped
        self._escaped = char == "\\" and not self._escaped
        if ends:
            self._in_string = False
            if self._depth == 1 and self._position == "key":
                self._key = _parse_json_or("".join(self._token), "")
            if self._is_held:
                return self._cast_held()
        return "" if self._is_held else char

    def _value_schema(self) -> Schema | None:
        schema = self._properties.get(self._key)
        return schema if isinstance(schema, Mapping) else None

    def _cast_held(self) -> str:
        """Return the held value, cast to the type in its schema."""
        raw, schema = self._release(), self._value_schema()
        value = _parse_json_or(raw, _NOT_JSON)
        if value is _NOT_JSON or schema is None or is_valid(value, schema, self._schema):
            return raw
        casted = cast_text(value if isinstance(value, str) else raw, schema, self._schema)
        if not is_valid(casted, schema, self._schema):
            return raw
        self.changed = True
        return json.dumps(casted, ensure_ascii=False)

    def _release(self) -> str:
        raw, self._token, self._is_held = "".join(self._token), [], False
        return raw


_NOT_JSON = object()


def mask_json(text: str, secrets: Sequence[str]) -> str:
    """Return arguments with secrets masked, including secrets written with JSON escapes."""
    try:
        values = strict_json(text)
    except (ValueError, RecursionError):
        return mask(text, secrets)
    masked = mask_values(values, secrets)
    return text if masked == values else json.dumps(masked, ensure_ascii=False)


def _takes_any_text(schema: Schema) -> bool:
    """Return whether every string is valid, so that it needn't be held back."""
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


def cast_arguments(values: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Return arguments, each cast to the type in its schema if it isn't valid: ``"3"`` to 3."""
    properties = schema.get("properties")
    property_schemas = properties if isinstance(properties, Mapping) else {}
    arguments = {}
    for name, value in values.items():
        property_schema = property_schemas.get(name)
        if isinstance(property_schema, Mapping) and not is_valid(value, property_schema, schema):
            value = cast_text(value if isinstance(value, str) else dump_arguments(value), property_schema, schema)
        arguments[name] = value
    return arguments


def dump_arguments(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def parse_object(text: str) -> dict[str, Any] | None:
    """Parse a JSON object that special tokens may follow; None if the text isn't one."""
    text = text.strip()
    while text.endswith("|>") and (position := text.rfind("<|")) >= 0:
        text = text[:position].rstrip()
    try:
        value = strict_json(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse_keywords(text: str) -> dict[str, Any] | None:
    """Parse the keyword arguments of ``tool_call(…)``: only literals, nothing is evaluated."""
    try:
        node = ast.parse(f"f({text})", mode="eval").body
        if not isinstance(node, ast.Call) or node.args or any(keyword.arg is None for keyword in node.keywords):
            return None
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
        json.dumps(values)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return None
    return values
