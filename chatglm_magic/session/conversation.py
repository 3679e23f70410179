"""The turns of a conversation in order, with the context of each; in memory and in the store."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import ChatGLMError, ParameterError
from ..values import Pair, Turn

if TYPE_CHECKING:
    from ..store import Store


PAGE_SIZE = 20
"""How many stored conversations are read at a time."""


@dataclass(eq=False)
class Entry:
    """A turn in the conversation.

    ``position`` is its number as stored: a turn that replaces another has the same one. ``pending`` is true until
    its answer has ended.
    """

    turn: Turn
    position: int = 0
    pending: bool = False

    @property
    def is_in_context(self) -> bool:
        """Whether the turn is included in later requests."""
        done = self.turn.status == "complete" and not self.pending
        return done and bool(self.turn.answer) and not self.turn.outside


@dataclass(frozen=True)
class InsertionPoint:
    """Where a new turn goes, its context, and the entries it supersedes."""

    index: int
    position: int
    history: tuple[Pair, ...]
    superseded: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Versions:
    """The answers to one prompt, oldest first; ``current`` is the index of the one in the conversation.

    ``pending`` is true until that one has ended.
    """

    turns: tuple[Turn, ...]
    current: int
    pending: bool = False

    @property
    def turn(self) -> Turn:
        """The version that is part of the conversation."""
        return self.turns[self.current]


class Conversation:
    """All turns of a conversation; a new run of a cell supersedes the turns of that cell's earlier runs.

    Superseded turns are kept, but not sent; turns after them are unaffected. ``id`` is 12 hex digits.
    """

    def __init__(self, id: str | None = None, entries: Iterable[Entry] = ()) -> None:
        self.id = id or uuid.uuid4().hex[:12]
        self.entries: list[Entry] = list(entries)

    @property
    def turns(self) -> list[Turn]:
        return [entry.turn for entry in self.entries if not entry.pending]

    def pairs(self) -> list[Pair]:
        """Return the context of a prompt at the end of the conversation."""
        return [entry.turn.pair for entry in self.entries if entry.is_in_context]

    def adopt(self, pairs: Sequence[Pair]) -> list[Entry]:
        """Apply a change of ``session.llm.history``.

        :returns: the entries that are new or changed.
        """
        if list(pairs) == self.pairs():
            return []
        remaining, matches, changed = list(pairs), True, []
        for entry in self.entries:
            if not entry.is_in_context:
                continue
            matches = matches and bool(remaining) and entry.turn.pair == remaining[0]
            if matches:
                remaining.pop(0)
            else:
                entry.turn = replace(entry.turn, status="superseded")
                changed.append(entry)
        new = [
            Entry(Turn(prompt=prompt, answer=answer, id=uuid.uuid4().hex, conversation=self.id), position)
            for position, (prompt, answer) in enumerate(remaining, self._next_position())
        ]
        self.entries += new
        return changed + new

    def point_for_cell(self, cell_id: str | None, cell_run: int) -> InsertionPoint:
        """Return where a turn of this run of a cell goes; nothing is changed yet.

        Without a cell id, nothing is superseded and the turn goes to the end.
        """
        index, old, position = len(self.entries), [], self._next_position()
        if cell_id is not None:
            of_cell = [n for n, entry in enumerate(self.entries) if entry.turn.cell_id == cell_id]
            of_run = [n for n in of_cell if self.entries[n].turn.cell_run == cell_run]
            old = [n for n in of_cell if n not in of_run and self.entries[n].turn.status != "superseded"]
            if of_run and of_run[-1] + 1 < len(self.entries):
                index, position = of_run[-1] + 1, self.entries[of_run[-1]].position
            elif old and not of_run:
                index, position = old[0], self.entries[old[0]].position
        return InsertionPoint(index, position, self._context_at(index), tuple(self.entries[n] for n in old))

    def point_replacing(self, turn: str) -> InsertionPoint | None:
        """Return where a turn goes that replaces another, given by its id; None if there is no such turn."""
        for index, entry in enumerate(self.entries):
            if entry.turn.id == turn and not entry.pending:
                return InsertionPoint(index, entry.position, self._context_at(index), (entry,))
        return None

    def insert_pending(self, point: InsertionPoint, turn: Turn) -> Entry:
        """Insert a turn whose answer is pending, so that turns stay in the order of their requests."""
        for entry in point.superseded:
            entry.turn = replace(entry.turn, status="superseded")
        entry = Entry(turn, point.position, pending=True)
        self.entries.insert(point.index, entry)
        return entry

    def undo(self) -> Entry | None:
        """Remove the last turn that isn't superseded; return it."""
        for index in range(len(self.entries) - 1, -1, -1):
            entry = self.entries[index]
            if entry.turn.status != "superseded" and not entry.pending:
                return self.entries.pop(index)
        return None

    def versions(self) -> list[Versions]:
        """Return the prompts and answers of the conversation in order, each with its earlier versions."""
        groups: list[list[Entry]] = []
        for entry in self.entries:
            if groups and groups[-1][0].position == entry.position:
                groups[-1].append(entry)
            else:
                groups.append([entry])
        return [versions for group in groups for versions in _versions_in(group)]

    def choose_version(self, turn: str) -> list[Entry]:
        """Use another version of an answer in the conversation; return the changed entries."""
        chosen = next((entry for entry in self.entries if entry.turn.id == turn), None)
        if chosen is None or chosen.turn.status != "superseded":
            return []
        others = [e for e in self.entries if e.position == chosen.position and e.turn.status != "superseded"]
        if any(entry.pending for entry in others):
            return []
        for entry in others:
            entry.turn = replace(entry.turn, status="superseded")
        chosen.turn = _restore_status(chosen.turn)
        return [chosen, *others]

    def _context_at(self, index: int) -> tuple[Pair, ...]:
        return tuple(entry.turn.pair for entry in self.entries[:index] if entry.is_in_context)

    def _next_position(self) -> int:
        return 1 + max((entry.position for entry in self.entries), default=-1)


