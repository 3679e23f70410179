"""Heat maps of a sweep's figures, as tables: they need no script, and a screen reader can read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from ..render.bundle import SMALL, escape
from ..render.outer import outer
from ..render.terminal import visible
from .colours import colour, css, ink
from .grid import shown
from .layout import Table, tables
from .stats import LABELS

if TYPE_CHECKING:
    from .board import Cell, SweepAnswers

RATES = ("diversity", "similarity", "repeats", "distinct_1", "distinct_2", "first_token")
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
        widths = [max(len(line[at]) for line in (heads, *rows)) for at in range(len(heads))]
        lines = [
            "  ".join(f"{part:>{w}}" for part, w in zip(line, widths, strict=True)) for line in (heads, *rows)
        ]
        return "\n".join([*([visible(table.title)] if table.title else []), *lines])


def default_figure(sweep: SweepAnswers) -> str:
    """Return what is drawn unless something else is asked for."""
    return "diversity" if sweep.grid.samples > 1 else "length"


def _axis(name: str, width: int) -> str:
    return f'<th colspan="{width}" style="{HEAD}">{escape(name)}</th>'


def _plain(value: Any) -> str:
    return visible(shown(value, 24))


def _value(value: Any) -> str:
    return escape(shown(value, 40))
