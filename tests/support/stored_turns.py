"""What stands in a store's file, seen from another process."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from chatglm_magic.store import Query, Store
from chatglm_magic.values import Turn

FILE = "history.sqlite"


def load_turns(home: Path, **query: object) -> list[Turn]:
    """Return the turns that are stored, in the order they were asked."""
    store = Store(home / FILE)
    try:
        rows = store.find(Query(**query))  # type: ignore[arg-type]
        return [row.turn for row in sorted(rows, key=lambda row: row.number)]
    finally:
        store.close()


def is_sound(home: Path) -> bool:
    """Ask SQLite itself whether the file is whole."""
    with closing(sqlite3.connect(home / FILE)) as database:
        return database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
