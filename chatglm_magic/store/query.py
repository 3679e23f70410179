"""Queries for turns, and the SQL statements that select their numbers."""

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
"""Lower and upper bound, both inclusive; ``None`` is unbounded."""


class Row(NamedTuple):
    """A stored turn.

    ``number`` is assigned by the store and always increases in the order of prompts, whatever the clock says. A
    turn that isn't saved yet has one above 2**48. ``position`` is the place in the conversation; ties are ordered
    by number.
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
    """Which turns to find, and in which order; ``None`` means any.

    All words of ``text`` must occur in prompt, answer or reasoning. ``since`` and ``until`` are datetimes or
    ISO 8601 texts, both inclusive; a date alone means that whole day, and a time without a zone is local. The
    ranges apply to the requested values. Order ``position`` is that of the conversation, or of the prompts over
    several conversations; ``newest`` starts with the latest prompt. All others are ascending unless ``reverse``,
    with turns that lack the value last.

    :raises ParameterError: for an invalid time, range or order.
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
            raise ParameterError(f"Unknown order {self.order!r}. Expected one of {', '.join(ORDERS)}.")
        to_timestamp(self.since)
        to_timestamp(self.until, end=True)
        for name in parameter_names("sampling"):
            _range_bounds(name, getattr(self, name))

    def parameters(self, match: str | None, without: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the values of the statements' placeholders; each statement uses some of them.

        :param match: ``text`` in FTS5's query language.
        :param without: ids of turns to exclude.
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
    """Return a time as seconds since 1970; with ``end``, a date alone is the end of that day.

    :raises ParameterError: for a text that isn't an ISO 8601 time.
    """
    if value is None:
        return None
    try:
        parsed = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
        if end and isinstance(value, str) and len(value.strip()) <= len("2025-01-31"):
            parsed = datetime.combine(parsed.date(), time.max)
        return parsed.timestamp()
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
            f"{name} expects two numbers, a lower and an upper bound, or None for no bound."
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
# The index returns its rows one by one in their order, so each half stops when the page is full.
SELECT_NEWEST_MATCHES = f"""SELECT number, number FROM (
    SELECT * FROM (SELECT words.rowid AS number{FROM_INDEX} ORDER BY words.rowid DESC LIMIT :upto)
    UNION ALL SELECT * FROM (SELECT turns.number{FROM_UNINDEXED} ORDER BY turns.number DESC LIMIT :upto))
    ORDER BY number DESC{LIMIT}"""
SELECT_OLDEST_MATCHES = f"""SELECT number, number FROM (
    SELECT * FROM (SELECT words.rowid AS number{FROM_INDEX} ORDER BY words.rowid LIMIT :upto)
    UNION ALL SELECT * FROM (SELECT turns.number{FROM_UNINDEXED} ORDER BY turns.number LIMIT :upto))
    ORDER BY number{LIMIT}"""

NumbersWithKeys = list[tuple[int, float | None]]
"""Numbers of turns, each with its sort key."""
Values = Mapping[str, Any]


def select_numbers(db: sqlite3.Connection, query: Query, values: Values, *, search: str | None) -> sqlite3.Cursor:
    """Return the numbers of a page of turns, each with its sort key.

    :param search: ``index`` to search the index, ``read`` to read all texts, None without a search.
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
    """Return the number of matching turns, in one row."""
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
    """Return a page of the turns that a search finds; newest and oldest first is the index's own order."""
    is_oldest_first = query.order == "position" and query.conversation is None
    if is_oldest_first or query.order == "newest":
        if query.reverse == is_oldest_first:
            return db.execute(SELECT_NEWEST_MATCHES, values)
        return db.execute(SELECT_OLDEST_MATCHES, values)
    return db.execute(
        f"SELECT number, key FROM ({SELECT_MATCHES}) ORDER BY key IS NULL, key * :sign, number * :sign{LIMIT}",
        values,
    )


def _select_all(db: sqlite3.Connection, query: Query, values: Values) -> sqlite3.Cursor:
    """Return a page of all turns, read from either end of the database index for their order."""
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
