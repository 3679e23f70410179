"""The parts of JSON Schema that tools and structured answers use: validation, and casting of strings.

Source: JSON Schema 2020-12. Supported are ``type``, ``enum``, ``const``, ``properties``, ``required``,
``additionalProperties``, ``items``, ``prefixItems``, the bounds of numbers, strings and lists, ``anyOf``,
``oneOf``, ``allOf`` and ``$ref`` within the schema; other keywords are ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..strictjson import strict_json

Schema = Mapping[str, Any]

MAX_SCHEMA_DEPTH = 32

TYPE_CHECKS: dict[str, Any] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        (isinstance(value, int) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    ),
}


def is_valid(value: Any, schema: Any, root: Schema | None = None) -> bool:
    """Return whether a value is valid against a schema."""
    return next(iter_problems(value, schema, root), None) is None


def iter_problems(
    value: Any, schema: Any, root: Schema | None = None, path: str = "", depth: int = 0
) -> Iterator[str]:
    """Yield a sentence for each violation, with its path.

    .. code-block:: python

        list(problems({"days": "3"}, {"properties": {"days": {"type": "integer"}}}))  # ["days: isn't an integer"]

    :param root: the schema that ``$ref`` refers to; ``schema`` itself by default.
    """
    root = schema if root is None else root
    if schema is False:
        yield _problem(path, "isn't allowed")
        return
    if not isinstance(schema, Mapping) or depth > MAX_SCHEMA_DEPTH:
        return
    if isinstance(schema.get("$ref"), str) and (target := _resolve_reference(schema["$ref"], root)) is not None:
        yield from iter_problems(value, target, root, path, depth + 1)
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
    known = [kind for kind in kinds if kind in TYPE_CHECKS]
    if known and not any(TYPE_CHECKS[kind](value) for kind in known):
        yield _problem(path, f"isn't {_with_article(' or '.join(known))}")
        return
    if isinstance(schema.get("enum"), list) and not any(_is_equal(value, allowed) for allowed in schema["enum"]):
        yield _problem(path, f"isn't one of {', '.join(map(repr, schema['enum'][:10]))}")
    if "const" in schema and not _is_equal(value, schema["const"]):
        yield _problem(path, f"isn't {schema['const']!r}")
    yield from _check_combinations(value, schema, root, path, depth)
    if isinstance(value, Mapping):
        yield from _check_object(value, schema, root, path, depth)
    elif isinstance(value, list):
        yield from _check_list(value, schema, root, path, depth)
    elif isinstance(value, str):
        yield from _check_bounds(len(value), schema, path, "minLength", "maxLength", "characters")
    elif TYPE_CHECKS["number"](value):
        yield from _check_bounds(value, schema, path, "minimum", "maximum", "")
        for name, direction in (("exclusiveMinimum", -1), ("exclusiveMaximum", 1)):
            bound = schema.get(name)
            if TYPE_CHECKS["number"](bound) and (value <= bound if direction < 0 else value >= bound):
                yield _problem(path, f"is not {'above' if direction < 0 else 'below'} {bound}")


def _check_combinations(value: Any, schema: Schema, root: Schema, path: str, depth: int) -> Iterator[str]:
    for inner in _as_list(schema.get("allOf")):
        yield from iter_problems(value, inner, root, path, depth + 1)
    for name in ("anyOf", "oneOf"):
        choices = _as_list(schema.get(name))
        valid_count = sum(
            next(iter_problems(value, choice, root, path, depth + 1), None) is None for choice in choices
        )
        if choices and (valid_count == 0 or (name == "oneOf" and valid_count > 1)):
            yield _problem(path, f"fits {'none' if not valid_count else 'several'} of the allowed forms")


def _check_object(value: Mapping[str, Any], schema: Schema, root: Schema, path: str, depth: int) -> Iterator[str]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    for name in _as_list(schema.get("required")):
        if isinstance(name, str) and name not in value:
            yield _problem(_join(path, name), "is missing")
    additional = schema.get("additionalProperties", True)
    for name, item in value.items():
        if name in properties:
            yield from iter_problems(item, properties[name], root, _join(path, name), depth + 1)
        elif additional is not True and not schema.get("patternProperties"):
            yield from iter_problems(item, additional, root, _join(path, name), depth + 1)


def _check_list(value: list[Any], schema: Schema, root: Schema, path: str, depth: int) -> Iterator[str]:
    prefix = _as_list(schema.get("prefixItems"))
    for index, item in enumerate(value):
        inner = prefix[index] if index < len(prefix) else schema.get("items", True)
        yield from iter_problems(item, inner, root, f"{path}[{index}]", depth + 1)
    yield from _check_bounds(len(value), schema, path, "minItems", "maxItems", "items")


def _check_bounds(size: Any, schema: Schema, path: str, low: str, high: str, unit: str) -> Iterator[str]:
    for name, direction in ((low, "at least"), (high, "at most")):
        bound = schema.get(name)
        if TYPE_CHECKS["number"](bound) and (size < bound if name == low else size > bound):
            yield _problem(path, f"must be {direction} {bound} {unit}".rstrip())


def cast_text(text: str, schema: Schema, root: Schema | None = None) -> Any:
    """Cast a string to the type in the schema; it stays a string if the schema allows strings.

    A string that can't be cast is returned unchanged, so that validation reports it.
    """
    if schema and is_valid(text, schema, root):
        return text
    for candidate in (text.strip(), text.strip().lower()):
        try:
            value = strict_json(candidate)
        except (ValueError, RecursionError):
            continue
        if not schema or is_valid(value, schema, root):
            return value
    stripped = text.strip()
    return stripped if schema and is_valid(stripped, schema, root) else text


def _resolve_reference(reference: str, root: Schema) -> Any:
    """Return the target of a reference within the schema; None for any other reference."""
    if not reference.startswith("#"):
        return None
    target: Any = root
    for part in reference[1:].strip("/").split("/") if reference.strip("#/") else []:
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or part not in target:
            return None
        target = target[part]
    return target


def _is_equal(value: Any, other: Any) -> bool:
    """Compare as in JSON: 1 equals 1.0, and neither equals true."""
    return isinstance(value, bool) == isinstance(other, bool) and bool(value == other)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _with_article(words: str) -> str:
    return words if words == "null" else f"{'an' if words[0] in 'aeio' else 'a'} {words}"


def _problem(path: str, what: str) -> str:
    return f"{path or 'the answer'}: {what}" if path else f"the answer {what}"
