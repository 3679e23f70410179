"""``Sweep``: the answers of a grid, while they arrive and afterwards."""

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
    """The answers of a sweep received so far, as returned by :attr:`Sweep.partial`.

    It can be read like a :class:`Sweep`, but never waits: while the sweep runs, its answers grow.
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
        """The cells: each prompt with each setting, and the answers received."""
        return self._cell_grid.cells

    @property
    def turns(self) -> list[Turn]:
        """The turns received, cell by cell, complete or not."""
        return list(self._cell_grid.turns())

    @property
    def answers(self) -> list[Answer]:
        """The answers received, each a ``str`` with a ``.turn`` attribute."""
        return [Answer(turn) for turn in self._cell_grid.turns()]

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns)

    def __len__(self) -> int:
        return sum(1 for _ in self._cell_grid.turns())

    def __bool__(self) -> bool:
        return True  # an empty one is still a sweep

    def cell(self, **at: Any) -> Cell:
        """Return the one cell at these values, in its current state.

        :raises ParameterError: if there are several, or a value isn't on its axis.
        """
        cells = self.sel(**at).cells
        if len(cells) > 1:
            names = ", ".join(name for name in self.varied if name not in at)
            raise ParameterError(f"There are {len(cells)} such cells: say which by {names}.")
        return cells[0]

    def sel(self, **at: Any) -> Sweep:
        """Return the part with these values, in its current state: ``sel(temperature=0.5, top_p=[0.1, 0.9])``.

        The part has the same axes, with fewer values.

        :raises ParameterError: for an unknown axis or value.
        """
        all_axes = {"prompt": self.grid.prompts, **self.grid.axes}
        selected = {name: _pick_values(name, wanted, all_axes) for name, wanted in at.items()}
        axes = {**all_axes, **selected}
        whole = self._sweep
        part = type(whole)(Grid(axes.pop("prompt"), axes, self.grid.samples), whole._session, whole._jobs)
        values = {id(c): {"prompt": c.prompt, **c.setting} for c in self.cells}
        cells = [c for c in self.cells if all(_is_among(values[id(c)][n], selected[n]) for n in selected)]
        for new, old in zip(part.cells, cells, strict=True):
            new.turns[:] = old.turns
        part._run = None if whole.running else whole._run
        return part

    def stats(self) -> list[Stats]:
        """Return the statistics of each cell."""
        return [cell.stats() for cell in self.cells]

    def to_dataframe(self) -> Any:
        """Return a DataFrame with a row for each answer received: values, sample, text and figures.

        :raises ChatGLMError: if pandas is not installed.
        """
        from .files import sweep_dataframe

        return sweep_dataframe(self)

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write a ``.jsonl`` file atomically: a line about the grid, then a line for each turn.

        :param force: overwrite an existing file.
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
        """Return a heat map that displays itself: two axes, and one map for each value of the others.

        :param figure: a name in ``chatglm_magic.sweeps.LABELS``; by default diversity, or the length if each
            setting has one answer.
        :param rows: an axis; by default the first one with more than one value.
        :param columns: an axis; by default the second one.
        :raises ParameterError: for an unknown name.
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
        """The answers received so far; reading them never waits."""
        return PartialSweep(self)

    def _wait_until_ended(self) -> PartialSweep:
        """Wait until the sweep has ended.

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
        """All turns, cell by cell, complete or not; waits for them."""
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

        The part has the same axes, with fewer values.

        :raises ParameterError: for an unknown axis or value.
        """
        return self._wait_until_ended().sel(**at)

    def stats(self) -> list[Stats]:
        """Return the statistics of each cell; waits for the answers."""
        return self._wait_until_ended().stats()

    def to_dataframe(self) -> Any:
        """Return a DataFrame with a row for each answer: values, sample, text and figures. Waits for them.

        :raises ChatGLMError: if pandas is not installed.
        """
        return self._wait_until_ended().to_dataframe()

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write a ``.jsonl`` file atomically: a line about the grid, then a line for each turn.

        Waits for the answers; ``partial.save`` writes those received so far.

        :param force: overwrite an existing file.
        :raises CommandError: for a path that can't be written to.
        """
        return self._wait_until_ended().save(path, force=force)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file written by :meth:`save`; :meth:`resume` requests the missing answers.

        :raises CommandError: for an invalid file; the message names the line.
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

        :param figure: a name in ``chatglm_magic.sweeps.LABELS``; by default diversity, or the length if each
            setting has one answer.
        :param rows: an axis; by default the first one with more than one value.
        :param columns: an axis; by default the second one.
        :raises ParameterError: for an unknown name.
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
            raise NotImplementedError  # IPython then tries the other formats


def _pick_values(name: str, wanted: Any, axes: dict[str, tuple[Any, ...]]) -> tuple[Any, ...]:
    if name not in axes:
        raise ParameterError(f"There is no axis {name}. There are: {', '.join(axes)}.", kind="unknown_name")
    is_value = any(is_same_value(wanted, value) for value in axes[name])  # also a list, such as one of stop
    is_prompt = name == "prompt" and isinstance(wanted, str)
    requested = (wanted,) if is_value or is_prompt else axis_values(name, wanted)
    for value in requested:
        if not _is_among(value, axes[name]):
            known = ", ".join(format_value(other) for other in axes[name][:20])
            raise ParameterError(f"{name} {format_value(value)} isn't part of the sweep. Available: {known}.")
    return tuple(value for value in axes[name] if _is_among(value, requested))


def _is_among(value: Any, others: tuple[Any, ...]) -> bool:
    return any(is_same_value(value, other) for other in others)
