"""``Store``: save, find and delete turns; saved turns and those waiting to be written look alike."""

from __future__ import annotations

import atexit
import heapq
import uuid
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from ..values import Notice, Turn
from .pending import RETRY_AFTER_SECONDS, BufferedDatabase
from .places import default_path
from .query import NumbersWithKeys, Query, Row, Summary

MAX_MODELS = 50
UNSAVED_OFFSET = 1 << 48
"""Added to the number of a turn that isn't saved yet, which sorts it behind all saved ones."""
WAL_IN_USE = (
    "Another program has the history open, so deleted turns may remain in its WAL file until that program ends. "
    "Then type %chatglm_history --forget again."
)


class Store:
    """Turns, for any thread; nothing is read or written before the first use.

    Turns that can't be saved (because the disk is full, the file locked or the folder not writable) stay in
    memory. They are found like the others, and saving is tried again with later turns, by :meth:`flush` and when
    Python exits.

    :param path: the file; None keeps turns only in memory, for as long as the store exists.
    :param retry_after: seconds after a failed write before the next attempt; until then turns wait in memory.
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
        """Seconds after a failed write before the next attempt."""
        return self._database.retry_after

    @retry_after.setter
    def retry_after(self, seconds: float) -> None:
        self._database.retry_after = seconds

    @property
    def unsaved(self) -> int:
        """How many turns wait to be written."""
        with self._database.hold_lock():
            return len(self._database.pending)

    def put(self, turn: Turn, position: int) -> None:
        """Insert or update a turn by its id; a failed write is reported by :meth:`take_notices`.

        :param position: its place in the conversation, from 0.
        """
        with self._database.hold_lock():
            self._database.put(turn if turn.id else replace(turn, id=uuid.uuid4().hex), position)

    def add(self, turns: Sequence[tuple[Turn, int]]) -> int:
        """Insert turns with their positions, all or none of them, skipping ids that exist.

        :returns: how many are new.
        :raises ChatGLMError: if they can't be saved.
        """
        with self._database.hold_lock():
            return self._database.change(lambda db: db.add(turns))

    def find(self, query: Query, *, offset: int = 0, limit: int | None = None) -> list[Row]:
        """Return a page of turns.

        :raises ChatGLMError: if the file exists and can't be read now.
        """
        with self._database.hold_lock():
            return self.rows(self.numbers(query, offset=offset, limit=limit))

    def numbers(self, query: Query, *, offset: int = 0, limit: int | None = None) -> list[int]:
        """Return the numbers of a page of turns, for :meth:`rows`; raises the errors of :meth:`find`."""
        database = self._database
        offset, limit = max(offset, 0), limit if limit is None else max(limit, 0)
        with database.hold_lock():
            if not len(database.pending):
                return [number for number, _ in database.read(lambda db: db.find_numbers(query, offset, limit))]
            upto = None if limit is None else offset + limit
            saved = database.read(lambda db: db.find_numbers(query, 0, upto, database.pending.ids))
            pending = database.pending.database.find_numbers(query, 0, upto)
        return _merge_numbers(query, saved, pending, offset, limit)

    def rows(self, numbers: Sequence[int]) -> list[Row]:
        """Return turns by their numbers, in that order, without those deleted in the meantime."""
        database = self._database
        with database.hold_lock():
            rows = database.read(lambda db: db.rows([n for n in numbers if n < UNSAVED_OFFSET]))
            unsaved = [number - UNSAVED_OFFSET for number in numbers if number >= UNSAVED_OFFSET]
            if not unsaved:
                return rows
            rows += [
                row._replace(number=row.number + UNSAVED_OFFSET) for row in database.pending.database.rows(unsaved)
            ]
        by_number = {row.number: row for row in rows}
        return [by_number[number] for number in numbers if number in by_number]

    def count(self, query: Query) -> int:
        """Return how many turns match a query; raises the errors of :meth:`find`."""
        database = self._database
        with database.hold_lock():
            saved = sum(database.read(lambda db: [db.count(query, database.pending.ids)]))
            return saved + (database.pending.database.count(query) if len(database.pending) else 0)

    def conversations(self, *, offset: int = 0, limit: int = 20) -> list[Summary]:
        """Return a page of conversations, the last used first; raises the errors of :meth:`find`."""
        database = self._database
        with database.hold_lock():
            if not len(database.pending):
                return database.read(lambda db: db.conversations(offset, limit))
            saved = database.read(lambda db: db.conversations(0, -1))
            pending = database.pending.database.conversations(0, -1)

            def count_updates(conversation: str) -> int:
                return _count_saved(database, Query(conversation=conversation, ids=database.pending.ids))

            return _merge_summaries(saved, pending, count_updates)[offset : offset + limit]

    def models(self) -> list[str]:
        """Return the names of at most 50 models, the last used first; raises the errors of :meth:`find`."""
        database = self._database
        with database.hold_lock():
            pending = database.pending.database.models(MAX_MODELS) if len(database.pending) else []
            saved = database.read(lambda db: db.models(MAX_MODELS))
        return list(dict.fromkeys((*pending, *saved)))[:MAX_MODELS]

    def delete(self, ids: Sequence[str]) -> int:
        """Delete turns permanently by their ids; return how many existed.

        :raises ChatGLMError: if the file can't be changed now.
        """
        database = self._database
        with database.hold_lock():
            if not database.has_path:
                return database.pending.database.delete(ids)
            wanted = set(ids)
            unsaved = tuple(id for id in database.pending.ids if id in wanted)
            never_saved = len(unsaved) - _count_saved(database, Query(ids=unsaved))
            deleted = database.change(lambda db: db.delete(ids)) if database.has_file else 0
            database.pending.delete(unsaved)
            return deleted + never_saved

    def forget(self, conversation: str | None = None) -> int:
        """Delete a conversation, or all, and wipe the index, the free pages and the WAL; return how many turns.

        If another process keeps the WAL from being wiped, :meth:`take_notices` reports it.

        :raises ChatGLMError: if the file can't be changed now.
        """
        database = self._database
        with database.hold_lock():
            pending = database.pending
            if not database.has_path:
                return pending.database.forget(conversation)[0]
            query = Query(conversation=conversation)
            rows = pending.database.rows(pending.database.numbers(query)) if len(pending) else []
            ids = tuple(row.turn.id for row in rows)
            never_saved = len(ids) - _count_saved(database, replace(query, ids=ids))
            deleted, wiped = (
                database.change(lambda db: db.forget(conversation)) if database.has_file else (0, True)
            )
            if ids:
                pending.delete(ids)
            if not wiped:
                database.notify(WAL_IN_USE)
            return deleted + never_saved

    def take_notices(self) -> list[Notice]:
        """Return what users must know, each once: where turns are, what was moved, what can't be saved."""
        with self._database.hold_lock():
            notices, self._database.notices = self._database.notices, []
        return notices

    def flush(self) -> bool:
        """Try to save pending turns at once; return whether none is left."""
        with self._database.hold_lock():
            return self._database.flush()

    def close(self) -> None:
        """Save pending turns and close the file; the next use opens it again."""
        with self._database.hold_lock():
            self._database.close()


