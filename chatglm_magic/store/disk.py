"""The store's file: opened when needed, looked at before it is written to, moved aside if broken."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..forks import LockOrder, fork_safe_lock
from ..values import Notice
from . import places, schema
from .database import PATIENCE, Database
from .places import RefusedFile, journal_for

T = TypeVar("T")

LOCK = fork_safe_lock(LockOrder.STORE)
"""Held by whoever uses a connection of this process, and while it forks: a child must not find one half way."""

BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
SMALLEST = 512
"""Bytes of SQLite's smallest page."""
BROKEN_INDEX = sqlite3.SQLITE_CORRUPT_VTAB

_inherited: list[Database] = []
"""Connections of a parent process. To close one here would disturb the parent's, so they are kept and not used."""


class Disk:
    """The file of a store; the caller holds ``LOCK``.

    :param tell: is given what people must know.
    """

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self.path = path
        self._tell = tell
        self._database: Database | None = None
        self._which: tuple[int, int] | None = None
        self._new = False
        self._moved = False
        self._read_only = False

    @property
    def there(self) -> bool:
        """Whether there is a file of that name."""
        return os.path.lexists(self.path)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to it."""
        return self._database is not None

    def run(self, act: Callable[[Database], T]) -> T:
        """Do something with the database.

        :raises sqlite3.Error: if it can't be done.
        :raises OSError: if the file can't be opened or made.
        :raises RefusedFile: if it is a newer version's, another program's or another user's.
        """
        try:
            return act(self.database())
        except sqlite3.DatabaseError as error:
            if not self._mended(error):
                raise
        return act(self.database())

    def database(self) -> Database:
        """Return the connection; a file that was removed or replaced meanwhile is opened again.

        Where nothing can be written beside it, it is opened as it lies there: SQLite's log needs a file of its own
        even to read.
        """
        known = places.identity(self.path) == self._which and self._read_only == places.is_read_only(self.path)
        if self._database is not None and not known:
            self.close()
        if self._database is None:
            self._read_only = places.is_read_only(self.path)
            if self._read_only:
                places.check(self.path)
            else:
                self._new = places.make(self.path) or self._new
            self._which = places.identity(self.path)
            _look(self.path, read_only=self._read_only)
            self._database = Database(self.path, journal_for(self.path), read_only=self._read_only)
            if self._new:
                where = f"Turns are kept in {self.path}; %chatglm_config store=off keeps none."
                self._tell(Notice(where, routine=True))
                self._new = False
        return self._database

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def abandon(self) -> None:
        """Leave a parent process' connection alone."""
        if self._database is not None:
            _inherited.append(self._database)
            self._database = None

    def _mended(self, error: sqlite3.DatabaseError) -> bool:
        """Do away with what made an error, once for each store; tell whether to try again."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is None or self._moved or code & 0xFF not in BROKEN:
            return False
        self._moved = True
        if code == BROKEN_INDEX and self._database is not None:
            self._database.rebuild_index()
            return True
        self.close()
        assert self._which is not None
        if moved := places.move_aside(self.path, self._which):
            self._tell(f"{self.path} was damaged: it is kept as {moved.name}, and a new one was begun.")
        return True


def _look(path: Path, *, read_only: bool) -> None:
    """Look at a file without writing to it.

    :raises sqlite3.Error: if it isn't a database.
    :raises RefusedFile: if it is not for this version.
    """
    if 0 < path.stat().st_size < SMALLEST:  # SQLite would write over it
        error = sqlite3.DatabaseError("file is not a database")
        error.sqlite_errorcode = sqlite3.SQLITE_NOTADB
        raise error
    how = "immutable=1" if read_only else "mode=ro"
    db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", timeout=PATIENCE, uri=True)
    try:
        db.execute("BEGIN")  # all of it at one moment: another process may be making the file
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (application,) = db.execute("PRAGMA application_id").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        db.close()
    if application == schema.APPLICATION and version > schema.VERSION:
        raise RefusedFile(
            f"{path} was written by a newer chatglm-magic and is left as it is; turns are kept in memory. "
            "Type: %pip install -U chatglm-magic"
        )
    if application != schema.APPLICATION and (tables or version):
        raise RefusedFile(
            f"{path} is another program's database and is left as it is; turns are kept in memory. "
            "Choose another file: %chatglm_config store=FILE"
        )
