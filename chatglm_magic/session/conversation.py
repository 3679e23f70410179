"""The turns of a conversation, in order, and which of them the next question sees."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..values import Pair, Turn


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

    def _seen(self, at: int) -> tuple[Pair, ...]:
        return tuple(entry.turn.pair for entry in self.entries[:at] if entry.sendable)

    def _behind(self) -> int:
        return 1 + max((entry.position for entry in self.entries), default=-1)
