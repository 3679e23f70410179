"""Deleting and forgetting turns wherever they are: on the disk, and waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .pending import Saving
from .query import Query

STILL_READ = (
    "Another program has the history open, so what was forgotten may stand in the WAL beside it until that ends. "
    "Then type %chatglm_history --forget again."
)


def delete(saving: Saving, ids: Sequence[str]) -> int:
    """Delete turns by their ids; return how many there were.

    :raises ChatGLMError: if the file can't be changed now.
    """
    if not saving.has_disk:
        return saving.waiting.database.delete(ids)
    wanted = set(ids)
    late = tuple(id for id in saving.waiting.ids if id in wanted)
    new = len(late) - _on_disk(saving, Query(ids=late))
    gone = saving.change(lambda disk: disk.delete(ids)) if saving.has_file else 0
    saving.waiting.delete(late)
    return gone + new


def forget(saving: Saving, conversation: str | None) -> int:
    """Delete a conversation, or all, so that nothing is left of it; return how many turns there were.

    :raises ChatGLMError: if the file can't be changed now.
    """
    waiting = saving.waiting
    if not saving.has_disk:
        return waiting.database.forget(conversation)[0]
    query = Query(conversation=conversation)
    late = [row.turn.id for row in waiting.database.rows(waiting.database.numbers(query))] if len(waiting) else []
    new = len(late) - _on_disk(saving, replace(query, ids=tuple(late)))
    gone, wiped = saving.change(lambda disk: disk.forget(conversation)) if saving.has_file else (0, True)
    if late:
        waiting.delete(late)
    if not wiped:
        saving.tell(STILL_READ)
    return gone + new


def _on_disk(saving: Saving, query: Query) -> int:
    """Return how many of the turns that wait are saved in an older form."""
    return sum(saving.read(lambda disk: [disk.count(query)])) if query.ids else 0
