"""The turns of a conversation, in order, and which of them the next question sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..values import Pair, Turn


@dataclass(eq=False)
class Entry:
    """A turn's place in the conversation.

    ``context`` is false for a turn asked outside of it, ``pending`` is true while its answer is under way.
    """

    turn: Turn
    context: bool = True
    pending: bool = False

    @property
    def sendable(self) -> bool:
        done = self.turn.status == "complete" and not self.pending
        return self.context and done and bool(self.turn.answer)


@dataclass(frozen=True)
class Place:
    """Where a new turn goes, the exchanges it sees, and the turns of earlier runs it takes the place of."""

    at: int
    history: tuple[Pair, ...]
    old: tuple[Entry, ...] = ()


class Conversation:
    """Keeps every turn; a new run of a cell supersedes the turns of that cell's earlier runs.

    Superseded turns stay in the record but are not sent; the turns asked after them stay.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    @property
    def turns(self) -> list[Turn]:
        return [entry.turn for entry in self.entries if not entry.pending]

    def pairs(self) -> list[Pair]:
        """Return the exchanges that are sent along with the next question at the end."""
        return [entry.turn.pair for entry in self.entries if entry.sendable]

    def adopt(self, pairs: Sequence[Pair]) -> None:
        """Take over a conversation that was changed from outside (``session.llm.history = …``)."""
        if list(pairs) == self.pairs():
            return
        left, same = list(pairs), True
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
        """Find the place of a question asked by this run of a cell; nothing is changed yet.

        Without a cell's id nothing is superseded and the question goes to the end.
        """
        at, old = len(self.entries), []
        if cell_id is not None:
            here = [n for n, entry in enumerate(self.entries) if entry.turn.cell_id == cell_id]
            now = [n for n in here if self.entries[n].turn.cell_run == cell_run]
            old = [n for n in here if n not in now and self.entries[n].turn.status != "superseded"]
            if now:
                at = now[-1] + 1
            elif old:
                at = old[0]
        seen = tuple(entry.turn.pair for entry in self.entries[:at] if entry.sendable)
        return Place(at, seen, tuple(self.entries[n] for n in old))

    def begin(self, place: Place, turn: Turn, *, context: bool) -> Entry:
        """Hold a place for an answer under way, so that turns stand in the order they were asked."""
        for entry in place.old:
            entry.turn = replace(entry.turn, status="superseded")
        entry = Entry(turn, context, pending=True)
        self.entries.insert(place.at, entry)
        return entry

    def finish(self, entry: Entry, turn: Turn) -> None:
        """Put the finished turn into its place; if the conversation was begun anew meanwhile, outside of it."""
        entry.turn, entry.pending = turn, False
        if entry not in self.entries:
            entry.context = False
            self.entries.append(entry)

    def undo(self) -> Turn | None:
        """Take the last turn that is not superseded out; return it."""
        for at in range(len(self.entries) - 1, -1, -1):
            entry = self.entries[at]
            if entry.turn.status != "superseded" and not entry.pending:
                return self.entries.pop(at).turn
        return None
