"""Writing of turns to the tables and to the search index, within the caller's transaction."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace

from ..values import Turn
from .columns import texts_values, turns_values
from .search import index_text

INSERT_TURN = """
INSERT INTO turns (id, conversation, position, status, kind, model, temperature, top_p, max_token, tokens,
    duration, created_at)
VALUES (:id, :conversation, :position, :status, :kind, :model, :temperature, :top_p, :max_token, :tokens,
    :duration, :created_at)"""
UPDATE_TURN = """
UPDATE turns SET conversation = :conversation, position = :position, status = :status, kind = :kind,
    model = :model, temperature = :temperature, top_p = :top_p, max_token = :max_token, tokens = :tokens,
    duration = :duration, created_at = :created_at
WHERE number = :number"""
WRITE_TEXTS = """
INSERT OR REPLACE INTO texts (number, prompt, answer, reasoning, system, endpoint, dialect, asked, sent, changed,
    turns_sent, turns_left_out, finish_reason, usage, first_token, first_answer, reasoning_tokens, created, error,
    cell_id, cell_run, outside, version)
VALUES (:number, :prompt, :answer, :reasoning, :system, :endpoint, :dialect, :asked, :sent, :changed,
    :turns_sent, :turns_left_out, :finish_reason, :usage, :first_token, :first_answer, :reasoning_tokens, :created,
    :error, :cell_id, :cell_run, :outside, :version)"""
HAS_SAME_TEXTS = """
SELECT prompt = :prompt AND answer = :answer AND reasoning = :reasoning FROM texts WHERE number = :number"""
SELECT_UNINDEXED = """
SELECT number FROM turns WHERE indexed = 0 AND (created_at IS NULL OR created_at < ?) ORDER BY number LIMIT ?"""

ABANDONED_AFTER_SECONDS = 3600
MAX_LATE_INDEXED = 20
"""How many turns that never ended are indexed when another one ends."""


def upsert(db: sqlite3.Connection, turn: Turn, position: int) -> None:
    """Insert a turn, or update the one with its id.

    The index has turns that have ended. One that is still growing, or whose kernel was killed, is searched by
    reading its texts; the latter is indexed along with a later turn.
    """
    turn = turn if turn.id else replace(turn, id=uuid.uuid4().hex)
    values = turns_values(turn, position) | texts_values(turn)
    existing = db.execute("SELECT number, indexed FROM turns WHERE id = ?", (turn.id,)).fetchone()
    if existing is None:
        number, was_indexed = db.execute(INSERT_TURN, values).lastrowid or 0, False
    else:
        number, was_indexed = existing
        db.execute(UPDATE_TURN, values | {"number": number})
    values["number"] = number
    if was_indexed and db.execute(HAS_SAME_TEXTS, values).fetchone() == (1,):
        db.execute(WRITE_TEXTS, values)
        return
    if was_indexed:
        unindex_turn(db, number)
    db.execute(WRITE_TEXTS, values)
    if _has_ended(turn):
        index_turn(db, number)
        for other in db.execute(
            SELECT_UNINDEXED, (time.time() - ABANDONED_AFTER_SECONDS, MAX_LATE_INDEXED)
        ).fetchall():
            index_turn(db, *other)


def insert_new(db: sqlite3.Connection, turns: Sequence[tuple[Turn, int]]) -> int:
    """Insert turns with their positions, except those whose id exists; return how many are new."""
    count = 0
    for turn, position in turns:
        if db.execute("SELECT 1 FROM turns WHERE id = ?", (turn.id,)).fetchone() is None:
            upsert(db, turn, position)
            count += 1
    return count


def index_turn(db: sqlite3.Connection, number: int) -> None:
    """Add a turn's words to the index."""
    db.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, _index_text(db, number)))
    db.execute("UPDATE turns SET indexed = 1 WHERE number = ?", (number,))


def unindex_turn(db: sqlite3.Connection, number: int) -> None:
    """Remove a turn's words from the index, which stores no texts and so needs them once more."""
    words = _index_text(db, number)
    db.execute("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", (number, words))
    db.execute("UPDATE turns SET indexed = 0 WHERE number = ?", (number,))


def _index_text(db: sqlite3.Connection, number: int) -> str:
    texts = db.execute("SELECT prompt, answer, reasoning FROM texts WHERE number = ?", (number,)).fetchone()
    return index_text(*texts)


def _has_ended(turn: Turn) -> bool:
    """Return whether a turn is final; an incomplete one is if it has an error."""
    return turn.status != "incomplete" or turn.error is not None
