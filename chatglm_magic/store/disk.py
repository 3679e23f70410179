"""The store's file: opened when needed, checked before it is written to, moved aside if damaged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..forks import LockOrder, fork_safe_lock
from ..values import Notice
from . import places, schema
from .database import LOCK_TIMEOUT_SECONDS, Database
from .places import RefusedFile, journal_mode_for

T = TypeVar("T")

STORE_LOCK = fork_safe_lock(LockOrder.STORE)
"""Held while a connection of this process is used, and while it forks, so that no child inherits one in use."""

CORRUPTION_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
MIN_DATABASE_BYTES = 512
"""The size of SQLite's smallest page."""
CORRUPT_INDEX_CODE = sqlite3.SQLITE_CORRUPT_VTAB

_inherited: list[Database] = []
"""Connections of a parent process: kept but unused, since closing one here would disturb the parent's."""


class DatabaseFile:
    """The file of a store; the caller holds ``STORE_LOCK``.

    :param notify: is called with each text that users must see.
    """

    def __init__(self, path: Path, notify: Callable[[str], None]) -> None:
        self.path = path
        self._notify = notify
        self._database: Database | None = None
        self._identity: tuple[int, int] | None = None
        self._is_new = False
        self._was_repaired = False
        self._is_read_only = False

    @property
    def exists(self) -> bool:
        """Whether a file of that name exists."""
        return os.path.lexists(self.path)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to it."""
        return self._database is not None

    def run(self, act: Callable[[Database], T]) -> T:
        """Call ``act`` with the database, and again if a repair makes that worthwhile.

        :raises sqlite3.Error: if that fails.
        :raises OSError: if the file can't be opened or created.
        :raises RefusedFile: if it belongs to a newer version, another program or another user.
        """
        try:
            return act(self.connect())
        except sqlite3.DatabaseError as error:
            if not self._repair(error):
                raise
        return act(self.connect())

    def connect(self) -> Database:
        """Return the connection, reopening a file that was removed or replaced in the meantime.

        In a read-only folder the file is opened as immutable: SQLite creates files beside a WAL database
        even to read it.
        """
        is_same_file = places.file_identity(self.path) == self._identity
        is_read_only = places.is_read_only(self.path)
        if self._database is not None and not (is_same_file and self._is_read_only == is_read_only):
            self.close()
        if self._database is None:
            self._is_read_only = is_read_only
            if self._is_read_only:
                places.make_private(self.path)
            else:
                self._is_new = places.create_file(self.path) or self._is_new
            self._identity = places.file_identity(self.path)
            _check_header(self.path, read_only=self._is_read_only)
            self._database = Database(self.path, journal_mode_for(self.path), read_only=self._is_read_only)
            if self._is_new:
                text = f"Turns are saved to {self.path}; %chatglm_config store=off saves none."
                self._notify(Notice(text, routine=True))
                self._is_new = False
        return self._database

    def close(self) -> None:
        """Close the connection."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def abandon(self) -> None:
        """Drop the connection of a parent process without closing it."""
        if self._database is not None:
            _inherited.append(self._database)
            self._database = None

    def _repair(self, error: sqlite3.DatabaseError) -> bool:
        """Repair the cause of an error, once for each store; return whether to try again."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or self._was_repaired or code & 0xFF not in CORRUPTION_CODES:
            return False
        self._was_repaired = True
        if code == CORRUPT_INDEX_CODE and self._database is not None:
            self._database.rebuild_index()
            return True
        self.close()
        assert self._identity is not None
        if moved := places.move_aside(self.path, self._identity):
            self._notify(f"{self.path} was damaged. It was renamed to {moved.name}, and a new file was started.")
        return True


def _check_header(path: Path, *, read_only: bool) -> None:
    """Check a file without writing to it.

    :raises sqlite3.Error: if it isn't a database.
    :raises RefusedFile: if it belongs to a newer version or another program.
    """
    if 0 < path.stat().st_size < MIN_DATABASE_BYTES:  # SQLite would overwrite it
        error = sqlite3.DatabaseError("file is not a database")
        error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
        raise error
    mode = "immutable=1" if read_only else "mode=ro"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", timeout=LOCK_TIMEOUT_SECONDS, uri=True)
    try:
        db.execute("BEGIN")  # one snapshot: another process may be creating the file
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        db.close()
    if application == schema.APPLICATION_ID and version > schema.SCHEMA_VERSION:
        raise RefusedFile(
            f"{path} was written by a newer chatglm-magic and is left as it is; turns are kept in memory. "
            "Type: %pip install -U chatglm-magic"
        )
    if application != schema.APPLICATION_ID and (tables or version):
        raise RefusedFile(
            f"{path} is another program's database and is left as it is; turns are kept in memory. "
            "Choose another file: %chatglm_config store=FILE"
        )
