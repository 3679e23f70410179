"""What is asked of the store, and the values it answers with."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime, time
from typing import Any, Literal, NamedTuple, get_args

from ..errors import ParameterError
from ..parameters import names
from ..values import Turn

Order = Literal["position", "newest", "created", "duration", "tokens", "temperature", "top_p"]
ORDERS: tuple[Order, ...] = get_args(Order)

Range = tuple[float | None, float | None]
"""The least and the greatest value that are meant; ``None`` is open."""


class Row(NamedTuple):
    """A stored turn.

    ``number`` is the store's own: it grows for ever, in the order of asking, whatever the clock says. One above
    2**48 is a turn's that could not be saved yet. ``position`` is the place in the conversation; ties are
    ordered by number.
    """

    number: int
    position: int
    turn: Turn


class Summary(NamedTuple):
    """A conversation: ``title`` is its first prompt as one line of at most 80 characters, ``turns`` their count;
    ``created`` and ``last`` are the ISO 8601 times of its first and its newest turn."""

    id: str
    title: str
    turns: int
    created: str
    last: str


@dataclass(frozen=True, slots=True)
class Query:
    """Which turns, and in which order; ``None`` is any.

    ``text`` is words, all of which must be found in prompt, answer or reasoning. ``since`` and ``until`` are
    times or ISO 8601 texts, both inclusive; a date alone is that whole day, and one without a zone is local time.
    The ranges are of what was asked. Order ``position`` is the conversation's, and over several of them the
    order of asking; ``newest`` is the last asked first; all others begin with the least, unless ``reverse``, and
    turns without that value come last.

    :raises ParameterError: for a time or an order that can't be understood.
    """

    text: str | None = None
    conversation: str | None = None
    model: str | None = None
    status: str | None = None
    kind: str | None = None
    since: str | datetime | None = None
    until: str | datetime | None = None
    temperature: Range | None = None
    top_p: Range | None = None
    max_token: Range | None = None
    ids: tuple[str, ...] | None = None
    order: Order = "position"
    reverse: bool = False

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ParameterError(f"There is no order {self.order!r}: take one of {', '.join(ORDERS)}.")
        moment(self.since)
        moment(self.until, end=True)
        for name in names("sampling"):
            _limits(name, getattr(self, name))

    def parameters(self, match: str | None, without: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the values that go into the statements, by name; each statement takes those it knows.

        :param match: the search index's form of ``text``.
        :param without: ids of turns that are not to be found.
        """
        values: dict[str, Any] = {
            name: getattr(self, name) for name in ("conversation", "model", "status", "kind", "order")
        }
        for name in names("sampling"):
            values[f"{name}_low"], values[f"{name}_high"] = _limits(name, getattr(self, name))
        return values | {
            "since": moment(self.since),
            "until": moment(self.until, end=True),
            "ids": None if self.ids is None else json.dumps(self.ids),
            "without": json.dumps(without) if without else None,
            "match": match,
            "sign": -1 if self.reverse else 1,
        }


FIELDS = tuple(field.name for field in fields(Query))


def moment(value: str | datetime | None, *, end: bool = False) -> float | None:
    """Return a time as seconds since 1970; ``end`` takes a date alone for the end of that day.

    :raises ParameterError: for a text that is no ISO 8601 time.
    """
    if value is None:
        return None
    try:
        read = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
        if end and isinstance(value, str) and len(value.strip()) <= len("2025-01-31"):
            read = datetime.combine(read.date(), time.max)
        return read.timestamp()
    except (ValueError, OverflowError, OSError):
        raise ParameterError(
            f"{value!r} is no time: write it as 2025-01-31, 2025-01-31T18:30 or 2025-01-31T18:30+08:00."
        ) from None


def _limits(name: str, span: Any) -> Range:
    if span is None:
        return None, None
    try:
        low, high = span
        return None if low is None else float(low), None if high is None else float(high)
    except (TypeError, ValueError):
        raise ParameterError(
            f"{name} takes two numbers, the least and the greatest; None leaves one open."
        ) from None
