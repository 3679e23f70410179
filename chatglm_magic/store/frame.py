"""A history as a pandas table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..parameters import names
from ..render.tables import table
from . import columns
from .query import Row

FIRST = ("number", "conversation", "position", "created", "status", "kind", "model")
COMPUTED = (*names("sampling"), "tokens")


def frame(rows: Iterable[Row]) -> Any:
    """Return a row a turn: its fields, and what was asked of temperature, top_p and max_token as numbers.

    :raises ChatGLMError: if pandas is not installed.
    """
    return table(map(_record, rows), [*FIRST, *COMPUTED, *_rest()])


def _rest() -> list[str]:
    return [name for name in columns.READ if name not in FIRST]


def _record(row: Row) -> dict[str, Any]:
    numbers = columns.narrow(row.turn, row.position)
    return (
        {name: getattr(row.turn, name) for name in columns.READ}
        | {name: numbers[name] for name in ("position", *COMPUTED)}
        | {"number": row.number}
    )
