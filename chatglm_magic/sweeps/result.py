"""``Sweep``: the answers of a grid as a value, while they come and afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..errors import ParameterError
from ..values import Answer, Turn
from .cells import Cell, Progress
from .control import SweepControl
from .grid import Grid, axis_values, find_varied, format_value, is_same_value
from .stats import Stats

if TYPE_CHECKING:
    from ..session import Session
    from .heatmap import Plot


class PartialSweep:
    """What has come of a sweep so far, as :attr:`Sweep.partial` gives it.

    It has everything to read that a :class:`Sweep` has, and never waits: while the sweep runs, the answers grow.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._cell_grid = sweep._cell_grid
        self.grid = sweep.grid

    @property
    def session(self) -> Session | None:
        """The session whose model is used; None for a loaded sweep, which would use the current one."""
        return self._sweep.session

    @property
    def running(self) -> bool:
        """Whether requests are being sent."""
        return self._sweep.running

    @property
    def progress(self) -> Progress:
        """How far the sweep is."""
        return self._sweep.progress

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The values of each parameter; the prompts first, as ``prompt``, if there are more than one."""
        prompts = {"prompt": self.grid.prompts} if len(self.grid.prompts) > 1 else {}
        return {**prompts, **self.grid.axes}

    @property
    def varied(self) -> list[str]:
        """The axes that have more than one value."""
        return find_varied(self.axes)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Each prompt with each setting, and what has come of it."""
        return self._cell_grid.cells

    @property
    def turns(self) -> list[Turn]:
        """What has come, cell by cell, whole or not."""
        return list(self._cell_grid.turns())

    @property
    def answers(self) -> list[Answer]:
        """What has come, as texts that know their turn."""
        return [Answer(turn) for turn in self._cell_grid.turns()]

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns)

    def __len__(self) -> int:
        return sum(1 for _ in self._cell_grid.turns())

    def __bool__(self) -> bool:
        return True  # an empty one is still a sweep

    def cell(self, **at: Any) -> Cell:
        """Return the one cell at these values, as it stands now.

        :raises ParameterError: if there are several, or a value does not stand on its axis.
        """
        found = self.sel(**at).cells
        if len(found) > 1:
            left = ", ".join(name for name in self.varied if name not in at)
            raise ParameterError(f"There are {len(found)} such cells: say which by {left}.")
        return found[0]

    def sel(self, **at: Any) -> Sweep:
        """Return the part with these values, as it stands now: ``sel(temperature=0.5, top_p=[0.1, 0.9])``.

        The axes stay as they are, with fewer values.

        :raises ParameterError: for an axis or a value that is not there.
        """
        every = {"prompt": self.grid.prompts, **self.grid.axes}
        kept = {name: _pick_values(name, wanted, every) for name, wanted in at.items()}
        axes = {**every, **kept}
        whole = self._sweep
        part = type(whole)(Grid(axes.pop("prompt"), axes, self.grid.samples), whole._session, whole._jobs)
        mine = {id(c): {"prompt": c.prompt, **c.setting} for c in self.cells}
        chosen = [c for c in self.cells if all(_is_among(mine[id(c)][n], kept[n]) for n in kept)]
        for new, old in zip(part.cells, chosen, strict=True):
            new.turns[:] = old.turns
        part._run = None if whole.running else whole._run
        return part

    def stats(self) -> list[Stats]:
        """Return the figures of each cell."""
        return [cell.stats() for cell in self.cells]

    def to_dataframe(self) -> Any:
        """Return a pandas table with a row for each answer that has come: values, sample, text and figures.

        :raises ChatGLMError: if pandas is not installed.
        """
        from .files import sweep_dataframe

        return sweep_dataframe(self)

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write a ``.jsonl`` file: a line about the grid, then each turn as a line. Whole, or not at all.

        :param force: write over a file that is there.
        :raises CommandError: for a path that can't be written to.
        """
        from .files import save_sweep

        return save_sweep(self, path, force=force)

    def plot(
        self,
        figure: str | None = None,
        *,
        rows: str | None = None,
        columns: str | None = None,
    ) -> Plot:
        """Return a heat map that shows itself: two axes, and a small one for each value of the others.

        :param figure: what the colours mean, a name of ``chatglm_magic.sweeps.LABELS``; diversity by default, or
            the length where each setting has one answer.
        :param rows: an axis; by default the first one with more than one value.
        :param columns: another one; by default the second.
        :raises ParameterError: for a name that does not exist.
        """
        from .heatmap import Plot

        return Plot(self, figure, rows, columns)

    def __repr__(self) -> str:
        from .summary import sweep_summary

        return f"<{sweep_summary(self)}>"

    def _repr_html_(self) -> str:
        from .summary import sweep_html

        return sweep_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from .summary import sweep_text

        printer.text(repr(self) if len(printer.stack) > 1 else sweep_text(self))


class Sweep(SweepControl):
    """Every answer of a grid of prompts × settings × samples.

    Iterating yields the turns, cell by cell; ``len()`` counts them. A failure is a turn whose ``status`` is
    ``error`` or ``incomplete``, with its ``error``.

    In a notebook a sweep is returned while it runs. Whatever reads its answers (``answers``, ``stats()``,
    ``to_dataframe()``, ``plot()``, ``len()``, ...) waits until the sweep has ended and displays its progress;
    :attr:`partial` gives what is there without waiting. An interrupt ends the waiting, not the sweep.

    .. code-block:: python

        result = sweep("Name a colour.", temperature=[0.1, 1.0], samples=4)
        len(result.partial)  # what has come by now
        result.sel(temperature=1.0).answers  # waits
        result.to_dataframe()
    """

    @property
    def partial(self) -> PartialSweep:
        """What has come so far; reading it never waits."""
        return PartialSweep(self)

    def _wait_until_ended(self) -> PartialSweep:
        """Wait until nothing runs any more.

        :raises Interrupted: for an interrupt; the sweep continues.
        :raises RuntimeError: on the thread that sends the requests, which would wait for itself.
        """
        if self.running:
            from .waiting import wait_for_reading

            wait_for_reading(self)
        return self.partial

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The values of each parameter; the prompts first, as ``prompt``, if there are more than one."""
        return self.partial.axes

    @property
    def varied(self) -> list[str]:
        """The axes that have more than one value."""
        return self.partial.varied

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Each prompt with each setting, and its answers; waits for them."""
        return self._wait_until_ended().cells

    @property
    def turns(self) -> list[Turn]:
        """All turns, cell by cell, whole or not; waits for them."""
        return self._wait_until_ended().turns

    @property
    def answers(self) -> list[Answer]:
        """All answers, each a ``str`` with a ``.turn`` attribute; waits for them."""
        return self._wait_until_ended().answers

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns)

    def __len__(self) -> int:
        return len(self._wait_until_ended())

    def __bool__(self) -> bool:
        return True  # an empty one is still a sweep

    def cell(self, **at: Any) -> Cell:
        """Return the one cell at these values; waits for its answers.

        :raises ParameterError: if there are several, or a value is not on its axis.
        """
        return self._wait_until_ended().cell(**at)

    def sel(self, **at: Any) -> Sweep:
        """Return the part with these values: ``sel(temperature=0.5, top_p=[0.1, 0.9])``; waits for the answers.

        The axes stay as they are, with fewer values.

        :raises ParameterError: for an axis or a value that is not there.
        """
        return self._wait_until_ended().sel(**at)

    def stats(self) -> list[Stats]:
        """Return the statistics of each cell; waits for the answers."""
        return self._wait_until_ended().stats()

    def to_dataframe(self) -> Any:
        """Return a pandas table with a row for each answer: values, sample, text and figures. Waits for them.

        :raises ChatGLMError: if pandas is not installed.
        """
        return self._wait_until_ended().to_dataframe()

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write a ``.jsonl`` file: a line about the grid, then each turn as a line. Whole, or not at all.

        Waits for the answers; ``partial.save`` writes what is there.

        :param force: write over a file that is there.
        :raises CommandError: for a path that can't be written to.
        """
        return self._wait_until_ended().save(path, force=force)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what :meth:`save` wrote; what is missing in it can be asked with :meth:`resume`.

        :raises CommandError: for anything else; the message names the line.
        """
        from .files import load_sweep

        return load_sweep(cls, path)

    def plot(
        self,
        figure: str | None = None,
        *,
        rows: str | None = None,
        columns: str | None = None,
    ) -> Plot:
        """Return a heat map: two axes, and a small map for each value of the others. Waits for the answers.

        :param figure: what the colours mean, a name of ``chatglm_magic.sweeps.LABELS``; diversity by default, or
            the length where each setting has one answer.
        :param rows: an axis; by default the first one with more than one value.
        :param columns: another one; by default the second.
        :raises ParameterError: for a name that does not exist.
        """
        return self._wait_until_ended().plot(figure, rows=rows, columns=columns)

    def __repr__(self) -> str:
        return repr(self.partial)

    def _repr_html_(self) -> str:
        return self.partial._repr_html_()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        self.partial._repr_pretty_(printer, cycle)

    def _ipython_display_(self) -> None:
        from ..render.views import is_displayed

        if not is_displayed(self):
            raise NotImplementedError  # IPython then goes on to the other forms


def _pick_values(name: str, wanted: Any, axes: dict[str, tuple[Any, ...]]) -> tuple[Any, ...]:
    if name not in axes:
        raise ParameterError(f"There is no axis {name}. There are: {', '.join(axes)}.", kind="unknown_name")
    one = any(is_same_value(wanted, value) for value in axes[name])  # a list may be a value itself, as one of stop
    asked = (
        (wanted,)
        if one
        else (wanted,)
        if name == "prompt" and isinstance(wanted, str)
        else axis_values(name, wanted)
    )
    for value in asked:
        if not _is_among(value, axes[name]):
            there = ", ".join(format_value(other) for other in axes[name][:20])
            raise ParameterError(f"{name} {format_value(value)} was not asked. There are: {there}.")
    return tuple(value for value in axes[name] if _is_among(value, asked))


def _is_among(value: Any, others: tuple[Any, ...]) -> bool:
    return any(is_same_value(value, other) for other in others)
