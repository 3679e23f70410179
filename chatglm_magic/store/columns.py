"""A turn as the columns of its two tables, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..parameters import find_value, parameter_names
from ..render.text import spell_surrogates
from ..values import Change, Turn

NARROW = ("id", "conversation", "status", "kind", "model", "duration")
"""Fields of a turn in the table ``turns``; beside them stand the number, the position and what is computed."""
TEXT = ("prompt", "answer", "reasoning")
PLAIN = (
    *("system", "endpoint", "dialect", "turns_sent", "turns_left_out", "finish_reason", "first_token"),
    *("first_answer", "reasoning_tokens", "created", "error", "cell_id", "cell_run", "outside", "version"),
)
JSON = ("asked", "sent", "changed", "usage")
READ = (*NARROW, *TEXT, *PLAIN, *JSON)
"""The fields in the order in which they are read."""


def narrow(turn: Turn, position: int) -> dict[str, Any]:
    """Return the values of the table ``turns``: what is filtered and sorted by."""
    return {name: _bound(getattr(turn, name)) for name in NARROW} | {
        "position": position,
        **{name: _first_number(turn, name) for name in parameter_names("sampling")},
        "tokens": _number(turn.usage.get("completion_tokens")),
        "created_at": _seconds(turn.created),
    }


def wide(turn: Turn) -> dict[str, Any]:
    """Return the values of the table ``texts``."""
    plain = {name: _bound(getattr(turn, name)) for name in (*TEXT, *PLAIN)}
    return plain | {name: _dumped(getattr(turn, name)) for name in JSON}


def turn_of(values: Sequence[Any]) -> Turn:
    """Return the turn whose columns, in the order of ``READ``, these are."""
    found = dict(zip(READ, values, strict=True))
    found |= {name: json.loads(found[name], parse_constant=_no_number) for name in JSON}
    return Turn(**found | {"changed": tuple(map(Change, found["changed"])), "outside": bool(found["outside"])})


def _no_number(name: str) -> None:
    """Take NaN and the infinities for nothing: an older version stored them, and JSON has no words for them."""


def _bound(value: Any) -> Any:
    """Return a value as SQLite takes it: half of a surrogate pair, which UTF-8 has no bytes for, is spelt out."""
    return spell_surrogates(value) if isinstance(value, str) else value


def _dumped(value: Any) -> str:
    """Return JSON; a spelt-out surrogate in it is JSON's own form and is read as it was."""
    return spell_surrogates(json.dumps(value, ensure_ascii=False, default=str))


def _first_number(turn: Turn, name: str) -> float | None:
    """Return what was asked for under one of a parameter's names, else what was sent."""
    asked, sent = (_number(find_value(source, name)) for source in (turn.asked, turn.sent))
    return sent if asked is None else asked


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _seconds(created: str) -> float | None:
    try:
        return datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
