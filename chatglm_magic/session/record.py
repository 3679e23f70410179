"""What was asked and answered: the conversation in memory, and the store beneath it, kept alike."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ChatGLMError, ParameterError
from ..values import Pair, Turn
from .conversation import Conversation, Entry, Place

if TYPE_CHECKING:
    from ..store import Store

PAGE = 20
"""Conversations that are looked through at a time."""


class Record:
    """The turns of a session; the caller holds the session's lock.

    Every change goes to memory first and then to the store, which never fails for a disk's fault.
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store
        self.conversation = Conversation()

    def adopt(self, pairs: Sequence[Pair]) -> None:
        """Take over what was changed through ``session.llm.history``."""
        for entry in self.conversation.adopt(pairs):
            self.put(entry)

    def place(self, cell: tuple[str | None, int], again: str | None) -> Place:
        """Find the place of a question.

        :raises ParameterError: if the turn it is to take the place of is not of this conversation.
        """
        if again is None:
            return self.conversation.place(*cell)
        place = self.conversation.again(again)
        if place is None:
            raise ParameterError("That turn is not of this conversation: %chatglm_history lists its turns.")
        return place

    def begin(self, place: Place, turn: Turn) -> Entry:
        """Hold a place for an answer under way."""
        entry = self.conversation.begin(place, turn)
        for changed in (*place.old, entry):
            self.put(changed)
        return entry

    def finish(self, entry: Entry, turn: Turn) -> None:
        """Put the finished turn into its place; it stays with the conversation it was asked in."""
        entry.turn, entry.pending = turn, False
        self.put(entry)

    def put(self, entry: Entry) -> None:
        """Store a turn as it stands."""
        self._store().put(entry.turn, entry.position)

    def undo(self) -> Turn | None:
        """Take the last turn back; it stays in the store, marked as superseded."""
        entry = self.conversation.undo()
        if entry is None:
            return None
        turn, entry.turn = entry.turn, replace(entry.turn, status="superseded")
        self.put(entry)
        return turn

    def reset(self) -> None:
        """Begin a new conversation; the one before stays in the store."""
        self.conversation = Conversation()

    def resume(self, conversation: str | None) -> int:
        """Go on with a stored conversation, the newest other one by default; return how many turns it has.

        :raises ChatGLMError: if there is none of that id.
        """
        found = conversation or next(self._earlier(), None)
        entries = self._stored(found) if found else []
        if not found or not entries:
            what = f"no conversation {conversation}" if conversation else "no earlier conversation"
            raise ChatGLMError(f"There is {what}: %chatglm_history --all lists what is kept.", kind="not_found")
        self.conversation = Conversation(found, entries)
        return len(entries)

    def _earlier(self) -> Iterator[str]:
        """Yield the ids of the other conversations, the last used first; a sweep isn't one."""
        from ..store import Query

        store = self._store()
        for offset in itertools.count(0, PAGE):
            page = store.conversations(offset=offset, limit=PAGE)
            for other in page:
                first = store.find(Query(conversation=other.id), limit=1)
                if other.id != self.conversation.id and first and first[0].turn.kind != "sweep":
                    yield other.id
            if len(page) < PAGE:
                return

    def fork(self, turn: str | None, *, before: bool) -> str:
        """Begin a conversation with copies of what a turn saw, and of the turn itself unless ``before``.

        :raises ChatGLMError: if no turn has that id.
        """
        new = Conversation()
        if turn is not None:
            for number, old in enumerate(self._until(turn, before=before)):
                copy = replace(old, id=uuid.uuid4().hex, conversation=new.id, cell_id=None, cell_run=0)
                new.entries.append(Entry(copy, number))
        self.conversation = new
        for entry in new.entries:
            self.put(entry)
        return new.id

    def delete(self, ids: Sequence[str]) -> int:
        """Take turns out of memory and store for good; return how many there were."""
        kept = [entry for entry in self.conversation.entries if entry.turn.id not in ids or entry.pending]
        self.conversation.entries = kept
        return self._store().delete(list(ids))

    def forget(self, *, everything: bool) -> int:
        """Forget the present conversation, or all of them, for good; return how many turns that were."""
        gone = self._store().forget(None if everything else self.conversation.id)
        self.reset()
        return gone

    def _until(self, turn: str, *, before: bool) -> list[Turn]:
        """Return the turns that one saw, as far as they are part of the conversation, and that turn."""
        entries = self.conversation.entries
        if not any(entry.turn.id == turn for entry in entries):
            from ..store import Query

            found = self._store().find(Query(ids=(turn,)))
            if not found:
                raise ChatGLMError("There is no such turn: %chatglm_history lists them.", kind="not_found")
            entries = self._stored(found[0].turn.conversation)
        at = next(n for n, entry in enumerate(entries) if entry.turn.id == turn)
        seen, last = [entry.turn for entry in entries[:at] if entry.sendable], entries[at].turn
        if last.status == "superseded" and last.answer and not last.error:
            last = replace(last, status="complete")  # it is what the new conversation goes on from
        return seen if before else [*seen, replace(last, outside=False)]

    def _stored(self, conversation: str) -> list[Entry]:
        from ..store import Query

        return [Entry(row.turn, row.position) for row in self._store().find(Query(conversation=conversation))]
