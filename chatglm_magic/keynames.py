"""Names under which a key is given: no body, file or message may hold what stands under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = ("key", "token")
"""Whole names; in a longer one, as in ``max_token``, they mean something else."""

PARTS = ("api_key", "apikey", "secret", "password", "authorization", "access_token")
"""What is in the name of a key wherever it stands, as in ``zhipuai_api_key``; a ``max_token`` is none."""

DEEP = 20
"""How far into a value it is looked for a key."""


def names_a_key(name: str) -> bool:
    """Tell whether a parameter's name says that its value is a key."""
    plain = _plain(name)
    return plain in NAMES or any(part in plain for part in PARTS)


def key_within(values: Mapping[str, Any]) -> str | None:
    """Return the name under which further keys of a body hold a key, however deep; None if none does.

    Deep down, where ``key`` and ``token`` are common words, only the unmistakable names count.
    """
    for name, value in values.items():
        if names_a_key(name) and isinstance(value, str):
            return name
        if found := _deeper(value, DEEP):
            return f"{name}: {found}"
    return None


def _deeper(value: Any, left: int) -> str | None:
    if left and isinstance(value, Mapping):
        for name, inner in value.items():
            if isinstance(inner, str) and any(part in _plain(str(name)) for part in PARTS):
                return str(name)
        return next((found for inner in value.values() if (found := _deeper(inner, left - 1))), None)
    if left and isinstance(value, list | tuple):
        return next((found for inner in value if (found := _deeper(inner, left - 1))), None)
    return None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").lstrip("_")
