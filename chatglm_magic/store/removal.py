"""Deleting and forgetting turns wherever they are: on the disk, and waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .pending import BufferedDatabase
from .query import Query

STILL_READ = (
    "Another program has the history open, so what was forgotten may stand in the WAL beside it until that ends. "
    "Then type %chatglm_history --forget again."
)


def delete(database: BufferedDatabase, ids: Sequence[str]) -> int:
    """Delete turns by their ids; return how many there were.

    :raises ChatGLMError: if the file can't be changed now.
    """
    if not database.has_path:
        return database.pending.database.delete(ids)
    wanted = set(ids)
    late = tuple(id for id in database.pending.ids if id in wanted)
    new = len(late) - _on_disk(database, Query(ids=late))
    gone = database.change(lambda db: db.delete(ids)) if database.has_file else 0
    database.pending.delete(late)
    return gone + new


def forget(database: BufferedDatabase, conversation: str | None) -> int:
    """Delete a conversation, or all, so that nothing is left of it; return how many turns there were.

    :raises ChatGLMError: if the file can't be changed now.
    """
    waiting = database.pending
    if not database.has_path:
        return waiting.database.forget(conversation)[0]
    query = Query(conversation=conversation)
    late = [row.turn.id for row in waiting.database.rows(waiting.database.numbers(query))] if len(waiting) else []
    new = len(late) - _on_disk(database, replace(query, ids=tuple(late)))
    gone, wiped = database.change(lambda db: db.forget(conversation)) if database.has_file else (0, True)
    if late:
        waiting.delete(late)
    if not wiped:
        database.notify(STILL_READ)
    return gone + new


def _on_disk(database: BufferedDatabase, query: Query) -> int:
    """Return how many of the turns that wait are saved in an older form."""
    return sum(database.read(lambda db: [db.count(query)])) if query.ids else 0
