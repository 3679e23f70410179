"""Where each cell of a sweep is drawn: two axes as a table, a table for each value of the others."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from .board import Cell
from .grid import shown

if TYPE_CHECKING:
    from .board import SweepAnswers


@dataclass(frozen=True)
class Table:
    """One table: ``cells[row][column]``; a name is empty where there is no such axis, with one empty value."""

    title: str
    row: str
    rows: tuple[Any, ...]
    column: str
    columns: tuple[Any, ...]
    cells: tuple[tuple[Cell, ...], ...]


def tables(sweep: SweepAnswers, rows: str | None = None, columns: str | None = None) -> list[Table]:
    """Return a sweep's cells as tables over two axes, one table for each combination of the other axes' values.

    :param rows: an axis; by default the first that has more than one value and is not ``columns``.
    :param columns: likewise, the second; where only one axis has more than one value it is this one.
    :raises ParameterError: for an axis that is not there, or the same one twice.
    """
    row, column = _chosen(sweep, rows, columns)
    axes = {"prompt": sweep.grid.prompts, **sweep.grid.axes, "": ("",)}
    others = [name for name in axes if name not in (row, column, "") and len(axes[name]) > 1]
    every = itertools.product(*(range(len(values)) for values in axes.values()))
    places = dict(zip(every, sweep.cells, strict=True))  # a grid's cells come in this very order
    first = dict.fromkeys(axes, 0)
    found = []
    for at in itertools.product(*(range(len(axes[name])) for name in others)):
        fixed = first | dict(zip(others, at, strict=True))
        cells = tuple(
            tuple(places[_key(axes, fixed | {row: r} | {column: c})] for c in range(len(axes[column])))
            for r in range(len(axes[row]))
        )
        title = " · ".join(f"{name} {shown(axes[name][n])}" for name, n in zip(others, at, strict=True))
        found.append(Table(title, row, axes[row], column, axes[column], cells))
    return found


def _chosen(sweep: SweepAnswers, rows: str | None, columns: str | None) -> tuple[str, str]:
    axes = {"prompt", *sweep.grid.axes}
    for name in (rows, columns):
        if name and name not in axes:
            raise ParameterError(f"There is no axis {name}. There are: {', '.join(sorted(axes))}.")
    if rows and rows == columns:
        raise ParameterError(f"{rows} can't be both the rows and the columns.")
    free = [name for name in sweep.varied if name not in (rows, columns)]
    if rows is None and (len(free) > 1 or columns):
        rows = free.pop(0) if free else ""
    if columns is None:
        columns = free.pop(0) if free else ""
    return rows or "", columns


def _key(axes: dict[str, tuple[Any, ...]], at: dict[str, int]) -> tuple[int, ...]:
    return tuple(at[name] if name else 0 for name in axes)
