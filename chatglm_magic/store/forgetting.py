"""Taking turns away so that nothing of them is left: not in the search index, in free pages or in the WAL."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from .writing import unindex_turn

OF_IDS = "SELECT number, indexed FROM turns WHERE id IN (SELECT value FROM json_each(?))"
OF_CONVERSATION = "SELECT number, indexed FROM turns WHERE conversation = ?"


def delete(db: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Delete turns by their ids, within a transaction; return how many there were."""
    return _take_out(db, db.execute(OF_IDS, (json.dumps(list(ids)),)).fetchall())


def forget(db: sqlite3.Connection, conversation: str | None) -> int:
    """Delete a conversation's turns, or all, within a transaction; return how many there were."""
    if conversation is not None:
        return _take_out(db, db.execute(OF_CONVERSATION, (conversation,)).fetchall())
    db.execute("INSERT INTO words (words) VALUES ('delete-all')")
    db.execute("DELETE FROM texts")
    return db.execute("DELETE FROM turns").rowcount


def _take_out(db: sqlite3.Connection, found: list[tuple[int, int]]) -> int:
    for number, indexed in found:
        if indexed:
            unindex_turn(db, number)
        db.execute("DELETE FROM texts WHERE number = ?", (number,))
        db.execute("DELETE FROM turns WHERE number = ?", (number,))
    if found:  # until its parts are merged, the index keeps the words of what was taken out
        db.execute("INSERT INTO words (words) VALUES ('optimize')")
    return len(found)


def wipe(db: sqlite3.Connection) -> bool:
    """Empty the WAL into the file, where freed pages are zeroed; tell whether nobody stood in the way."""
    busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def shrink(db: sqlite3.Connection) -> bool:
    """Rewrite the file without its free pages, and empty the WAL; tell whether nobody stood in the way.

    The copy that is made for it has what is kept alone, and is as large as that: not for memory.
    """
    db.execute("PRAGMA temp_store = FILE")
    try:
        db.execute("VACUUM")
    finally:
        db.execute("PRAGMA temp_store = MEMORY")
    return wipe(db)
