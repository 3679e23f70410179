"""What turns are wanted, and the statements that find their numbers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime, time
from typing import Any, Literal, NamedTuple, get_args

from ..errors import ParameterError
from ..parameters import parameter_names
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
        to_timestamp(self.since)
        to_timestamp(self.until, end=True)
        for name in parameter_names("sampling"):
            _range_bounds(name, getattr(self, name))

    def parameters(self, match: str | None, without: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the values that go into the statements, by name; each statement takes those it knows.

        :param match: the search index's form of ``text``.
        :param without: ids of turns that are not to be found.
        """
        values: dict[str, Any] = {
            name: getattr(self, name) for name in ("conversation", "model", "status", "kind", "order")
        }
        for name in parameter_names("sampling"):
            values[f"{name}_low"], values[f"{name}_high"] = _range_bounds(name, getattr(self, name))
        return values | {
            "since": to_timestamp(self.since),
            "until": to_timestamp(self.until, end=True),
            "ids": None if self.ids is None else json.dumps(self.ids),
            "without": json.dumps(without) if without else None,
            "match": match,
            "sign": -1 if self.reverse else 1,
        }


QUERY_FIELDS = tuple(field.name for field in fields(Query))


def to_timestamp(value: str | datetime | None, *, end: bool = False) -> float | None:
    """Return a time as seconds since 1970; ``end`` takes a date alone for the end of that day.

    :raises ParameterError: for a text that isn't an ISO 8601 time.
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
            f"{value!r} isn't a time: write it as 2025-01-31, 2025-01-31T18:30 or 2025-01-31T18:30+08:00."
        ) from None


def _range_bounds(name: str, span: Any) -> Range:
    if span is None:
        return None, None
    try:
        low, high = span
        return None if low is None else float(low), None if high is None else float(high)
    except (TypeError, ValueError):
        raise ParameterError(
            f"{name} takes two numbers, the least and the greatest; None leaves one open."
        ) from None


FILTERS = """
    (:conversation IS NULL OR conversation = :conversation)
    AND (:model IS NULL OR model = :model)
    AND (:status IS NULL OR status = :status)
    AND (:kind IS NULL OR kind = :kind)
    AND (:since IS NULL OR created_at >= :since)
    AND (:until IS NULL OR created_at <= :until)
    AND (:temperature_low IS NULL OR temperature >= :temperature_low)
    AND (:temperature_high IS NULL OR temperature <= :temperature_high)
    AND (:top_p_low IS NULL OR top_p >= :top_p_low)
    AND (:top_p_high IS NULL OR top_p <= :top_p_high)
    AND (:max_token_low IS NULL OR max_token >= :max_token_low)
    AND (:max_token_high IS NULL OR max_token <= :max_token_high)
    AND (:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))
    AND (:without IS NULL OR id NOT IN (SELECT value FROM json_each(:without)))
