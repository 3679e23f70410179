"""A turn as the columns of its two tables, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..parameters import find_value, parameter_names
from ..render.text import escape_surrogates
from ..values import Change, Turn

TURNS_FIELDS = ("id", "conversation", "status", "kind", "model", "duration")
"""Fields of a turn in the table ``turns``; beside them stand the number, the position and what is computed."""
TEXT_FIELDS = ("prompt", "answer", "reasoning")
PLAIN_FIELDS = (
    *("system", "endpoint", "dialect", "turns_sent", "turns_left_out", "finish_reason", "first_token"),
    *("first_answer", "reasoning_tokens", "created", "error", "cell_id", "cell_run", "outside", "version"),
)
JSON_FIELDS = ("asked", "sent", "changed", "usage")
READ_ORDER = (*TURNS_FIELDS, *TEXT_FIELDS, *PLAIN_FIELDS, *JSON_FIELDS)
"""The fields in the order in which they are read."""


def turns_values(turn: Turn, position: int) -> dict[str, Any]:
    """Return the values of the table ``turns``: what is filtered and sorted by."""
    return {name: _encodable(getattr(turn, name)) for name in TURNS_FIELDS} | {
        "position": position,
        **{name: _parameter_value(turn, name) for name in parameter_names("sampling")},
        "tokens": _finite_float(turn.usage.get("completion_tokens")),
        "created_at": _timestamp(turn.created),
    }


def texts_values(turn: Turn) -> dict[str, Any]:
    """Return the values of the table ``texts``."""
    plain = {name: _encodable(getattr(turn, name)) for name in (*TEXT_FIELDS, *PLAIN_FIELDS)}
    return plain | {name: _to_json(getattr(turn, name)) for name in JSON_FIELDS}


def turn_from_values(values: Sequence[Any]) -> Turn:
    """Return the turn whose columns, in the order of ``READ_ORDER``, these are."""
    found = dict(zip(READ_ORDER, values, strict=True))
    found |= {name: json.loads(found[name], parse_constant=_ignore_nonfinite) for name in JSON_FIELDS}
    return Turn(**found | {"changed": tuple(map(Change, found["changed"])), "outside": bool(found["outside"])})


def _ignore_nonfinite(name: str) -> None:
    """Take NaN and the infinities for nothing: an older version stored them, and JSON has no words for them."""


def _encodable(value: Any) -> Any:
    """Return a value as SQLite takes it: half of a surrogate pair, which UTF-8 has no bytes for, is spelt out."""
    return escape_surrogates(value) if isinstance(value, str) else value


def _to_json(value: Any) -> str:
    """Return JSON; a spelt-out surrogate in it is JSON's own form and is read as it was."""
    return escape_surrogates(json.dumps(value, ensure_ascii=False, default=str))


def _parameter_value(turn: Turn, name: str) -> float | None:
    """Return what was asked for under one of a parameter's names, else what was sent."""
    asked, sent = (_finite_float(find_value(source, name)) for source in (turn.asked, turn.sent))
    return sent if asked is None else asked


def _finite_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _timestamp(created: str) -> float | None:
    try:
        return datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
