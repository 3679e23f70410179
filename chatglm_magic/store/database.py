"""One SQLite database of turns; its errors are SQLite's own, the store above deals with them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..values import Turn
from . import forgetting, listing, schema, writing
from .columns import turn_from_values
from .query import NumbersWithKeys, Query, Row, Summary, count_turns, select_numbers
from .search import SearchQuery

LOCK_TIMEOUT_SECONDS = 0.5
"""Seconds to wait for another process' lock; an answer waits no longer."""
LOCK_POLL_SECONDS = 0.002
"""Seconds between two looks whether that lock is gone."""

SELECT_ROWS = """
SELECT number, position, id, conversation, status, kind, model, duration, prompt, answer, reasoning, system,
    endpoint, dialect, turns_sent, turns_left_out, finish_reason, first_token, first_answer, reasoning_tokens,
    created, error, cell_id, cell_run, outside, version, asked, sent, changed, usage
FROM turns JOIN texts USING (number) WHERE number IN (SELECT value FROM json_each(?))"""
SELECT_OLDER_ROWS = """
SELECT number, position, id, conversation, status, kind, model, duration, prompt, answer, reasoning, system,
    endpoint, dialect, turns_sent, turns_left_out, finish_reason, first_token, NULL, NULL,
    created, error, cell_id, cell_run, outside, version, asked, sent, changed, usage
FROM turns JOIN texts USING (number) WHERE number IN (SELECT value FROM json_each(?))"""
"""The same of a file that lacks :data:`.schema.ADDED_COLUMNS`, and that nobody may write to."""


class Database:
    """A connection, for one process and one thread at a time.

    :param path: a file that is there, or None for memory.
    :param read_only: whether nothing can be written there, and nobody changes it.
    :raises sqlite3.Error: if it can't be opened, here and in every method.
    """

    def __init__(self, path: Path | None, journal: schema.Journal = "wal", *, read_only: bool = False) -> None:
        self._search: SearchQuery | None = None
        name = ":memory:" if path is None else path.absolute().as_uri() + "?immutable=1" * read_only
        self._db = sqlite3.connect(
            name, timeout=LOCK_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False, uri=path is not None
        )
        try:
            self._db.create_function("wanted", 3, self._matches_search)
            if not read_only:
                schema.configure_connection(self._db, journal)
                schema.create_tables(self._db)
            self._is_older = bool(schema.missing_columns(self._db))
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Hold a transaction: all of it, or nothing, also when an interrupt comes."""
        db = self._db
        if db.in_transaction:  # an interrupt fell between its beginning and its end
            db.rollback()
        _begin_transaction(db)
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.rollback()
            raise

    def put(self, turn: Turn, position: int) -> None:
        """Insert or update a turn by its id."""
        with self.writing() as db:
            writing.upsert(db, turn, position)

    def put_all(self, turns: Sequence[tuple[Turn, int]]) -> None:
        """Insert or update turns by their ids, all or none."""
        with self.writing() as db:
            for turn, position in turns:
                writing.upsert(db, turn, position)

    def add(self, turns: Sequence[tuple[Turn, int]]) -> int:
        """Insert turns whose id is not there yet, all or none; return how many those are."""
        with self.writing() as db:
            return writing.insert_new(db, turns)

    def find_numbers(
        self, query: Query, offset: int, limit: int | None, without: tuple[str, ...] = ()
    ) -> NumbersWithKeys:
        """Return the numbers of a page of turns, each with the value it is sorted by."""
        search, values = self._search_values(query, without)
        values |= {"limit": -1, "upto": -1, "offset": offset}
        if limit is not None:
            values |= {"limit": limit, "upto": offset + limit}
        return select_numbers(self._db, query, values, search=search).fetchall()

    def count(self, query: Query, without: tuple[str, ...] = ()) -> int:
        """Return how many turns there are."""
        search, values = self._search_values(query, without)
        found: int = count_turns(self._db, query, values, search=search).fetchone()[0]
        return found

    def numbers(self, query: Query | None = None) -> list[int]:
        """Return the numbers of all turns that answer a query."""
        return [number for number, _ in self.find_numbers(query or Query(), 0, None)]

    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """Return turns by their numbers, in that order; those that are gone meanwhile are left out."""
        wanted = (json.dumps(list(numbers)),)
        rows = (
            self._db.execute(SELECT_OLDER_ROWS, wanted)
            if self._is_older
            else self._db.execute(SELECT_ROWS, wanted)
        )
        found = {number: Row(number, position, turn_from_values(values)) for number, position, *values in rows}
        return [found[number] for number in numbers if number in found]

    def conversations(self, offset: int, limit: int) -> list[Summary]:
        """Return a page of conversations, the last used first."""
        return listing.conversations(self._db, offset, limit)

    def models(self, limit: int) -> list[str]:
        """Return the names of models, the last used first."""
        return listing.models(self._db, limit)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete turns for good; return how many there were."""
        with self.writing() as db:
            gone = forgetting.delete(db, ids)
        forgetting.wipe(self._db)
        return gone

    def forget(self, conversation: str | None) -> tuple[int, bool]:
        """Delete a conversation, or all of them, and give back the room.

        :returns: how many turns there were, and whether nothing of them is left in the WAL.
        """
        with self.writing() as db:
            gone = forgetting.forget(db, conversation)
        return gone, forgetting.shrink(self._db)

    def rebuild_index(self) -> None:
        """Begin the search index again: it is filled with later turns, and until then all texts are read."""
        with self.writing() as db:
            schema.rebuild_index(db)

    def _search_values(self, query: Query, without: tuple[str, ...]) -> tuple[str | None, dict[str, Any]]:
        """Return how a query's text is searched for, and the values for the statements."""
        self._search = SearchQuery(query.text) if query.text and query.text.strip() else None
        match = self._search.fts_query if self._search else None
        search = None if self._search is None else "index" if match else "read"
        return search, query.parameters(match, without)

    def _matches_search(self, *texts: str | None) -> bool:
        return self._search is not None and self._search.matches(*texts)


def _begin_transaction(db: sqlite3.Connection) -> None:
    """Begin to write, after whoever else does.

    SQLite's own waiting looks every 0.1 s in the end, and never finds a gap between the rows of a busy process.
    """
    last = time.monotonic() + LOCK_TIMEOUT_SECONDS
    db.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= last:
                    raise
            time.sleep(LOCK_POLL_SECONDS)
    finally:
        db.execute("PRAGMA busy_timeout = 500")