_stores: weakref.WeakSet[Store] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Save pending turns when Python exits."""
    for store in list(_stores):
        store.close()


def _count_saved(database: BufferedDatabase, query: Query) -> int:
    """Return how many pending turns, given by ``query.ids``, are saved in an older form."""
    return sum(database.read(lambda db: [db.count(query)])) if query.ids else 0


def _merge_numbers(
    query: Query, saved: NumbersWithKeys, pending: NumbersWithKeys, offset: int, limit: int | None
) -> list[int]:
    """Return the numbers of a page of saved and pending turns."""
    key = _sort_key(query)
    both = heapq.merge(saved, ((number + UNSAVED_OFFSET, value) for number, value in pending), key=key)
    return [number for number, _ in islice(both, offset, None if limit is None else offset + limit)]


def _sort_key(query: Query) -> Callable[[tuple[int, float | None]], tuple[bool, float, int]]:
    """Return the key by which the SQL statements sort."""
    by_number = query.order == "newest" or (query.order == "position" and query.conversation is None)
    sign = -1 if query.reverse != (query.order == "newest") else 1

    def key(item: tuple[int, float | None]) -> tuple[bool, float, int]:
        number, value = item
        if by_number:
            return False, sign * number, 0
        return value is None, sign * (value or 0), sign * number

    return key


def _merge_summaries(
    saved: Sequence[Summary], pending: Sequence[Summary], count_updates: Callable[[str], int]
) -> list[Summary]:
    """Return saved and pending conversations, the last used first.

    :param count_updates: returns how many pending turns of a conversation update saved ones.
    """
    remaining = {summary.id: summary for summary in saved}
    merged = []
    for summary in pending:
        if old := remaining.pop(summary.id, None):
            turns = old.turns + summary.turns - count_updates(summary.id)
            summary = old._replace(turns=turns, last=summary.last)
        merged.append(summary)
    return [*merged, *remaining.values()]
