"""JSON as RFC 8259 has it: what Python's reader accepts beyond that is refused, wherever JSON comes from."""

from __future__ import annotations

import json
from typing import Any, NoReturn


def strict_json(text: str) -> Any:
    """Return JSON values.

    >>> strict_json('{"temperature": 0.5}')
    {'temperature': 0.5}

    :raises ValueError: for what is not JSON, for NaN and Infinity, and for an object that names a key twice, of
        which readers disagree about the value that is meant.
    :raises RecursionError: for JSON that is nested too deep.
    """
    return _DECODER.decode(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_unique)
"""Made once: ``json.loads`` with options makes one for each text."""
