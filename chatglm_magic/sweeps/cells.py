"""The cells of a sweep with their answers, changed on one thread and read from any."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from ..listeners import Listeners
from ..values import Answer, Turn
from .grid import Grid
from .stats import Stats, compute_stats, is_failed

if TYPE_CHECKING:
    from ..session.draft import Draft


Slot = tuple[int, int]
"""A cell's number and a sample's."""

MAX_CALLS_PER_SECOND = 12
"""A follower is called at most so many times a second."""


class Group(NamedTuple):
    """Samples of a cell with one and the same answer; ``turn`` is the first one's."""

    turn: Turn
    samples: tuple[int, ...]


@dataclass(eq=False)
class Cell:
    """One prompt with one setting: ``turns`` has a place for each sample, None where nothing has come.

    ``drafts`` holds the answers under way by the number of their sample; ``version`` grows with each change.
    """

    prompt: str
    setting: Mapping[str, Any]
    turns: list[Turn | None]
    drafts: dict[int, Draft] = field(default_factory=dict)
    version: int = 0
    _stats: tuple[int, Stats] | None = None

    @property
    def received(self) -> list[Turn]:
        """The turns that have come, whole or not."""
        return [turn for turn in self.turns if turn is not None]

    @property
    def answers(self) -> list[Answer]:
        """Every answer as text that knows its turn; a failure is an empty or partial one with its error."""
        return [Answer(turn) for turn in self.received]

    @property
    def groups(self) -> list[Group]:
        """The answers that have come, equal ones together, in the order of their first sample."""
        found: dict[tuple[object, ...], tuple[Turn, list[int]]] = {}
        for number, turn in enumerate(self.turns):
            if turn is not None and number not in self.drafts:
                key = turn.answer, turn.reasoning, turn.status, turn.error, turn.finish_reason, str(turn.changed)
                found.setdefault(key, (turn, []))[1].append(number)
        return [Group(turn, tuple(numbers)) for turn, numbers in found.values()]

    @property
    def preview_text(self) -> str:
        """The most frequent text that has come, the first of equally frequent ones; else one under way."""
        come = [group for group in self.groups if group.turn.answer]
        if come:
            return max(come, key=lambda group: len(group.samples)).turn.answer
        return next((draft.text for draft in self.drafts.values() if draft.text), "")

    @property
    def state(self) -> Literal["waiting", "sent", "running", "failed", "partial", "done"]:
        """What a grid shows.

        ``sent`` is a cell of whose requests none has got a token yet: the server may have put them in its queue.
        ``partial`` is a cell that lacks samples, none of which is under way.
        """
        if self.drafts:
            begun = any(draft.first_token is not None for draft in self.drafts.values())
            return "running" if begun else "sent"
        if any(is_failed(turn) for turn in self.received):
            return "failed"
        if not self.received:
            return "waiting"
        return "done" if all(turn is not None and turn.status == "complete" for turn in self.turns) else "partial"

    def stats(self) -> Stats:
        """Return the cell's statistics, computed again only after a change."""
        version = self.version
        if self._stats is None or self._stats[0] != version:
            self._stats = version, compute_stats(self.received, self.prompt, self.setting)
        return self._stats[1]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep is: questions in all, answered whole, failed, and under way.

    ``seconds`` the present run has taken so far, ``left`` it will take at its present pace; None before its first
    answer and when nothing runs. ``pending`` of the present run's questions have not ended; 0 when nothing runs.
    ``spent`` are the seconds of all runs.
    """

    total: int
    done: int
    failed: int
    running: int
    seconds: float
    left: float | None
    pending: int = 0
    spent: float = 0.0


class SweepAnswers(Protocol):
    """What the tables, maps, files and pages of a sweep read of it."""

    @property
    def grid(self) -> Grid: ...
    @property
    def cells(self) -> tuple[Cell, ...]: ...
    @property
    def axes(self) -> dict[str, tuple[Any, ...]]: ...
    @property
    def varied(self) -> list[str]: ...
    @property
    def progress(self) -> Progress: ...
    def __iter__(self) -> Iterator[Turn]: ...


class CellGrid:
    """All cells; changed on the loop's thread alone, read from any."""

    def __init__(self, grid: Grid) -> None:
        self.cells = tuple(Cell(prompt, setting, [None] * grid.samples) for prompt, setting in grid.cells())
        self.samples = grid.samples
        self.lock = threading.Lock()
        """Held while a run puts its last answer and ends: others see both or neither."""
        self.listeners = Listeners("sweep")
        """Whoever follows the cells; called at most 12 times a second."""
        self._next = 0.0
        self._later: asyncio.TimerHandle | None = None

    def find_slots(self, wanted: Callable[[Turn | None], bool]) -> list[Slot]:
        """Return the places whose turn is wanted: the first samples of all cells, then the second ones, …"""
        return [
            (number, sample)
            for sample in range(self.samples)
            for number, cell in enumerate(self.cells)
            if wanted(cell.turns[sample])
        ]

    def turns(self) -> Iterator[Turn]:
        """Yield what has come, cell by cell."""
        for cell in self.cells:
            yield from cell.received

    def start_draft(self, slot: Slot, draft: Draft) -> None:
        """Take note of a question under way."""
        cell = self.cells[slot[0]]
        cell.drafts = cell.drafts | {slot[1]: draft}  # a new one, since others read it meanwhile
        cell.version += 1
        self.notify_soon()

    def finish(self, slot: Slot, turn: Turn | None) -> None:
        """Put a turn into its place and tell the followers; None leaves the place as it was."""
        self.put(slot, turn)
        self.notify_soon()

    def put(self, slot: Slot, turn: Turn | None) -> None:
        """Put a turn into its place; None leaves the place as it was."""
        cell = self.cells[slot[0]]
        if turn is not None:
            cell.turns[slot[1]] = turn
        cell.drafts = {sample: draft for sample, draft in cell.drafts.items() if sample != slot[1]}
        cell.version += 1

    def notify_soon(self) -> None:
        """Tell the followers soon that something has changed; to be called on the loop's thread."""
        wait = self._next - time.monotonic()
        if wait <= 0:
            self.notify()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(wait, self.notify)

    def notify(self) -> None:
        """Tell the followers now."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        self.listeners.call()
        self._next = time.monotonic() + 1 / MAX_CALLS_PER_SECOND
