"""JSON as defined by RFC 8259, without what Python's parser accepts beyond that."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def strict_json(text: str) -> Any:
    """Parse JSON text.

    >>> strict_json('{"temperature": 0.5}')
    {'temperature': 0.5}

    :raises ValueError: for invalid JSON, NaN, Infinity, and duplicate keys, which parsers interpret differently.
    :raises RecursionError: for JSON that is nested too deeply.
    """
    return _DECODER.decode(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        duplicate = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"duplicate key {duplicate!r}")
    return values


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates)
"""Made once: ``json.loads`` with options would make a decoder for each text."""
