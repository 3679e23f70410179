"""One SQLite database of turns. Errors are those of ``sqlite3``; the store handles them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..values import Turn
from . import schema, writing
from .columns import turn_from_values
from .query import NumbersWithKeys, Query, Row, Summary, count_turns, select_numbers
from .search import SearchQuery

LOCK_TIMEOUT_SECONDS = 0.5
"""How long to wait for another process' lock; no answer waits longer."""
LOCK_POLL_SECONDS = 0.002
"""The pause between two attempts to get that lock."""
MAX_TITLE_CHARS = 80

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
"""The same for a read-only file that lacks :data:`.schema.ADDED_COLUMNS`."""
SELECT_CONVERSATIONS = """
WITH page AS (
    SELECT conversation, count(*) AS turns, min(number) AS first, max(number) AS last
    FROM turns GROUP BY conversation ORDER BY last DESC LIMIT ? OFFSET ?)
SELECT conversation, (
        SELECT substr(prompt, 1, 400) FROM turns JOIN texts USING (number)
        WHERE turns.conversation = page.conversation ORDER BY position, number LIMIT 1),
    turns, (SELECT created FROM texts WHERE number = first), (SELECT created FROM texts WHERE number = last)
FROM page ORDER BY last DESC"""
# Steps from one name to the next along the index, since a thousand turns share a handful of names.
SELECT_MODELS = """
WITH RECURSIVE found (model) AS (
    SELECT min(model) FROM turns
    UNION ALL SELECT (SELECT min(model) FROM turns WHERE model > found.model) FROM found WHERE model IS NOT NULL)
SELECT model FROM found WHERE model IS NOT NULL
ORDER BY (SELECT max(number) FROM turns WHERE turns.model = found.model) DESC LIMIT ?"""

TURNS_OF_IDS = "SELECT number, indexed FROM turns WHERE id IN (SELECT value FROM json_each(?))"
TURNS_OF_CONVERSATION = "SELECT number, indexed FROM turns WHERE conversation = ?"


class Database:
    """A connection for one process, used by one thread at a time.

    :param path: an existing file, or None for a database in memory.
    :param read_only: whether the file can't be written to and nobody changes it.
    :raises sqlite3.Error: if it can't be opened; every method may raise it too.
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
        """Close the connection."""
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction: commit all of it, or roll back on any exception, also an interrupt."""
        db = self._db
        if db.in_transaction:  # left open by an interrupt
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
        """Insert or update turns by their ids, all or none of them."""
        with self.writing() as db:
            for turn, position in turns:
                writing.upsert(db, turn, position)

    def add(self, turns: Sequence[tuple[Turn, int]]) -> int:
        """Insert the turns whose ids are new, all or none of them; return their count."""
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
        """Return how many turns match a query."""
        search, values = self._search_values(query, without)
        count: int = count_turns(self._db, query, values, search=search).fetchone()[0]
        return count

    def numbers(self, query: Query | None = None) -> list[int]:
        """Return the numbers of all turns that match a query."""
        return [number for number, _ in self.find_numbers(query or Query(), 0, None)]

    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """Return turns by their numbers, in that order, without those deleted in the meantime."""
        parameters = (json.dumps(list(numbers)),)
        if self._is_older:
            found = self._db.execute(SELECT_OLDER_ROWS, parameters)
        else:
            found = self._db.execute(SELECT_ROWS, parameters)
        rows = {number: Row(number, position, turn_from_values(values)) for number, position, *values in found}
        return [rows[number] for number in numbers if number in rows]

    def conversations(self, offset: int, limit: int) -> list[Summary]:
        """Return a page of conversations, the last used first."""
        return [
            Summary(id, _title(prompt), turns, created, last)
            for id, prompt, turns, created, last in self._db.execute(SELECT_CONVERSATIONS, (limit, offset))
        ]

    def models(self, limit: int) -> list[str]:
        """Return the names of models, the last used first."""
        return [name for (name,) in self._db.execute(SELECT_MODELS, (limit,))]

    def delete(self, ids: Sequence[str]) -> int:
        """Delete turns permanently; return how many existed."""
        with self.writing() as db:
            count = _delete_rows(db, db.execute(TURNS_OF_IDS, (json.dumps(list(ids)),)).fetchall())
        _empty_wal(self._db)
        return count

    def forget(self, conversation: str | None) -> tuple[int, bool]:
        """Delete a conversation, or all of them, and shrink the file.

        :returns: how many turns existed, and whether no trace of them remains in the WAL.
        """
        with self.writing() as db:
            if conversation is None:
                db.execute("INSERT INTO words (words) VALUES ('delete-all')")
                db.execute("DELETE FROM texts")
                count = db.execute("DELETE FROM turns").rowcount
            else:
                count = _delete_rows(db, db.execute(TURNS_OF_CONVERSATION, (conversation,)).fetchall())
        return count, _shrink(self._db)

    def rebuild_index(self) -> None:
        """Start an empty search index; later turns fill it, and searches read all texts until then."""
        with self.writing() as db:
            schema.rebuild_index(db)

    def _search_values(self, query: Query, without: tuple[str, ...]) -> tuple[str | None, dict[str, Any]]:
        """Return how to search for a query's text, and the values for the statements."""
        self._search = SearchQuery(query.text) if query.text and query.text.strip() else None
        match = self._search.fts_query if self._search else None
        search = None if self._search is None else "index" if match else "read"
        return search, query.parameters(match, without)

    def _matches_search(self, *texts: str | None) -> bool:
        return self._search is not None and self._search.matches(*texts)


def _begin_transaction(db: sqlite3.Connection) -> None:
    """Begin a write transaction as soon as no other connection has one.

    SQLite's own busy handler ends up polling every 0.1 s, and never hits the gap between two writes of a busy
    process.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_SECONDS
    db.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
            time.sleep(LOCK_POLL_SECONDS)
    finally:
        db.execute("PRAGMA busy_timeout = 500")


def _delete_rows(db: sqlite3.Connection, rows: list[tuple[int, int]]) -> int:
    """Delete turns within a transaction, also from the search index; return their count.

    :param rows: their numbers, each with whether the turn is indexed.
    """
    for number, indexed in rows:
        if indexed:
            writing.unindex_turn(db, number)
        db.execute("DELETE FROM texts WHERE number = ?", (number,))
        db.execute("DELETE FROM turns WHERE number = ?", (number,))
    if rows:  # until its segments are merged, the index keeps the words of deleted turns
        db.execute("INSERT INTO words (words) VALUES ('optimize')")
    return len(rows)


def _empty_wal(db: sqlite3.Connection) -> bool:
    """Move the WAL into the file, where freed pages are zeroed; return whether no other connection blocked it."""
    busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _shrink(db: sqlite3.Connection) -> bool:
    """Rewrite the file without its free pages and empty the WAL; return whether that succeeded.

    The temporary copy is as large as what remains, so it goes to disk instead of memory.
    """
    db.execute("PRAGMA temp_store = FILE")
    try:
        db.execute("VACUUM")
    finally:
        db.execute("PRAGMA temp_store = MEMORY")
    return _empty_wal(db)


def _title(prompt: str | None) -> str:
    line = " ".join((prompt or "").split())
    return line if len(line) <= MAX_TITLE_CHARS else line[: MAX_TITLE_CHARS - 1].rstrip() + "…"
