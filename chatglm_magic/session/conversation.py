"""The turns of a conversation, in order and with what each of them saw; in memory, and alike in the store."""

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


PAGE = 20
"""Conversations that are read at a time."""


@dataclass(eq=False)
class Entry:
    """A turn's place in the conversation.

    ``position`` is its place as it is stored: a question asked again has that of the one it takes the place of.
    ``pending`` is true while its answer is under way.
    """

    turn: Turn
    position: int = 0
    pending: bool = False

    @property
    def sendable(self) -> bool:
        done = self.turn.status == "complete" and not self.pending
        return done and bool(self.turn.answer) and not self.turn.outside


@dataclass(frozen=True)
class Place:
    """Where a new turn goes, the exchanges it sees, and the turns of earlier runs it takes the place of."""

    at: int
    position: int
    history: tuple[Pair, ...]
    old: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Versions:
    """The answers to one prompt, the oldest first, each a turn; ``current`` is the index of the one in use.

    ``pending`` is true while that one is under way.
    """

    turns: tuple[Turn, ...]
    current: int
    pending: bool = False

    @property
    def turn(self) -> Turn:
        """The version that is part of the conversation."""
        return self.turns[self.current]


class Conversation:
    """Keeps every turn; a new run of a cell supersedes the turns of that cell's earlier runs.

    Superseded turns stay in the record but are not sent; the turns asked after them stay. ``id`` is 12 hex digits.
    """

    def __init__(self, id: str | None = None, entries: Iterable[Entry] = ()) -> None:
        self.id = id or uuid.uuid4().hex[:12]
        self.entries: list[Entry] = list(entries)

    @property
    def turns(self) -> list[Turn]:
        return [entry.turn for entry in self.entries if not entry.pending]

    def pairs(self) -> list[Pair]:
        """Return the exchanges that are sent along with the next question at the end."""
        return [entry.turn.pair for entry in self.entries if entry.sendable]

    def adopt(self, pairs: Sequence[Pair]) -> list[Entry]:
        """Take over a conversation that was changed from outside (``session.llm.history = …``).

        :returns: the entries that are new or changed.
        """
        if list(pairs) == self.pairs():
            return []
        left, same, touched = list(pairs), True, []
        for entry in self.entries:
            if not entry.sendable:
                continue
            same = same and bool(left) and entry.turn.pair == left[0]
            if same:
                left.pop(0)
            else:
                entry.turn = replace(entry.turn, status="superseded")
                touched.append(entry)
        new = [
            Entry(Turn(prompt=question, answer=answer, id=uuid.uuid4().hex, conversation=self.id), position)
            for position, (question, answer) in enumerate(left, self._behind())
        ]
        self.entries += new
        return touched + new

    def place(self, cell_id: str | None, cell_run: int) -> Place:
        """Find the place of a question asked by this run of a cell; nothing is changed yet.

        Without a cell's id nothing is superseded and the question goes to the end.
        """
        at, old, position = len(self.entries), [], self._behind()
        if cell_id is not None:
            here = [n for n, entry in enumerate(self.entries) if entry.turn.cell_id == cell_id]
            now = [n for n in here if self.entries[n].turn.cell_run == cell_run]
            old = [n for n in here if n not in now and self.entries[n].turn.status != "superseded"]
            if now and now[-1] + 1 < len(self.entries):
                at, position = now[-1] + 1, self.entries[now[-1]].position
            elif old and not now:
                at, position = old[0], self.entries[old[0]].position
        return Place(at, position, self._seen(at), tuple(self.entries[n] for n in old))

    def again(self, turn: str) -> Place | None:
        """Find the place of a question that takes the place of a turn, by its id; None if there is none."""
        for at, entry in enumerate(self.entries):
            if entry.turn.id == turn and not entry.pending:
                return Place(at, entry.position, self._seen(at), (entry,))
        return None

    def begin(self, place: Place, turn: Turn) -> Entry:
        """Hold a place for an answer under way, so that turns stand in the order they were asked."""
        for entry in place.old:
            entry.turn = replace(entry.turn, status="superseded")
        entry = Entry(turn, place.position, pending=True)
        self.entries.insert(place.at, entry)
        return entry

    def undo(self) -> Entry | None:
        """Take the last turn that is not superseded out; return it."""
        for at in range(len(self.entries) - 1, -1, -1):
            entry = self.entries[at]
            if entry.turn.status != "superseded" and not entry.pending:
                return self.entries.pop(at)
        return None

    def versions(self) -> list[Versions]:
        """Return what is asked and answered in the conversation, in order, each with its earlier versions."""
        groups: list[list[Entry]] = []
        for entry in self.entries:
            if groups and groups[-1][0].position == entry.position:
                groups[-1].append(entry)
            else:
                groups.append([entry])
        return [versions for group in groups for versions in _versions(group)]

    def choose_version(self, turn: str) -> list[Entry]:
        """Let another version of an answer be part of the conversation; return what has changed."""
        chosen = next((entry for entry in self.entries if entry.turn.id == turn), None)
        if chosen is None or chosen.turn.status != "superseded":
            return []
        others = [e for e in self.entries if e.position == chosen.position and e.turn.status != "superseded"]
        if any(entry.pending for entry in others):
            return []
        for entry in others:
            entry.turn = replace(entry.turn, status="superseded")
        chosen.turn = revived(chosen.turn)
        return [chosen, *others]

    def _seen(self, at: int) -> tuple[Pair, ...]:
        return tuple(entry.turn.pair for entry in self.entries[:at] if entry.sendable)

    def _behind(self) -> int:
        return 1 + max((entry.position for entry in self.entries), default=-1)


def _versions(group: list[Entry]) -> list[Versions]:
    """Return the versions among turns of one place; several that stand there are a loop's, and have none."""
    standing = [entry for entry in group if entry.turn.status != "superseded"]
    if len(standing) != 1:
        return [Versions((entry.turn,), 0, entry.pending) for entry in standing]
    ordered = group[::-1]  # a new version is held before the one whose place it takes
    ordered.sort(key=lambda entry: (entry.pending, entry.turn.created))
    return [Versions(tuple(entry.turn for entry in ordered), ordered.index(standing[0]), standing[0].pending)]


def revived(turn: Turn) -> Turn:
    """Return a superseded turn as it was before: a whole answer, or one that was stopped."""
    if turn.error:
        return replace(turn, status="incomplete" if turn.answer else "error")
    return replace(turn, status="complete" if turn.answer else "interrupted")


class ConversationLog:
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

    def choose_version(self, turn: str) -> None:
        """Let another version of an answer be part of the conversation."""
        for changed in self.conversation.choose_version(turn):
            self.put(changed)

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
