"""The turns of a conversation, in order, and which of them the next question sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..values import Pair, Turn


@dataclass(eq=False)
class Entry:
    """A turn's place in the conversation; ``context`` is false for a turn asked outside of it."""

    turn: Turn
    context: bool = True

    @property
    def sendable(self) -> bool:
        return self.context and self.turn.status == "complete"


@dataclass(frozen=True)
class Place:
    """Where a new turn goes: right behind ``after``, or first; and the exchanges it sees."""

    after: Entry | None
    history: tuple[Pair, ...]


class Conversation:
    """Keeps every turn; a new run of a cell supersedes the turns of that cell's earlier runs.

    Superseded turns stay in the record but are not sent; the turns asked after them stay.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    @property
    def turns(self) -> list[Turn]:
        return [entry.turn for entry in self.entries]

    def pairs(self) -> list[Pair]:
        """Return the exchanges that are sent along with the next question at the end."""
        return [entry.turn.pair for entry in self.entries if entry.sendable]

    def adopt(self, pairs: Sequence[Pair]) -> None:
        """Take over a conversation that was changed from outside (``session.llm.history = …``)."""
        if list(pairs) == self.pairs():
            return
        left = list(pairs)
        same = True
        for entry in self.entries:
            if not entry.sendable:
                continue
            same = same and bool(left) and entry.turn.pair == left[0]
            if same:
                left.pop(0)
            else:
                entry.turn = replace(entry.turn, status="superseded")
        self.entries += [Entry(Turn(prompt=question, answer=answer)) for question, answer in left]

    def place(self, cell_id: str | None, cell_run: int) -> Place:
        """Find the place of a question asked by this run of a cell, superseding its earlier runs.

        Without a cell's id nothing is superseded and the question goes to the end.
        """
        at = len(self.entries)
        if cell_id is not None:
            here = [n for n, entry in enumerate(self.entries) if entry.turn.cell_id == cell_id]
            now = [n for n in here if self.entries[n].turn.cell_run == cell_run]
            old = [n for n in here if n not in now and self.entries[n].turn.status != "superseded"]
            for n in old:
                self.entries[n].turn = replace(self.entries[n].turn, status="superseded")
            if now:
                at = now[-1] + 1
            elif old:
                at = old[0]
        before = self.entries[:at]
        return Place(before[-1] if before else None, tuple(e.turn.pair for e in before if e.sendable))

    def add(self, place: Place, turn: Turn, *, context: bool) -> None:
        """Put a turn into its place."""
        at = self.entries.index(place.after) + 1 if place.after in self.entries else 0
        if place.after is not None and place.after not in self.entries:
            at = len(self.entries)  # the conversation was reset meanwhile
        self.entries.insert(at, Entry(turn, context))

    def undo(self) -> Turn | None:
        """Take the last turn that is not superseded out; return it."""
        for at in range(len(self.entries) - 1, -1, -1):
            if self.entries[at].turn.status != "superseded":
                return self.entries.pop(at).turn
        return None
