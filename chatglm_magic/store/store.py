"""``Store``: every turn, put, found and forgotten; what is saved and what waits for the disk look alike."""

from __future__ import annotations

import atexit
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..values import Notice, Turn
from . import merging, removal
from .pending import RETRY_AFTER_SECONDS, BufferedDatabase
from .places import default_path
from .query import Query, Row, Summary

MAX_MODELS = 50


class Store:
    """Turns, for any thread; nothing is read or written before the first use.

    What can't be saved (a full or locked disk, a folder that is not writable) stays in memory, is found all the
    same, and is tried again with later turns, by :meth:`flush` and when Python ends.

    :param path: the file; None keeps turns in memory alone, for as long as the store lives.
    :param retry_after: seconds after a failed write before the next one is tried; until then turns wait in memory.
    """

    def __init__(self, path: Path | None, *, retry_after: float = RETRY_AFTER_SECONDS) -> None:
        self.path = path
        self._database = BufferedDatabase(path, retry_after)
        _stores.add(self)

    @staticmethod
    def default_path() -> Path:
        """Return ``$CHATGLM_MAGIC_HOME/history.sqlite``, else the file in Jupyter's data directory."""
        return default_path()

    @property
    def retry_after(self) -> float:
        """Seconds after a failed write before the next one is tried."""
        return self._database.retry_after

    @retry_after.setter
    def retry_after(self, seconds: float) -> None:
        self._database.retry_after = seconds

    @property
    def unsaved(self) -> int:
        """How many turns wait for the disk."""
        with self._database.hold_lock():
            return len(self._database.pending)

    def put(self, turn: Turn, position: int) -> None:
        """Insert a turn, or bring the one of that id up to date; a disk's fault is told by :meth:`news`.

        :param position: its place in the conversation, from 0.
        """
        with self._database.hold_lock():
            self._database.put(turn if turn.id else replace(turn, id=uuid.uuid4().hex), position)

    def add(self, turns: Sequence[tuple[Turn, int]]) -> int:
        """Insert turns with their positions, all or none; those whose id is there are skipped.

        :returns: how many are new.
        :raises ChatGLMError: if they can't be saved.
        """
        with self._database.hold_lock():
            return self._database.change(lambda db: db.add(turns))

    def find(self, query: Query, *, offset: int = 0, limit: int | None = None) -> list[Row]:
        """Return a page of turns.

        :raises ChatGLMError: if the file is there and can't be read now.
        """
        with self._database.hold_lock():
            return self.rows(self.numbers(query, offset=offset, limit=limit))

    def numbers(self, query: Query, *, offset: int = 0, limit: int | None = None) -> list[int]:
        """Return the numbers of a page of turns, for :meth:`rows`; the errors are those of :meth:`find`."""
        database = self._database
        offset, limit = max(offset, 0), limit if limit is None else max(limit, 0)
        with database.hold_lock():
            if not len(database.pending):
                return [number for number, _ in database.read(lambda db: db.find_numbers(query, offset, limit))]
            upto = None if limit is None else offset + limit
            saved = database.read(lambda db: db.find_numbers(query, 0, upto, database.pending.ids))
            waiting = database.pending.database.find_numbers(query, 0, upto)
        return merging.merged(query, saved, waiting, offset, limit)

    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """Return turns by their numbers, in that order; those that are gone meanwhile are left out."""
        database = self._database
        with database.hold_lock():
            found = database.read(lambda db: db.rows([n for n in numbers if n < merging.UNSAVED]))
            late = [number - merging.UNSAVED for number in numbers if number >= merging.UNSAVED]
            if not late:
                return found
            found += [
                row._replace(number=row.number + merging.UNSAVED) for row in database.pending.database.rows(late)
            ]
        by_number = {row.number: row for row in found}
        return [by_number[number] for number in numbers if number in by_number]

    def count(self, query: Query) -> int:
        """Return how many turns there are; the errors are those of :meth:`find`."""
        database = self._database
        with database.hold_lock():
            found = sum(database.read(lambda db: [db.count(query, database.pending.ids)]))
            return found + (database.pending.database.count(query) if len(database.pending) else 0)

    def conversations(self, *, offset: int = 0, limit: int = 20) -> list[Summary]:
        """Return a page of conversations, the last used first; the errors are those of :meth:`find`."""
        database = self._database
        with database.hold_lock():
            if not len(database.pending):
                return database.read(lambda db: db.conversations(offset, limit))
            saved = database.read(lambda db: db.conversations(0, -1))
            waiting = database.pending.database.conversations(0, -1)

            def again(conversation: str) -> int:
                query = Query(conversation=conversation, ids=database.pending.ids)
                return sum(database.read(lambda db: [db.count(query)]))

            return merging.summaries(saved, waiting, again)[offset : offset + limit]

    def models(self) -> list[str]:
        """Return the names of at most 50 models, the last used first; the errors are those of :meth:`find`."""
        database = self._database
        with database.hold_lock():
            waiting = database.pending.database.models(MAX_MODELS) if len(database.pending) else []
            saved = database.read(lambda db: db.models(MAX_MODELS))
        return list(dict.fromkeys((*waiting, *saved)))[:MAX_MODELS]

    def delete(self, ids: Sequence[str]) -> int:
        """Delete turns for good, by their ids; return how many there were.

        :raises ChatGLMError: if the file can't be changed now.
        """
        with self._database.hold_lock():
            return removal.delete(self._database, ids)

    def forget(self, conversation: str | None = None) -> int:
        """Delete a conversation, or all, and wipe the index, the free pages and the WAL; return how many turns.

        Where another process keeps the WAL from being wiped, :meth:`news` says so.

        :raises ChatGLMError: if the file can't be changed now.
        """
        with self._database.hold_lock():
            return removal.forget(self._database, conversation)

    def news(self) -> list[Notice]:
        """Return what people must be told, each once: where turns are, what was moved, what can't be saved."""
        with self._database.hold_lock():
            told, self._database.notices = self._database.notices, []
        return told

    def flush(self) -> bool:
        """Try at once to save what waits; tell whether nothing is left."""
        with self._database.hold_lock():
            return self._database.flush()

    def close(self) -> None:
        """Save what waits and let go of the file; it is opened again when it is used."""
        with self._database.hold_lock():
            self._database.close()


_stores: weakref.WeakSet[Store] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Save what waits when Python ends."""
    for store in list(_stores):
        store.close()
