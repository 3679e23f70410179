"""Heat maps of a sweep as text and HTML: the layout, colours and texts of cells."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ParameterError
from ..render.answers import SMALL_STYLE, escape_html, incomplete_reason
from ..render.outer import disable_typesetting
from ..render.text import align_columns, escape_controls, one_line, plural
from .cells import Cell
from .grid import format_value
from .stats import LABELS, Stats, is_failed

if TYPE_CHECKING:
    from .cells import Cell, SweepAnswers


TINT_RGB = (30, 144, 255)
FAINTEST, STRONGEST = 0.05, 0.66
"""Opacity of the tint for the least and the greatest figure; text in the theme's colour is readable on both."""


def share_colour(share: float) -> str:
    """Return the CSS background for a share from 0 to 1.

    It is one blue, more or less opaque: the greatest is the darkest in a light theme and the brightest in a dark
    one. So one colour suits every theme, in a page, a saved notebook and an export.
    """
    opacity = FAINTEST + (STRONGEST - FAINTEST) * min(max(share, 0.0), 1.0)
    return f"rgba({','.join(map(str, TINT_RGB))},{opacity:.3f})"


@dataclass(frozen=True)
class HeatmapTable:
    """One table: ``cells[row][column]``; a missing axis has an empty name and one empty value."""

    title: str
    row: str
    rows: tuple[Any, ...]
    column: str
    columns: tuple[Any, ...]
    cells: tuple[tuple[Cell, ...], ...]


def build_tables(sweep: SweepAnswers, rows: str | None = None, columns: str | None = None) -> list[HeatmapTable]:
    """Return a sweep's cells as tables over two axes, one table for each combination of the other axes' values.

    :param rows: an axis; by default the first that has more than one value and isn't ``columns``.
    :param columns: an axis; by default the second, or the only one that has more than one value.
    :raises ParameterError: for an unknown axis, or the same one twice.
    """
    row, column = _choose_axes(sweep, rows, columns)
    axes = {"prompt": sweep.grid.prompts, **sweep.grid.axes, "": ("",)}
    others = [name for name in axes if name not in (row, column, "") and len(axes[name]) > 1]
    indices = itertools.product(*(range(len(values)) for values in axes.values()))
    by_index = dict(zip(indices, sweep.cells, strict=True))  # the grid's cells are in the same order
    first = dict.fromkeys(axes, 0)
    tables = []
    for index in itertools.product(*(range(len(axes[name])) for name in others)):
        fixed = first | dict(zip(others, index, strict=True))
        cells = tuple(
            tuple(by_index[_cell_index(axes, fixed | {row: r} | {column: c})] for c in range(len(axes[column])))
            for r in range(len(axes[row]))
        )
        title = " · ".join(f"{name} {format_value(axes[name][n])}" for name, n in zip(others, index, strict=True))
        tables.append(HeatmapTable(title, row, axes[row], column, axes[column], cells))
    return tables


def _choose_axes(sweep: SweepAnswers, rows: str | None, columns: str | None) -> tuple[str, str]:
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


def _cell_index(axes: dict[str, tuple[Any, ...]], index: dict[str, int]) -> tuple[int, ...]:
    return tuple(index[name] if name else 0 for name in axes)


UNIT_FIGURES = (
    "diversity",
    "similarity",
    "repeats",
    "distinct_1",
    "distinct_2",
    "first_token",
    "first_answer",
    "spent_on_thinking",
)
NO_FIGURE = "–"
MIN_COLOUR_SPAN = 0.5
"""The colours span at least this share of the greatest figure, so that small differences look small."""

HEAD_STYLE = "text-align:center;font-weight:600;padding:.2em .5em;background:none;border:0"
TILE_STYLE = "padding:.45em .6em;border:0;border-radius:3px"
FAINT_STYLE = "font-size:.85em;opacity:.85"
NO_FIGURE_STYLE = "border:1px dashed rgba(128,128,128,.6)"