"""
LIMIT = " LIMIT :limit OFFSET :offset"
FROM_TURNS = f" FROM turns WHERE {FILTERS}"
SORT_KEY = """CASE :order
    WHEN 'position' THEN CASE WHEN :conversation IS NULL THEN turns.number ELSE position END
    WHEN 'newest' THEN -turns.number WHEN 'created' THEN created_at WHEN 'duration' THEN duration
    WHEN 'tokens' THEN tokens WHEN 'temperature' THEN temperature WHEN 'top_p' THEN top_p END"""
ORDER_BY_KEY = f" ORDER BY {SORT_KEY} IS NULL, {SORT_KEY} * :sign, turns.number * :sign"

ORDER_BY_POSITION = " ORDER BY position, number"
ORDER_BY_POSITION_DESC = " ORDER BY position DESC, number DESC"

FROM_IDS = f" FROM turns WHERE id IN (SELECT value FROM json_each(:ids)) AND {FILTERS}"
FROM_CONVERSATION = f" FROM turns WHERE conversation = :conversation AND {FILTERS}"
FROM_INDEX = f" FROM words CROSS JOIN turns ON turns.number = words.rowid WHERE words MATCH :match AND {FILTERS}"
FROM_TEXTS = f""" FROM turns CROSS JOIN texts ON texts.number = turns.number
    WHERE {FILTERS} AND wanted(prompt, answer, reasoning)"""
FROM_UNINDEXED = FROM_TEXTS + " AND indexed = 0"
SELECT_MATCHES = f"""SELECT turns.number AS number, {SORT_KEY} AS key{FROM_INDEX}
    UNION ALL SELECT turns.number, {SORT_KEY}{FROM_UNINDEXED}"""
# The index gives its rows in their order one by one, so each half stops when the page is full.
SELECT_NEWEST_MATCHES = f"""SELECT number, number FROM (
    SELECT * FROM (SELECT words.rowid AS number{FROM_INDEX} ORDER BY words.rowid DESC LIMIT :upto)
    UNION ALL SELECT * FROM (SELECT turns.number{FROM_UNINDEXED} ORDER BY turns.number DESC LIMIT :upto))
    ORDER BY number DESC{LIMIT}"""
SELECT_OLDEST_MATCHES = f"""SELECT number, number FROM (
    SELECT * FROM (SELECT words.rowid AS number{FROM_INDEX} ORDER BY words.rowid LIMIT :upto)
    UNION ALL SELECT * FROM (SELECT turns.number{FROM_UNINDEXED} ORDER BY turns.number LIMIT :upto))
    ORDER BY number{LIMIT}"""

NumbersWithKeys = list[tuple[int, float | None]]
"""Numbers of turns, each with the value it is sorted by."""
Values = Mapping[str, Any]


def select_numbers(db: sqlite3.Connection, query: Query, values: Values, *, search: str | None) -> sqlite3.Cursor:
    """Return the numbers of a page of turns, each with what they are sorted by.

    :param search: ``index`` for a query whose words the index knows, ``read`` for one that must read all texts.
    """
    if search == "read":
        return db.execute(f"SELECT turns.number, {SORT_KEY}{FROM_TEXTS}{ORDER_BY_KEY}{LIMIT}", values)
    if search == "index":
        return _select_matches(db, query, values)
    if query.ids is not None:
        return db.execute(f"SELECT number, {SORT_KEY}{FROM_IDS}{ORDER_BY_KEY}{LIMIT}", values)
    if query.conversation is None:
        return _select_all(db, query, values)
    if query.order != "position":
        return db.execute(f"SELECT number, {SORT_KEY}{FROM_CONVERSATION}{ORDER_BY_KEY}{LIMIT}", values)
    if query.reverse:
        return db.execute(f"SELECT number, position{FROM_CONVERSATION}{ORDER_BY_POSITION_DESC}{LIMIT}", values)
    return db.execute(f"SELECT number, position{FROM_CONVERSATION}{ORDER_BY_POSITION}{LIMIT}", values)


def count_turns(db: sqlite3.Connection, query: Query, values: Values, *, search: str | None) -> sqlite3.Cursor:
    """Return how many turns there are, in one row."""
    if search == "read":
        return db.execute(f"SELECT count(*){FROM_TEXTS}", values)
    if search == "index":
        return db.execute(f"SELECT (SELECT count(*){FROM_INDEX}) + (SELECT count(*){FROM_UNINDEXED})", values)
    if query.ids is not None:
        return db.execute(f"SELECT count(*){FROM_IDS}", values)
    if query.conversation is not None:
        return db.execute(f"SELECT count(*){FROM_CONVERSATION}", values)
    if query == Query(order=query.order, reverse=query.reverse) and values["without"] is None:
        return db.execute("SELECT count(*) FROM turns")
    return db.execute(f"SELECT count(*){FROM_TURNS}", values)


def _select_matches(db: sqlite3.Connection, query: Query, values: Values) -> sqlite3.Cursor:
    """Return what a search finds; the index gives the newest, or the oldest, first by itself."""
    first_asked_first = query.order == "position" and query.conversation is None
    if first_asked_first or query.order == "newest":
        if query.reverse == first_asked_first:
            return db.execute(SELECT_NEWEST_MATCHES, values)
        return db.execute(SELECT_OLDEST_MATCHES, values)
    return db.execute(
        f"SELECT number, key FROM ({SELECT_MATCHES}) ORDER BY key IS NULL, key * :sign, number * :sign{LIMIT}",
        values,
    )


def _select_all(db: sqlite3.Connection, query: Query, values: Values) -> sqlite3.Cursor:
    """Return a page of all turns along the index of their order, from either end."""
    match query.order, query.reverse:
        case ("newest", False) | ("position", True):
            return db.execute(f"SELECT number, number{FROM_TURNS} ORDER BY number DESC{LIMIT}", values)
        case ("newest", True) | ("position", False):
            return db.execute(f"SELECT number, number{FROM_TURNS} ORDER BY number{LIMIT}", values)
        case ("created", False):
            return db.execute(
                f"SELECT number, created_at{FROM_TURNS} ORDER BY created_at NULLS LAST, number{LIMIT}", values
            )
        case ("created", True):
            return db.execute(
                f"SELECT number, created_at{FROM_TURNS} ORDER BY created_at DESC, number DESC{LIMIT}", values
            )
        case ("duration", False):
            return db.execute(
                f"SELECT number, duration{FROM_TURNS} ORDER BY duration NULLS LAST, number{LIMIT}", values
            )
        case ("duration", True):
            return db.execute(
                f"SELECT number, duration{FROM_TURNS} ORDER BY duration DESC, number DESC{LIMIT}", values
            )
        case ("tokens", False):
            return db.execute(
                f"SELECT number, tokens{FROM_TURNS} ORDER BY tokens NULLS LAST, number{LIMIT}", values
            )
        case ("tokens", True):
            return db.execute(
                f"SELECT number, tokens{FROM_TURNS} ORDER BY tokens DESC, number DESC{LIMIT}", values
            )
        case ("temperature", False):
            return db.execute(
                f"SELECT number, temperature{FROM_TURNS} ORDER BY temperature NULLS LAST, number{LIMIT}",
                values,
            )
        case ("temperature", True):
            return db.execute(
                f"SELECT number, temperature{FROM_TURNS} ORDER BY temperature DESC, number DESC{LIMIT}",
                values,
            )
        case ("top_p", False):
            return db.execute(f"SELECT number, top_p{FROM_TURNS} ORDER BY top_p NULLS LAST, number{LIMIT}", values)
        case ("top_p", True):
            return db.execute(f"SELECT number, top_p{FROM_TURNS} ORDER BY top_p DESC, number DESC{LIMIT}", values)
        case _:
            raise AssertionError(f"no order {query.order}")
