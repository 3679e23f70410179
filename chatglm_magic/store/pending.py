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
from .database import LOOK, Database
from .disk import LOCK, Disk
from .places import RefusedFile


class Waiting:
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

    def keep(self, turn: Turn, position: int) -> None:
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

RETRY_AFTER = 2.0
"""Seconds after a failure before the disk is tried again: an answer must not wait for it each time."""

LAST = 5.0
"""Seconds to wait for another process' lock when the file is closed: it may be the last chance to save."""

FAULTS = (sqlite3.Error, OSError)


class Saving:
    """The disk of a store, if it has one, and the database in memory for what is not on it.

    Every method is called within :meth:`held`.
    """

    def __init__(self, path: Path | None, retry_after: float = RETRY_AFTER) -> None:
        self.retry_after = retry_after
        self._disk = None if path is None else Disk(path, self.tell)
        self.waiting = Waiting()
        self.news: list[Notice] = []
        self._failed: float | None = None
        self._busy = False
        self._warned = False
        self._refused = False
        self._pid = os.getpid()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; in a forked child, begin without what is the parent's."""
        with LOCK:
            if self._disk is not None and self._pid != os.getpid():
                self._disk.abandon()
                self.waiting, self.news = Waiting(), []
            self._pid = os.getpid()
            yield

    @property
    def has_disk(self) -> bool:
        """Whether there is a file to write to, now or some time."""
        return self._disk is not None

    @property
    def has_file(self) -> bool:
        """Whether a file of ours is there, or what may be one."""
        return self._disk is not None and not self._refused and self._disk.there

    def tell(self, text: str) -> None:
        """Keep what people must know; it is handed out once."""
        if text not in self.news:
            self.news.append(text if isinstance(text, Notice) else Notice(text))

    def put(self, turn: Turn, position: int) -> None:
        """Save a turn, or keep it until it can be saved; a fault is told and not raised."""
        saved = False
        try:
            saved = self._ready() and self._saved(lambda disk: disk.put(turn, position))
        finally:  # an interrupt must not lose it either
            if not saved:
                self._keep(turn, position)

    def _keep(self, turn: Turn, position: int) -> None:
        try:
            if self._disk is None:
                self.waiting.database.put(turn, position)
            else:
                self.waiting.keep(turn, position)
        except sqlite3.Error as error:
            self.tell(f"A turn can't be kept: {error}.")

    def flush(self) -> bool:
        """Try to save what waits, all of it or nothing; tell whether nothing is left."""
        if not len(self.waiting):
            return True
        if self._refused:
            return False
        turns = self.waiting.turns()
        if not self._saved(lambda disk: disk.put_all(turns)):
            return False
        self.waiting.clear()
        return True

    def read(self, act: Callable[[Database], list[T]]) -> list[T]:
        """Read from the disk, or from memory where there is none; nothing is there if the disk can't be opened.

        :raises ChatGLMError: if the file is there and can't be read now.
        """
        if self._disk is None:
            return act(self.waiting.database)
        if not self._readable():
            return []
        try:
            return self._disk.run(act)
        except (*FAULTS, RefusedFile) as error:
            raise ChatGLMError(f"The history can't be read now: {error}. Try again.", kind="store") from None

    def change(self, act: Callable[[Database], T]) -> T:
        """Change what is stored, at the user's command.

        :raises ChatGLMError: if it can't be done.
        """
        if self._disk is None:
            return act(self.waiting.database)
        try:
            return self._disk.run(act)
        except RefusedFile as error:
            raise ChatGLMError(str(error), kind="store") from None
        except FAULTS as error:
            raise ChatGLMError(
                f"The history in {self._disk.path} can't be changed now: {error}. Try again.", kind="store"
            ) from None

    def close(self) -> None:
        """Save what waits, after others if they hold the file, and let go of it."""
        last = time.monotonic() + LAST
        while not self.flush() and self._busy and time.monotonic() < last:
            time.sleep(LOOK)
        if self._disk is not None:
            self._disk.close()

    def _ready(self) -> bool:
        """Tell whether the disk is worth a try; what waits goes first, for the order of asking."""
        if self._disk is None or self._refused:
            return False
        return not self._just_failed() and self.flush()

    def _readable(self) -> bool:
        """Tell whether there is a file to read; none is made for that."""
        if self._disk is None or not self.has_file:
            return False
        return self._disk.is_open or (not self._just_failed() and self._tried(lambda disk: None))

    def _just_failed(self) -> bool:
        return self._failed is not None and time.monotonic() - self._failed < self.retry_after

    def _saved(self, act: Callable[[Database], object]) -> bool:
        """Write something to the disk; tell whether it went well."""
        if not self._tried(act):
            return False
        self._failed, self._warned = None, False
        return True

    def _tried(self, act: Callable[[Database], object]) -> bool:
        """Do something with the disk; if it fails, take note of when, and tell people once."""
        assert self._disk is not None
        self._busy = False
        try:
            self._disk.run(act)
        except RefusedFile as error:
            self._refused = True
            self.tell(str(error))
        except FAULTS as error:
            self._failed = time.monotonic()
            self._busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not self._warned:
                self._warned = True
                why = error.strerror if isinstance(error, OSError) and error.strerror else error
                self.tell(
                    f"Turns can't be saved in {self._disk.path}: {why}; they are kept in memory and tried again."
                )
        else:
            return True
        return False
