"""Turns on their way to the file: a queue that writes them, and what waits while it can't be written."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ..errors import ChatGLMError
from ..values import Notice, Turn
from .database import LOCK_POLL_SECONDS, Database
from .disk import STORE_LOCK, DatabaseFile
from .places import RefusedFile


class PendingTurns:
    """A database in memory that is made when it is first needed."""

    def __init__(self) -> None:
        self._database: Database | None = None
        self._ids: dict[str, None] = {}

    @property
    def database(self) -> Database:
        """The turns, to look into."""
        if self._database is None:
            self._database = Database(None)
        return self._database

    @property
    def ids(self) -> tuple[str, ...]:
        """Whose turns wait for the disk, in the order in which they came."""
        return tuple(self._ids)

    def put(self, turn: Turn, position: int) -> None:
        """Take a turn in, or bring it up to date.

        :raises sqlite3.Error: if memory can't take it.
        """
        self.database.put(turn, position)
        self._ids[turn.id] = None

    def turns(self) -> list[tuple[Turn, int]]:
        """Return the turns with their positions, in the order in which they came."""
        return [(row.turn, row.position) for row in self.database.rows(self.database.numbers())]

    def delete(self, ids: Sequence[str]) -> None:
        """Let go of some turns."""
        self.database.delete(ids)
        for id in ids:
            self._ids.pop(id, None)

    def clear(self) -> None:
        """Let go of everything; an interrupt in between leaves names without turns, which do no harm."""
        database, self._database = self._database, None
        self._ids.clear()
        if database is not None:
            database.close()

    def __len__(self) -> int:
        return len(self._ids)


T = TypeVar("T")

RETRY_AFTER_SECONDS = 2.0
"""Seconds after a failure before the disk is tried again: an answer must not wait for it each time."""

CLOSE_TIMEOUT_SECONDS = 5.0
"""Seconds to wait for another process' lock when the file is closed: it may be the last chance to save."""

STORAGE_ERRORS = (sqlite3.Error, OSError)


class BufferedDatabase:
    """The disk of a store, if it has one, and the database in memory for what is not on it.

    Every method is called within :meth:`hold_lock`.
    """

    def __init__(self, path: Path | None, retry_after: float = RETRY_AFTER_SECONDS) -> None:
        self.retry_after = retry_after
        self._file = None if path is None else DatabaseFile(path, self.notify)
        self.pending = PendingTurns()
        self.notices: list[Notice] = []
        self._failed_at: float | None = None
        self._was_busy = False
        self._has_warned = False
        self._is_refused = False
        self._pid = os.getpid()

    @contextmanager
    def hold_lock(self) -> Iterator[None]:
        """Hold the lock; in a forked child, begin without what is the parent's."""
        with STORE_LOCK:
            if self._file is not None and self._pid != os.getpid():
                self._file.abandon()
                self.pending, self.notices = PendingTurns(), []
            self._pid = os.getpid()
            yield

    @property
    def has_path(self) -> bool:
        """Whether there is a file to write to, now or some time."""
        return self._file is not None

    @property
    def has_file(self) -> bool:
        """Whether a file of ours is there, or what may be one."""
        return self._file is not None and not self._is_refused and self._file.exists

    def notify(self, text: str) -> None:
        """Keep what people must know; it is handed out once."""
        if text not in self.notices:
            self.notices.append(text if isinstance(text, Notice) else Notice(text))

    def put(self, turn: Turn, position: int) -> None:
        """Save a turn, or keep it until it can be saved; a fault is told and not raised."""
        saved = False
        try:
            saved = self._can_write() and self._write(lambda db: db.put(turn, position))
        finally:  # an interrupt must not lose it either
            if not saved:
                self._buffer(turn, position)

    def _buffer(self, turn: Turn, position: int) -> None:
        try:
            if self._file is None:
                self.pending.database.put(turn, position)
            else:
                self.pending.put(turn, position)
        except sqlite3.Error as error:
            self.notify(f"A turn can't be kept: {error}.")

    def flush(self) -> bool:
        """Try to save what waits, all of it or nothing; tell whether nothing is left."""
        if not len(self.pending):
            return True
        if self._is_refused:
            return False
        turns = self.pending.turns()
        if not self._write(lambda db: db.put_all(turns)):
            return False
        self.pending.clear()
        return True

    def read(self, act: Callable[[Database], list[T]]) -> list[T]:
        """Read from the disk, or from memory where there is none; nothing is there if the disk can't be opened.

        :raises ChatGLMError: if the file is there and can't be read now.
        """
        if self._file is None:
            return act(self.pending.database)
        if not self._can_read():
            return []
        try:
            return self._file.run(act)
        except (*STORAGE_ERRORS, RefusedFile) as error:
            raise ChatGLMError(f"The history can't be read now: {error}. Try again.", kind="store") from None

    def change(self, act: Callable[[Database], T]) -> T:
        """Change what is stored, at the user's command.

        :raises ChatGLMError: if it can't be done.
        """
        if self._file is None:
            return act(self.pending.database)
        try:
            return self._file.run(act)
        except RefusedFile as error:
            raise ChatGLMError(str(error), kind="store") from None
        except STORAGE_ERRORS as error:
            raise ChatGLMError(
                f"The history in {self._file.path} can't be changed now: {error}. Try again.", kind="store"
            ) from None

    def close(self) -> None:
        """Save what waits, after others if they hold the file, and let go of it."""
        last = time.monotonic() + CLOSE_TIMEOUT_SECONDS
        while not self.flush() and self._was_busy and time.monotonic() < last:
            time.sleep(LOCK_POLL_SECONDS)
        if self._file is not None:
            self._file.close()

    def _can_write(self) -> bool:
        """Tell whether the disk is worth a try; what waits goes first, for the order of asking."""
        if self._file is None or self._is_refused:
            return False
        return not self._has_just_failed() and self.flush()

    def _can_read(self) -> bool:
        """Tell whether there is a file to read; none is made for that."""
        if self._file is None or not self.has_file:
            return False
        return self._file.is_open or (not self._has_just_failed() and self._try(lambda db: None))

    def _has_just_failed(self) -> bool:
        return self._failed_at is not None and time.monotonic() - self._failed_at < self.retry_after

    def _write(self, act: Callable[[Database], object]) -> bool:
        """Write something to the disk; tell whether it went well."""
        if not self._try(act):
            return False
        self._failed_at, self._has_warned = None, False
        return True

    def _try(self, act: Callable[[Database], object]) -> bool:
        """Do something with the disk; if it fails, take note of when, and tell people once."""
        assert self._file is not None
        self._was_busy = False
        try:
            self._file.run(act)
        except RefusedFile as error:
            self._is_refused = True
            self.notify(str(error))
        except STORAGE_ERRORS as error:
            self._failed_at = time.monotonic()
            self._was_busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not self._has_warned:
                self._has_warned = True
                why = error.strerror if isinstance(error, OSError) and error.strerror else error
                self.notify(
                    f"Turns can't be saved in {self._file.path}: {why}; they are kept in memory and tried again."
                )
        else:
            return True
        return False
