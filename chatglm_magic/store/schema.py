"""The tables, and the settings of a connection."""

from __future__ import annotations

import sqlite3
from typing import Literal

APPLICATION_ID = 1196182888
"""SQLite's ``application_id``: "GLMh" as four bytes, which distinguishes our files from other programs'."""
SCHEMA_VERSION = 1
"""SQLite's ``user_version``: the version of the tables. A higher one belongs to a newer package."""

Journal = Literal["wal", "delete"]

CREATE_TURNS = """
CREATE TABLE turns (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    conversation TEXT NOT NULL,
    position INTEGER NOT NULL,
    status TEXT NOT NULL,
    kind TEXT NOT NULL,
    model TEXT,
    temperature REAL,
    top_p REAL,
    max_token REAL,
    tokens REAL,
    duration REAL,
    created_at REAL,
    indexed INTEGER NOT NULL DEFAULT 0
)"""
# Long values have a table of their own, so that scanning all turns reads little.
CREATE_TEXTS = """
CREATE TABLE texts (
    number INTEGER PRIMARY KEY,
    prompt TEXT NOT NULL,
    answer TEXT NOT NULL,
    reasoning TEXT NOT NULL,
    system TEXT,
    endpoint TEXT NOT NULL,
    dialect TEXT NOT NULL,
    asked TEXT NOT NULL,
    sent TEXT NOT NULL,
    changed TEXT NOT NULL,
    turns_sent INTEGER NOT NULL,
    turns_left_out INTEGER NOT NULL,
    finish_reason TEXT,
    usage TEXT NOT NULL,
    first_token REAL,
    first_answer REAL,
    reasoning_tokens INTEGER,
    created TEXT NOT NULL,
    error TEXT,
    cell_id TEXT,
    cell_run INTEGER NOT NULL,
    outside INTEGER NOT NULL,
    version TEXT NOT NULL
)"""
# Contentless and without column sizes, to be small; deleting a row needs its words once more. The tokenizer splits
# at anything but letters, digits and these ASCII symbols; its input has words separated by spaces. Prefixes of
# three letters, the shortest that are searched for, have an index of their own.
CREATE_WORDS = """
CREATE VIRTUAL TABLE words USING fts5(
    text, content = '', columnsize = 0, prefix = '3', tokenize = "ascii tokenchars '#$%&+<=>@^~'"
)"""


def create_tables(db: sqlite3.Connection) -> None:
    """Create the tables in a new file; two processes may do so at once.

    :raises sqlite3.Error: if the file can't be written.
    """
    if _version(db) and not missing_columns(db):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if _version(db):
            _add_columns(db)
        else:
            db.execute(CREATE_TURNS)
            db.execute(CREATE_TEXTS)
            db.execute(CREATE_WORDS)
            _add_indexes(db)
            db.execute("PRAGMA application_id = 1196182888")
            db.execute("PRAGMA user_version = 1")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.rollback()
        raise


ADD_FIRST_ANSWER = "ALTER TABLE texts ADD COLUMN first_answer REAL"
ADD_REASONING_TOKENS = "ALTER TABLE texts ADD COLUMN reasoning_tokens INTEGER"
ADDED_COLUMNS = ("first_answer", "reasoning_tokens")
"""Columns of ``texts`` that files of earlier versions lack. Those versions name the columns they write and ignore
these, so the schema version is the same."""


def missing_columns(db: sqlite3.Connection) -> list[str]:
    """Return those of :data:`ADDED_COLUMNS` that a file lacks."""
    present = {row[1] for row in db.execute("PRAGMA table_info(texts)")}
    return [name for name in ADDED_COLUMNS if name not in present]


def _add_columns(db: sqlite3.Connection) -> None:
    missing = missing_columns(db)
    if "first_answer" in missing:
        db.execute(ADD_FIRST_ANSWER)
    if "reasoning_tokens" in missing:
        db.execute(ADD_REASONING_TOKENS)


def rebuild_index(db: sqlite3.Connection) -> None:
    """Replace a damaged search index with an empty one, within a transaction."""
    db.execute("DROP TABLE words")
    db.execute(CREATE_WORDS)
    db.execute("UPDATE turns SET indexed = 0")


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _add_indexes(db: sqlite3.Connection) -> None:
    db.execute("CREATE INDEX turns_in_order ON turns (conversation, position)")
    db.execute("CREATE INDEX turns_by_model ON turns (model)")
    db.execute("CREATE INDEX turns_by_created ON turns (created_at)")
    db.execute("CREATE INDEX turns_by_duration ON turns (duration)")
    db.execute("CREATE INDEX turns_by_tokens ON turns (tokens)")
    db.execute("CREATE INDEX turns_by_temperature ON turns (temperature)")
    db.execute("CREATE INDEX turns_by_top_p ON turns (top_p)")
    db.execute("CREATE INDEX turns_not_indexed ON turns (number) WHERE indexed = 0")


def configure_connection(db: sqlite3.Connection, journal: Journal) -> None:
    """Set the PRAGMAs of a connection; WAL needs shared memory, which network file systems don't have."""
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA cache_size = -8000")
    db.execute("PRAGMA journal_size_limit = 16777216")
    if journal == "wal":
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    else:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = FULL")
