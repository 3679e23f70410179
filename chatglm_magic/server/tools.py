"""Tools of ``/v1``: their checks, and calls that are forced by a schema.

The engine parses the calls of models that have a template for them. It can't enforce ``tool_choice`` for a model
whose template it can't analyse, so a required call is generated under a schema instead: that of the arguments of
the only possible tool, or of an object with a tool's name and its arguments.

Functions that take a request's ``body``, or a ``where``, raise :class:`BadField` for an invalid value.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

from . import validation
from .validation import BadField, Json

_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_TOOLS = 128
_MAX_SCHEMA_CHARS, _MAX_SCHEMA_DEPTH = 65536, 32  # the engine turns a schema into a grammar by recursion
_DEFAULT_MAX_LENGTH = 16
"""The length of texts that the built-in model fills in if a schema has no limit."""


def parse_tools(body: Json) -> tuple[list[Json], str | None]:
    """Return the tools, and the call that is required: a name, ``required``, or None."""
    items, choice = body.get("tools"), body.get("tool_choice")
    if items is not None and (not isinstance(items, list) or len(items) > _MAX_TOOLS):
        raise BadField(("tools",), f"Input should be a list of at most {_MAX_TOOLS} tools", None, "list_type")
    tools = [_parse_tool(item, ("tools", index)) for index, item in enumerate(items or [])]
    required = _parse_choice(choice, [tool["function"]["name"] for tool in tools])
    validation.read_bool(body, "parallel_tool_calls")
    return ([] if required == "none" else tools), (required if required not in ("auto", "none") else None)


def _parse_tool(item: object, where: tuple[str | int, ...]) -> Json:
    function = item.get("function") if isinstance(item, dict) else None
    if not isinstance(function, dict):
        raise BadField(where, "Input should be an object with a function", None, "dict_type")
    name = function.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        message = "Input should be 1 to 64 letters, digits, '_', '.' or '-'"
        raise BadField((*where, "function", "name"), message, name, "string_pattern_mismatch")
    description = validation.check_text(function.get("description") or "", (*where, "function", "description"))
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    check_schema(schema, (*where, "function", "parameters"))
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def check_schema(schema: object, where: tuple[str | int, ...]) -> None:
    """Check that a value is a schema, and not too large."""
    if not isinstance(schema, dict):
        raise BadField(where, "Input should have a JSON object for its schema", None, "dict_type")
    if _schema_depth(schema) > _MAX_SCHEMA_DEPTH or len(json.dumps(schema)) > _MAX_SCHEMA_CHARS:
        message = (
            f"Input's schema should have at most {_MAX_SCHEMA_CHARS} characters and {_MAX_SCHEMA_DEPTH} levels"
        )
        raise BadField(where, message, None, "too_long")
    _check_keywords(schema, where)


_SIZE_KEYWORDS = ("minLength", "maxLength", "minItems", "maxItems")
_MAX_SIZE = 10_000  # a grammar repeats the rule so many times


def _check_keywords(schema: Any, where: tuple[str | int, ...]) -> None:
    """Check that a grammar can be made from the values of a schema."""
    if schema is True:
        return
    if not isinstance(schema, dict):
        raise BadField(where, "Input's schema should have an object at every level", None, "dict_type")
    for name in _SIZE_KEYWORDS:
        size = schema.get(name, 0)
        if type(size) is not int or not 0 <= size <= _MAX_SIZE:
            message = f"Input's {name} should be a whole number from 0 to {_MAX_SIZE}"
            raise BadField(where, message, size, "int_type")
    for name in ("enum", "anyOf", "oneOf", "allOf", "required"):
        items = schema.get(name, [None])
        if not isinstance(items, list) or (not items and name != "required"):
            raise BadField(where, f"Input's {name} should be a non-empty list", None, "list_type")
    for name in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(name, ()):
            _check_keywords(inner, where)
    for name in ("properties", "$defs", "definitions"):
        named = schema.get(name, {})
        if not isinstance(named, dict):
            raise BadField(where, f"Input's {name} should be an object", None, "dict_type")
        for inner in named.values():
            _check_keywords(inner, where)
    if isinstance(schema.get("items"), dict):
        _check_keywords(schema["items"], where)


def _schema_depth(value: object) -> int:
    """Return how deeply a value is nested; stop counting above the limit."""
    values, depth = [value], 0
    while values and depth <= _MAX_SCHEMA_DEPTH:
        values = [
            inner
            for item in values
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        depth += 1
    return depth


def _parse_choice(choice: object, names: list[str]) -> str:
    if choice is None:
        return "auto"
    if choice in ("auto", "none"):
        return str(choice)
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        choice = choice["function"].get("name")
        if choice in names:
            return str(choice)
    elif choice == "required" and names:
        return "required"
    raise BadField(("tool_choice",), "Input should be auto, none, required or a tool's name", choice, "enum")


def call_schema(tools: list[Json], required: str) -> tuple[Json, str]:
    """Return the schema of a required call, and the name of the tool; empty if it is one of several.

    For one tool it is the schema of its arguments, for several that of an object with ``name`` and ``arguments``.
    """
    functions = [tool["function"] for tool in tools if required in ("required", tool["function"]["name"])]
    if len(functions) == 1:
        return functions[0]["parameters"], functions[0]["name"]
    forms = [_call_alternative(each, f"#/anyOf/{n}/properties/arguments") for n, each in enumerate(functions)]
    return {"anyOf": forms}, ""


def _call_alternative(function: Json, path: str) -> Json:
    arguments = _rebase_references(function["parameters"], path)
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _rebase_references(value: Any, path: str) -> Any:
    """Return a schema whose references are relative to its position within another one."""
    if isinstance(value, list):
        return [_rebase_references(item, path) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: path + item[1:]
        if name == "$ref" and isinstance(item, str) and item.startswith("#")
        else _rebase_references(item, path)
        for name, item in value.items()
    }


def short_grammar(schema: Json) -> str | None:
    """Return the grammar of a schema for a model that fills in values but doesn't know when to stop.

    No whitespace except one space after a colon and a comma, no keys that the schema doesn't name, short texts and
    lists. None for a schema with any but the plainest keywords, for which the engine would silently drop the
    grammar.
    """
    if not _is_plain(schema, schema):
        return None
    form = _limit_lengths(schema) | {
        "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    }
    return "%llguidance {}\nstart: %json " + json.dumps(form)


_JSON_TYPES = ("string", "number", "integer", "boolean", "null", "array", "object")
_PLAIN_KEYWORDS_TEXT = (
    "type properties required items enum const anyOf $ref $defs additionalProperties title description default "
    "examples minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength minItems maxItems"
)
_PLAIN_KEYWORDS = frozenset(_PLAIN_KEYWORDS_TEXT.split())


def _is_plain(schema: object, root: Json) -> bool:
    """Return whether a schema has only keywords that every grammar supports."""
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or not schema.keys() <= _PLAIN_KEYWORDS:
        return False
    kinds = schema.get("type", [])
    if not all(kind in _JSON_TYPES for kind in (kinds if isinstance(kinds, list) else [kinds])):
        return False
    if "$ref" in schema and not _resolves(schema["$ref"], root):
        return False
    inner = [
        *schema.get("anyOf", ()),
        *(schema[name] for name in ("items", "additionalProperties") if name in schema),
    ]
    for name in ("properties", "$defs"):
        named = schema.get(name, {})
        if not isinstance(named, dict):
            return False
        inner += named.values()
    return all(_is_plain(item, root) for item in inner)


def _resolves(reference: object, root: Json) -> bool:
    target: Any = root
    for part in reference[2:].split("/") if isinstance(reference, str) and reference.startswith("#/") else ["?"]:
        if isinstance(target, list) and part.isdigit() and int(part) < len(target):
            target = target[int(part)]
        elif isinstance(target, dict) and part in target:
            target = target[part]
        else:
            return False
    return True


def _limit_lengths(schema: Any) -> Any:
    """Return a plain schema with a limit for each text and list, and no additional keys."""
    if not isinstance(schema, dict):
        return schema
    limited = dict(schema)
    for name in ("properties", "$defs"):
        if name in schema:
            limited[name] = {key: _limit_lengths(item) for key, item in schema[name].items()}
    for name in ("items", "additionalProperties"):
        if name in schema:
            limited[name] = _limit_lengths(schema[name])
    if "anyOf" in schema:
        limited["anyOf"] = [_limit_lengths(item) for item in schema["anyOf"]]
    kinds = schema.get("type")
    if "properties" in schema:
        limited.setdefault("additionalProperties", False)
    is_free = not schema.keys() & {"enum", "const"}
    if is_free and (kinds == "string" or (isinstance(kinds, list) and "string" in kinds)):
        limited.setdefault("maxLength", max(_DEFAULT_MAX_LENGTH, schema.get("minLength", 0)))
    if kinds == "array":
        limited.setdefault("maxItems", max(4, schema.get("minItems", 0)))
    return limited


def parse_call(text: str, name: str) -> Json:
    """Return the call in a text generated under ``call_schema``; a truncated one has incomplete arguments."""
    if not name:
        try:
            parsed = json.loads(text)
            name, text = parsed["name"], json.dumps(parsed["arguments"], ensure_ascii=False)
        except (ValueError, KeyError, TypeError):
            name_match = re.search(r'"name"\s*:\s*"([^"]*)"', text)
            arguments_match = re.search(r'"arguments"\s*:\s*', text)
            name = name_match[1] if name_match else ""
            text = text[arguments_match.end() :] if arguments_match else ""
    call: Json = {"id": f"call_{secrets.token_hex(12)}", "type": "function"}
    return call | {"function": {"name": name, "arguments": text}}


def call_response(reply: Json, name: str) -> Json:
    """Return a response whose text is a forced call as a response with that tool call."""
    choice = reply["choices"][0]
    reason = "tool_calls" if choice["finish_reason"] == "stop" else choice["finish_reason"]
    message = {
        **choice["message"],
        "content": None,
        "tool_calls": [parse_call(choice["message"]["content"], name)],
    }
    return {**reply, "choices": [{**choice, "message": message, "finish_reason": reason}]}


def has_valid_arguments(reply: Json) -> bool:
    """Return whether a response has the forced call: the engine silently drops a grammar that it can't parse."""
    choice = reply["choices"][0]
    try:
        arguments = json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])
    except ValueError:
        return bool(choice["finish_reason"] != "tool_calls")
    return isinstance(arguments, dict)


def call_events(reply: Json, *, usage: bool) -> Iterator[Json]:
    """Yield the stream events of a response with tool calls."""
    head = {name: value for name, value in reply.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    choice = reply["choices"][0]
    calls = [{"index": index, **call} for index, call in enumerate(choice["message"]["tool_calls"])]
    for delta, reason in (
        ({"role": "assistant", "content": None}, None),
        ({"tool_calls": calls}, None),
        ({}, choice["finish_reason"]),
    ):
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    if usage:
        yield {**head, "choices": [], "usage": reply.get("usage")}
