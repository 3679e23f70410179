"""The cells of a sweep and their answers, modified on one thread and read from any."""

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
"""The number of a cell and of a sample."""

MAX_CALLS_PER_SECOND = 12
"""How often a listener is called at most."""


class Group(NamedTuple):
    """The samples of a cell with the same answer; ``turn`` is the first one's."""

    turn: Turn
    samples: tuple[int, ...]


@dataclass(eq=False)
class Cell:
    """One prompt with one setting: ``turns`` has an item for each sample, None if it hasn't been received.

    ``drafts`` maps sample numbers to answers in progress; ``version`` grows with each change.
    """

    prompt: str
    setting: Mapping[str, Any]
    turns: list[Turn | None]
    drafts: dict[int, Draft] = field(default_factory=dict)
    version: int = 0
    _stats: tuple[int, Stats] | None = None

    @property
    def received(self) -> list[Turn]:
        """The turns received so far, complete or not."""
        return [turn for turn in self.turns if turn is not None]

    @property
    def answers(self) -> list[Answer]:
        """Every answer as a ``str`` with a ``.turn``; a failure is an empty or partial one with its error."""
        return [Answer(turn) for turn in self.received]

    @property
    def groups(self) -> list[Group]:
        """The answers received, equal ones grouped, in the order of their first sample."""
        groups: dict[tuple[object, ...], tuple[Turn, list[int]]] = {}
        for number, turn in enumerate(self.turns):
            if turn is not None and number not in self.drafts:
                key = turn.answer, turn.reasoning, turn.status, turn.error, turn.finish_reason, str(turn.changed)
                groups.setdefault(key, (turn, []))[1].append(number)
        return [Group(turn, tuple(numbers)) for turn, numbers in groups.values()]

    @property
    def preview_text(self) -> str:
        """The most frequent text received, the first of equally frequent ones; else one in progress."""
        groups = [group for group in self.groups if group.turn.answer]
        if groups:
            return max(groups, key=lambda group: len(group.samples)).turn.answer
        return next((draft.text for draft in self.drafts.values() if draft.text), "")

    @property
    def state(self) -> Literal["waiting", "sent", "running", "failed", "partial", "done"]:
        """The state that a grid displays.

        ``sent``: no request has received a token yet; the server may have queued them. ``partial``: samples are
        missing, and none is in progress.
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
    """How far a sweep is: the number of requests in total, completed, failed, and in progress.

    ``seconds`` is the duration of the current run so far, ``left`` the estimated remaining time; None before its
    first answer and if nothing runs. ``pending`` is the number of unfinished requests of the current run; 0 if
    nothing runs. ``spent`` is the duration of all runs in seconds.
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
    """What the tables, heat maps, files and pages of a sweep read of it."""

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
    """All cells; modified only on the event loop's thread, read from any."""

    def __init__(self, grid: Grid) -> None:
        self.cells = tuple(Cell(prompt, setting, [None] * grid.samples) for prompt, setting in grid.cells())
        self.samples = grid.samples
        self.lock = threading.Lock()
        """Held while a run stores its last answer and ends, so that others see both or neither."""
        self.listeners = Listeners("sweep")
        """Called after changes, at most 12 times a second."""
        self._next_call = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def find_slots(self, wanted: Callable[[Turn | None], bool]) -> list[Slot]:
        """Return the slots whose turn is wanted: the first samples of all cells, then the second ones, …"""
        return [
            (number, sample)
            for sample in range(self.samples)
            for number, cell in enumerate(self.cells)
            if wanted(cell.turns[sample])
        ]

    def turns(self) -> Iterator[Turn]:
        """Yield the turns received, cell by cell."""
        for cell in self.cells:
            yield from cell.received

    def start_draft(self, slot: Slot, draft: Draft) -> None:
        """Add an answer in progress."""
        cell = self.cells[slot[0]]
        cell.drafts = cell.drafts | {slot[1]: draft}  # a new dict, since other threads read it
        cell.version += 1
        self.notify_soon()

    def finish(self, slot: Slot, turn: Turn | None) -> None:
        """Store a turn in its slot and notify the listeners; None leaves the slot unchanged."""
        self.put(slot, turn)
        self.notify_soon()

    def put(self, slot: Slot, turn: Turn | None) -> None:
        """Store a turn in its slot; None leaves the slot unchanged."""
        cell = self.cells[slot[0]]
        if turn is not None:
            cell.turns[slot[1]] = turn
        cell.drafts = {sample: draft for sample, draft in cell.drafts.items() if sample != slot[1]}
        cell.version += 1

    def notify_soon(self) -> None:
        """Notify the listeners of a change, at most 12 times a second; call it on the event loop's thread."""
        wait = self._next_call - time.monotonic()
        if wait <= 0:
            self.notify()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self.notify)

    def notify(self) -> None:
        """Notify the listeners now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.listeners.call()
        self._next_call = time.monotonic() + 1 / MAX_CALLS_PER_SECOND
