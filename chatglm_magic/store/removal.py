"""Deleting and forgetting turns wherever they are: on the disk, and waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .query import Query
from .saving import Saving

STILL_READ = (
    "Another program has the history open, so what was forgotten may stand in the WAL beside it until that ends. "
    "Then type %chatglm_history --forget again."
)


def delete(saving: Saving, ids: Sequence[str]) -> int:
    """Delete turns by their ids; return how many there were.

    :raises ChatGLMError: if the file can't be changed now.
    """
    if not saving.has_disk:
        return saving.memory.delete(ids)
    late = tuple(id for id in saving.unsaved if id in set(ids))
    new = len(late) - sum(saving.read(lambda disk: [disk.count(Query(ids=late))]))
    gone = saving.change(lambda disk: disk.delete(ids)) if saving.has_file else 0
    if late:
        saving.memory.delete(late)
        saving.unsaved = tuple(id for id in saving.unsaved if id not in late)
    return gone + new


def forget(saving: Saving, conversation: str | None) -> int:
    """Delete a conversation, or all, so that nothing is left of it; return how many turns there were.

    :raises ChatGLMError: if the file can't be changed now.
    """
    if not saving.has_disk:
        return saving.memory.forget(conversation)[0]
    query = Query(conversation=conversation)
    old = replace(query, ids=saving.unsaved)
    new = saving.memory.count(query) - sum(saving.read(lambda disk: [disk.count(old)]))
    gone, wiped = saving.change(lambda disk: disk.forget(conversation)) if saving.has_file else (0, True)
    saving.memory.forget(conversation)
    saving.unsaved = tuple(row.turn.id for row in saving.memory.rows(saving.memory.numbers()))
    if not wiped:
        saving.tell(STILL_READ)
    return gone + new