def _versions_in(group: list[Entry]) -> list[Versions]:
    """Return the versions among entries of one position; several current ones come from a loop, and have none."""
    standing = [entry for entry in group if entry.turn.status != "superseded"]
    if len(standing) != 1:
        return [Versions((entry.turn,), 0, entry.pending) for entry in standing]
    ordered = group[::-1]  # a new version is inserted before the one it replaces
    ordered.sort(key=lambda entry: (entry.pending, entry.turn.created))
    return [Versions(tuple(entry.turn for entry in ordered), ordered.index(standing[0]), standing[0].pending)]


def _restore_status(turn: Turn) -> Turn:
    """Return a superseded turn with the status it had before."""
    if turn.error:
        return replace(turn, status="incomplete" if turn.answer else "error")
    return replace(turn, status="complete" if turn.answer else "interrupted")


class ConversationLog:
    """The turns of a session in memory and in the store; the caller holds the session's lock.

    Every change goes to memory first and then to the store, which never raises for a disk error.
    """

    def __init__(self, store: Callable[[], Store]) -> None:
        self._store = store
        self.conversation = Conversation()

    def adopt(self, pairs: Sequence[Pair]) -> None:
        """Apply a change of ``session.llm.history``."""
        for entry in self.conversation.adopt(pairs):
            self.save(entry)

    def insertion_point(self, cell: tuple[str | None, int], replaces: str | None) -> InsertionPoint:
        """Return where a new turn goes.

        :raises ParameterError: if the turn it replaces isn't part of this conversation.
        """
        if replaces is None:
            return self.conversation.point_for_cell(*cell)
        point = self.conversation.point_replacing(replaces)
        if point is None:
            raise ParameterError("That turn isn't part of this conversation: %chatglm_history lists its turns.")
        return point

    def begin_turn(self, point: InsertionPoint, turn: Turn) -> Entry:
        """Insert a turn whose answer is pending, and save all that changed."""
        entry = self.conversation.insert_pending(point, turn)
        for changed in (*point.superseded, entry):
            self.save(changed)
        return entry

    def finish_turn(self, entry: Entry, turn: Turn) -> None:
        """Save the finished turn; it stays in the conversation in which it began."""
        entry.turn, entry.pending = turn, False
        self.save(entry)

    def save(self, entry: Entry) -> None:
        """Store the current state of a turn."""
        self._store().put(entry.turn, entry.position)

    def choose_version(self, turn: str) -> None:
        """Use another version of an answer in the conversation."""
        for changed in self.conversation.choose_version(turn):
            self.save(changed)

    def undo(self) -> Turn | None:
        """Remove the last turn; it stays in the store, marked as superseded."""
        entry = self.conversation.undo()
        if entry is None:
            return None
        turn, entry.turn = entry.turn, replace(entry.turn, status="superseded")
        self.save(entry)
        return turn

    def reset(self) -> None:
        """Begin a new conversation; the previous one stays in the store."""
        self.conversation = Conversation()

    def resume(self, conversation: str | None) -> int:
        """Resume a stored conversation, by default the newest other one; return its number of turns.

        :raises ChatGLMError: if there is no such conversation.
        """
        id = conversation or next(self._other_conversations(), None)
        entries = self._load_entries(id) if id else []
        if not id or not entries:
            what = f"no conversation {conversation}" if conversation else "no earlier conversation"
            raise ChatGLMError(f"There is {what}: %chatglm_history --all lists what is kept.", kind="not_found")
        self.conversation = Conversation(id, entries)
        return len(entries)

    def _other_conversations(self) -> Iterator[str]:
        """Yield the ids of the other conversations, most recently used first; sweeps are skipped."""
        from ..store import Query

        store = self._store()
        for offset in itertools.count(0, PAGE_SIZE):
            page = store.conversations(offset=offset, limit=PAGE_SIZE)
            for other in page:
                first = store.find(Query(conversation=other.id), limit=1)
                if other.id != self.conversation.id and first and first[0].turn.kind != "sweep":
                    yield other.id
            if len(page) < PAGE_SIZE:
                return

    def fork(self, turn: str | None, *, before: bool) -> str:
        """Begin a conversation with copies of a turn's context, and of the turn itself unless ``before``.

        :raises ChatGLMError: if no turn has that id.
        """
        new = Conversation()
        if turn is not None:
            for number, old in enumerate(self._turns_up_to(turn, before=before)):
                copy = replace(old, id=uuid.uuid4().hex, conversation=new.id, cell_id=None, cell_run=0)
                new.entries.append(Entry(copy, number))
        self.conversation = new
        for entry in new.entries:
            self.save(entry)
        return new.id

    def delete(self, ids: Sequence[str]) -> int:
        """Delete turns permanently from memory and store; return how many there were."""
        entries = self.conversation.entries
        self.conversation.entries = [entry for entry in entries if entry.turn.id not in ids or entry.pending]
        return self._store().delete(list(ids))

    def forget(self, *, everything: bool) -> int:
        """Permanently delete the current conversation, or all; return how many turns were deleted."""
        count = self._store().forget(None if everything else self.conversation.id)
        self.reset()
        return count

    def _turns_up_to(self, turn: str, *, before: bool) -> list[Turn]:
        """Return the turns in the context of one, and that turn itself unless ``before``."""
        entries = self.conversation.entries
        if not any(entry.turn.id == turn for entry in entries):
            from ..store import Query

            rows = self._store().find(Query(ids=(turn,)))
            if not rows:
                raise ChatGLMError("There is no such turn: %chatglm_history lists them.", kind="not_found")
            entries = self._load_entries(rows[0].turn.conversation)
        index = next(n for n, entry in enumerate(entries) if entry.turn.id == turn)
        context, last = [entry.turn for entry in entries[:index] if entry.is_in_context], entries[index].turn
        if last.status == "superseded" and last.answer and not last.error:
            last = replace(last, status="complete")  # the new conversation continues from it
        return context if before else [*context, replace(last, outside=False)]

    def _load_entries(self, conversation: str) -> list[Entry]:
        from ..store import Query

        return [Entry(row.turn, row.position) for row in self._store().find(Query(conversation=conversation))]
