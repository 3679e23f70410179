"""Heat maps of a sweep as text and HTML: where each cell stands, and its colour."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from ..render.answers import SMALL, escape
from ..render.outer import outer
from ..render.text import aligned, visible
from .cells import Cell
from .grid import shown
from .stats import LABELS

if TYPE_CHECKING:
    from .cells import Cell, SweepAnswers


STOPS = ((255, 247, 214), (199, 233, 180), (65, 182, 196), (34, 94, 168), (8, 29, 88))
"""Yellow, green, blue: from the least to the most."""

Colour = tuple[int, int, int]


def colour(share: float) -> Colour:
    """Return the colour of a share from 0 (light) to 1 (dark)."""
    at = min(max(share, 0.0), 1.0) * (len(STOPS) - 1)
    low = min(int(at), len(STOPS) - 2)
    a, b = STOPS[low], STOPS[low + 1]
    red, green, blue = (round(x + (y - x) * (at - low)) for x, y in zip(a, b, strict=True))
    return red, green, blue


def ink(ground: Colour) -> Colour:
    """Return black or white, whichever is easier to read on a ground: a contrast of 4.5 at least."""
    return (0, 0, 0) if contrast(ground, (0, 0, 0)) >= contrast(ground, (255, 255, 255)) else (255, 255, 255)


def contrast(a: Colour, b: Colour) -> float:
    """Return the contrast of two colours as WCAG defines it, 1 to 21."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(found: Colour) -> float:
    """Return how light a colour is, 0 to 1: what is left of it in grey."""
    parts = [part / 255 for part in found]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def css(found: Colour) -> str:
    """Return a colour as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*found)


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


RATES = (
    "diversity",
    "similarity",
    "repeats",
    "distinct_1",
    "distinct_2",
    "first_token",
    "first_answer",
    "spent_on_thinking",
)
EMPTY = "–"
HEAD = "text-align:center;font-weight:600;padding:.2em .5em;background:none;border:0"
TILE = "text-align:center;padding:.45em .6em;min-width:3.5em;border:0;border-radius:2px"
NONE = "border:1px dashed rgba(128,128,128,.6)"


class Plot:
    """A figure of every cell, drawn; shows itself in a notebook, and as text in a terminal.

    :param figure: what the colours mean; None: diversity, or the length where each setting has one answer.
    :raises ParameterError: for a figure or an axis that does not exist.
    """

    def __init__(
        self, sweep: SweepAnswers, figure: str | None = None, rows: str | None = None, columns: str | None = None
    ) -> None:
        self.figure = figure or default_figure(sweep)
        if not isinstance(self.figure, str) or self.figure not in LABELS:
            raise ParameterError(f"There is no figure {self.figure!s:.60}. There are: {', '.join(LABELS)}.")
        self.tables = tables(sweep, rows, columns)
        found = [
            value for table in self.tables for row in table.cells for c in row if (value := self.of(c)) is not None
        ]
        self.least: float | None = min(found, default=None)
        self.most: float | None = max(found, default=None)

    def of(self, cell: Cell) -> float | None:
        """Return the figure of a cell; None where it is not defined."""
        value: float | None = getattr(cell.stats(), self.figure)
        return value

    def number(self, value: float | None) -> str:
        """Return a figure as it is printed in its cell."""
        if value is None:
            return EMPTY
        if self.figure in RATES:
            return f"{value:.2f}"
        return f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}"

    def colours(self, value: float | None) -> tuple[str, str] | None:
        """Return the colours of a cell's ground and of its text, as CSS writes them; None for no figure."""
        if value is None or self.least is None or self.most is None:
            return None
        span = self.most - self.least
        ground = colour((value - self.least) / span if span else 0.5)
        return css(ground), css(ink(ground))

    def html(self) -> str:
        """Return the heat maps as safe HTML."""
        drawn = "".join(self._table(table) for table in self.tables)
        return outer(
            f'<div style="font-weight:600">{escape(LABELS[self.figure])}</div>{self._legend()}'
            f'<div style="display:flex;flex-flow:row wrap;gap:1em 2em">{drawn}</div>'
        )

    def text(self) -> str:
        """Return the heat maps as text."""
        return "\n\n".join([LABELS[self.figure], *(self._lines(table) for table in self.tables)])

    def _repr_html_(self) -> str:
        return self.html()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.text())

    def _legend(self) -> str:
        if self.least is None or self.least == self.most:
            return ""
        tile = "display:inline-block;width:1.4em;height:.8em;background:{}"
        tiles = "".join(f'<span style="{tile.format(css(colour(n / 8)))}"></span>' for n in range(9))
        low, high = self.number(self.least), self.number(self.most)
        return f'<div style="{SMALL};margin:.2em 0 .5em" aria-hidden="true">{low} {tiles} {high}</div>'

    def _table(self, table: Table) -> str:
        caption = (
            f'<caption style="{SMALL};text-align:left">{escape(table.title)}</caption>' if table.title else ""
        )
        heads = "".join(f'<th scope="col" style="{HEAD}">{_value(value)}</th>' for value in table.columns)
        axis = (
            f'<tr><td style="{HEAD}"></td>{_axis(table.column, len(table.columns))}</tr>' if table.column else ""
        )
        corner = f'<th scope="col" style="{HEAD}">{escape(table.row)}</th>'
        body = "".join(
            f'<tr style="background:none"><th scope="row" style="{HEAD}">{_value(value)}</th>'
            f"{''.join(self._tile(cell) for cell in cells)}</tr>"
            for value, cells in zip(table.rows, table.cells, strict=True)
        )
        return (
            f'<table style="border-collapse:separate;border-spacing:2px;margin:0">{caption}'
            f"<thead>{axis}<tr>{corner}{heads}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _tile(self, cell: Cell) -> str:
        value = self.of(cell)
        found = self.colours(value)
        style = f"background:{found[0]};color:{found[1]}" if found else NONE
        return f'<td style="{TILE};{style}">{self.number(value)}</td>'

    def _lines(self, table: Table) -> str:
        heads = [f"{table.row} \\ {table.column}".strip(" \\"), *(_plain(value) for value in table.columns)]
        rows = [
            [_plain(value), *(self.number(self.of(cell)) for cell in cells)]
            for value, cells in zip(table.rows, table.cells, strict=True)
        ]
        return "\n".join([*([visible(table.title)] if table.title else []), *aligned([heads, *rows], right=True)])


def default_figure(sweep: SweepAnswers) -> str:
    """Return what is drawn unless something else is asked for."""
    return "diversity" if sweep.grid.samples > 1 else "length"


def _axis(name: str, width: int) -> str:
    return f'<th colspan="{width}" style="{HEAD}">{escape(name)}</th>'


def _plain(value: Any) -> str:
    return visible(shown(value, 24))


def _value(value: Any) -> str:
    return escape(shown(value, 40))