class Plot:
    """A heat map of one figure, displayed in a notebook and as text in a terminal.

    Shares are coloured from 0 to 1. Other figures are coloured from the least to the greatest; if these are close
    together, in the middle of the scale.

    :param figure: the figure; by default diversity, or the length if each setting has one answer.
    :raises ParameterError: for a figure or an axis that does not exist.
    """

    def __init__(
        self, sweep: SweepAnswers, figure: str | None = None, rows: str | None = None, columns: str | None = None
    ) -> None:
        self.figure = figure or default_figure(sweep)
        if not isinstance(self.figure, str) or self.figure not in LABELS:
            raise ParameterError(f"There is no figure {self.figure!s:.60}. There are: {', '.join(LABELS)}.")
        self.tables = build_tables(sweep, rows, columns)
        cells = [cell for table in self.tables for row in table.cells for cell in row]
        figures = [value for cell in cells if (value := self.figure_of(cell)) is not None]
        self.least: float | None = min(figures, default=None)
        self.most: float | None = max(figures, default=None)

    def figure_of(self, cell: Cell) -> float | None:
        """Return the figure of a cell; None if it isn't defined."""
        value: float | None = getattr(cell.stats(), self.figure)
        return value

    def format_figure(self, value: float | None) -> str:
        """Format a figure for its cell."""
        if value is None:
            return NO_FIGURE
        if self.figure in UNIT_FIGURES:
            return f"{value:.2f}"
        return f"{value:.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}"

    def colour_share(self, value: float) -> float:
        """Return the position of a figure on the colour scale, from 0 to 1."""
        if self.figure in UNIT_FIGURES or self.least is None or self.most is None:
            return value
        span = max(self.most - self.least, MIN_COLOUR_SPAN * abs(self.most))
        return 0.5 + (value - (self.least + self.most) / 2) / span if span else 0.5

    def background(self, value: float | None) -> str:
        """Return the CSS background of a cell; empty if there is no figure."""
        return share_colour(self.colour_share(value)) if value is not None else ""

    def html(self, *, answers: bool = False) -> str:
        """Return the heat maps as safe HTML; ``answers`` adds the beginning of an answer to each cell."""
        drawn = "".join(self._table(table, answers) for table in self.tables)
        return disable_typesetting(
            f'<div style="font-weight:600">{escape_html(LABELS[self.figure])}</div>{self.legend()}'
            f'<div style="display:flex;flex-flow:row wrap;gap:1em 2em">{drawn}</div>'
        )

    def text(self) -> str:
        """Return the heat maps as text."""
        return "\n\n".join([LABELS[self.figure], *(self._lines(table) for table in self.tables)])

    def legend(self) -> str:
        """Return the colour scale as safe HTML; empty if all figures are equal."""
        if self.least is None or self.most is None or self.least == self.most:
            return ""
        low, high = self.colour_share(self.least), self.colour_share(self.most)
        tile = '<span style="display:inline-block;width:1.6em;height:.8em;background:{}"></span>'
        tiles = "".join(tile.format(share_colour(low + (high - low) * n / 8)) for n in range(9))
        ends = self.format_figure(self.least), self.format_figure(self.most)
        scale = f'{ends[0]} <span aria-hidden="true">{tiles}</span> {ends[1]}'
        return f'<div style="{SMALL_STYLE};margin:.2em 0">{scale}</div>'

    def _repr_html_(self) -> str:
        return self.html()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.text())

    def _table(self, table: HeatmapTable, answers: bool) -> str:
        caption = axis = ""
        if table.title:
            caption = f'<caption style="{SMALL_STYLE};text-align:left">{escape_html(table.title)}</caption>'
        if table.column:
            axis = f'<tr><td style="{HEAD_STYLE}"></td>{_axis(table.column, len(table.columns))}</tr>'
        heads = "".join(
            f'<th scope="col" style="{HEAD_STYLE}">{_value_html(value)}</th>' for value in table.columns
        )
        corner = f'<th scope="col" style="{HEAD_STYLE}">{escape_html(table.row)}</th>'
        body = "".join(
            f'<tr style="background:none"><th scope="row" style="{HEAD_STYLE}">{_value_html(value)}</th>'
            f"{''.join(self._tile(cell, answers) for cell in cells)}</tr>"
            for value, cells in zip(table.rows, table.cells, strict=True)
        )
        return (
            f'<table style="border-collapse:separate;border-spacing:3px;margin:0">{caption}'
            f"<thead>{axis}<tr>{corner}{heads}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _tile(self, cell: Cell, answers: bool) -> str:
        background = self.background(self.figure_of(cell))
        style = f"{TILE_STYLE};background:{background}" if background else f"{TILE_STYLE};{NO_FIGURE_STYLE}"
        if not answers:
            figure = self.format_figure(self.figure_of(cell))
            return f'<td style="{style};text-align:center;min-width:3.5em">{figure}</td>'
        words = cell_text(cell, self)
        head = " · ".join(part for part in (words.figure, words.state) if part)
        return (
            f'<td style="{style};text-align:left;vertical-align:top;min-width:9em;max-width:18em">'
            f'<div style="{FAINT_STYLE}">{escape_html(head)}</div>'
            f'<div style="font-weight:600;overflow-wrap:anywhere">{escape_html(words.answer)}</div>'
            f'<div style="{FAINT_STYLE}">{escape_html(words.facts)}</div></td>'
        )

    def _lines(self, table: HeatmapTable) -> str:
        heads = [f"{table.row} \\ {table.column}".strip(" \\"), *(_value_text(value) for value in table.columns)]
        rows = [
            [_value_text(value), *(self.format_figure(self.figure_of(cell)) for cell in cells)]
            for value, cells in zip(table.rows, table.cells, strict=True)
        ]
        title = [escape_controls(table.title)] if table.title else []
        return "\n".join([*title, *align_columns([heads, *rows], right=True)])


class CellText(NamedTuple):
    """The texts of a cell, each a short line with escaped control characters."""

    figure: str
    state: str
    answer: str
    facts: str


STATE_LABELS = {
    "waiting": "○ waiting",
    "sent": "◌ sent",
    "running": "◐ running",
    "failed": "✕ failed",
    "partial": "◑ partial",
    "done": "",
}
"""The sign and word of each state; a finished cell has figures instead."""

PREVIEW_CHARS, PREVIEW_SOURCE_CHARS = 80, 2000
"""Length of the beginning of an answer in a cell, and of the text that it is taken from."""


def cell_text(cell: Cell, plot: Plot) -> CellText:
    """Return the texts of a cell: its figure and state, the beginning of its most frequent answer, and facts."""
    stats = cell.stats()
    figure, state = plot.format_figure(plot.figure_of(cell)), _describe_state(cell, stats)
    preview = one_line(cell.preview_text[:PREVIEW_SOURCE_CHARS], PREVIEW_CHARS) or _failure_reason(cell)
    figure = "" if figure == NO_FIGURE and state else figure
    return CellText(figure, state, preview, _describe_answers(cell, stats))


def _describe_state(cell: Cell, stats: Stats) -> str:
    word = STATE_LABELS[cell.state]
    if stats.asked == len(cell.turns) and not stats.failed and not word:
        return ""
    count = stats.failed if cell.state == "failed" else stats.answers
    has_several = len(cell.turns) > 1 and cell.state != "waiting"
    return f"{word} {count} of {len(cell.turns)}" if has_several else word


def _failure_reason(cell: Cell) -> str:
    """Return why a cell has no text."""
    reasons = (turn.error or incomplete_reason(turn) for turn in cell.received if is_failed(turn))
    return one_line(next(reasons, ""), PREVIEW_CHARS)


def _describe_answers(cell: Cell, stats: Stats) -> str:
    if stats.length is None:
        return ""
    texts = len({turn.answer for turn in cell.received if turn.status == "complete"})
    several = len(stats.finish_reasons) > 1
    reasons = [
        f"{one_line(reason, 16)}{f' {count}' if several else ''}"
        for reason, count in list(stats.finish_reasons.items())[:3]
        if several or reason != "stop"
    ]
    alike = "all different" if texts == stats.answers else f"{texts} of {stats.answers} different"
    alike = f"{stats.answers} × the same" if texts == 1 else alike
    length = f"{'avg ' if stats.spread else ''}{plural(round(stats.length), 'char')}"
    facts = [alike if stats.answers > 1 else "", length, ", ".join(reasons)]
    return " · ".join(fact for fact in facts if fact)


def default_figure(sweep: SweepAnswers) -> str:
    """Return the figure that is plotted by default."""
    return "diversity" if sweep.grid.samples > 1 else "length"


def _axis(name: str, width: int) -> str:
    return f'<th colspan="{width}" style="{HEAD_STYLE}">{escape_html(name)}</th>'


def _value_text(value: Any) -> str:
    return escape_controls(format_value(value, 24))


def _value_html(value: Any) -> str:
    return escape_html(format_value(value, 40))
