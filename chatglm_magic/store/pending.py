"""Writing to the store's file, and a buffer in memory for turns that can't be written yet."""

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
    """Turns waiting to be written, in a database in memory that is created on first use."""

    def __init__(self) -> None:
        self._database: Database | None = None
        self._ids: dict[str, None] = {}

    @property
    def database(self) -> Database:
        """The database of these turns."""
        if self._database is None:
            self._database = Database(None)
        return self._database

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of turns to be written, in the order they were added."""
        return tuple(self._ids)

    def put(self, turn: Turn, position: int) -> None:
        """Add or update a turn.

        :raises sqlite3.Error: if there isn't enough memory.
        """
        self.database.put(turn, position)
        self._ids[turn.id] = None

    def turns(self) -> list[tuple[Turn, int]]:
        """Return the turns with their positions, in the order they were added."""
        return [(row.turn, row.position) for row in self.database.rows(self.database.numbers())]

    def delete(self, ids: Sequence[str]) -> None:
        """Remove turns by their ids."""
        self.database.delete(ids)
        for id in ids:
            self._ids.pop(id, None)

    def clear(self) -> None:
        """Remove all turns; an interrupt in the middle leaves ids without turns, which is harmless."""
        database, self._database = self._database, None
        self._ids.clear()
        if database is not None:
            database.close()

    def __len__(self) -> int:
        return len(self._ids)


T = TypeVar("T")

RETRY_AFTER_SECONDS = 2.0
"""The pause after a failed write before the next attempt, so that not every answer waits for one."""

CLOSE_TIMEOUT_SECONDS = 5.0
"""How long closing waits for another process' lock: it may be the last chance to save."""

STORAGE_ERRORS = (sqlite3.Error, OSError)


class BufferedDatabase:
    """The file of a store, if it has one, and a buffer in memory for turns that aren't in it.

    Call every method within :meth:`hold_lock`.
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
        """Hold the lock; in a forked child, first drop the parent's connection, pending turns and notices."""
        with STORE_LOCK:
            if self._file is not None and self._pid != os.getpid():
                self._file.abandon()
                self.pending, self.notices = PendingTurns(), []
            self._pid = os.getpid()
            yield

    @property
    def has_path(self) -> bool:
        """Whether the store has a file, existing or not."""
        return self._file is not None

    @property
    def has_file(self) -> bool:
        """Whether the file exists and wasn't refused."""
        return self._file is not None and not self._is_refused and self._file.exists

    def notify(self, text: str) -> None:
        """Add a notice for the user, unless it is already waiting."""
        if text not in self.notices:
            self.notices.append(text if isinstance(text, Notice) else Notice(text))

    def put(self, turn: Turn, position: int) -> None:
        """Save a turn, or buffer it until it can be saved; errors become notices."""
        saved = False
        try:
            saved = self._flush_if_ready() and self._write(lambda db: db.put(turn, position))
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
        """Try to save all pending turns or none; return whether none is left."""
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
        """Read from the file, or from memory if there is none; return nothing if the file can't be opened.

        :raises ChatGLMError: if the file is open and can't be read now.
        """
        if self._file is None:
            return act(self.pending.database)
        if not self._open_to_read():
            return []
        try:
            return self._file.run(act)
        except (*STORAGE_ERRORS, RefusedFile) as error:
            raise ChatGLMError(f"The history can't be read now: {error}. Try again.", kind="store") from None

    def change(self, act: Callable[[Database], T]) -> T:
        """Change stored turns at the user's request.

        :raises ChatGLMError: if that fails.
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
        """Save pending turns, waiting for other processes that have the file locked, and close it."""
        deadline = time.monotonic() + CLOSE_TIMEOUT_SECONDS
        while not self.flush() and self._was_busy and time.monotonic() < deadline:
            time.sleep(LOCK_POLL_SECONDS)
        if self._file is not None:
            self._file.close()

    def _flush_if_ready(self) -> bool:
        """Flush pending turns first, to keep their order; return whether the next turn can be written now."""
        if self._file is None or self._is_refused:
            return False
        return not self._has_just_failed() and self.flush()

    def _open_to_read(self) -> bool:
        """Open the file if it exists; return whether it can be read."""
        if self._file is None or not self.has_file:
            return False
        return self._file.is_open or (not self._has_just_failed() and self._run(lambda db: None))

    def _has_just_failed(self) -> bool:
        return self._failed_at is not None and time.monotonic() - self._failed_at < self.retry_after

    def _write(self, act: Callable[[Database], object]) -> bool:
        """Call ``act`` to write to the file; return whether it succeeded."""
        if not self._run(act):
            return False
        self._failed_at, self._has_warned = None, False
        return True

    def _run(self, act: Callable[[Database], object]) -> bool:
        """Call ``act`` with the file's database and return whether it succeeded; note the time of a failure, and
        notify the user once."""
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
                reason = error.strerror if isinstance(error, OSError) and error.strerror else error
                self.notify(
                    f"Turns can't be saved in {self._file.path}: {reason}; "
                    "they are kept in memory and tried again."
                )
        else:
            return True
        return False
