"""Conversion between a turn and the columns of its two tables."""

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
"""Fields of a turn in the table ``turns``, which also has its number, position and computed columns."""
TEXT_FIELDS = ("prompt", "answer", "reasoning")
PLAIN_FIELDS = (
    "system",
    "endpoint",
    "dialect",
    "turns_sent",
    "turns_left_out",
    "finish_reason",
    "first_token",
    "first_answer",
    "reasoning_tokens",
    "created",
    "error",
    "cell_id",
    "cell_run",
    "outside",
    "version",
)
JSON_FIELDS = ("asked", "sent", "changed", "usage")
READ_ORDER = (*TURNS_FIELDS, *TEXT_FIELDS, *PLAIN_FIELDS, *JSON_FIELDS)
"""The order in which ``SELECT`` statements return the fields."""


def turns_values(turn: Turn, position: int) -> dict[str, Any]:
    """Return the values of the table ``turns``, by which turns are filtered and sorted."""
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
    """Return the turn with these column values, which are in the order of ``READ_ORDER``."""
    fields = dict(zip(READ_ORDER, values, strict=True))
    # an older version stored NaN and the infinities, which JSON lacks
    fields |= {name: json.loads(fields[name], parse_constant=lambda _: None) for name in JSON_FIELDS}
    return Turn(**fields | {"changed": tuple(map(Change, fields["changed"])), "outside": bool(fields["outside"])})


def _encodable(value: Any) -> Any:
    """Return a value for SQLite, with lone surrogates, which UTF-8 can't encode, spelled out."""
    return escape_surrogates(value) if isinstance(value, str) else value


def _to_json(value: Any) -> str:
    """Return JSON; a spelled-out surrogate in it is a JSON escape and is read back unchanged."""
    return escape_surrogates(json.dumps(value, ensure_ascii=False, default=str))


def _parameter_value(turn: Turn, name: str) -> float | None:
    """Return a parameter's requested value under any of its names, else the value sent."""
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
