"""The grid: a button for each cell, under the names of its values; only what has changed goes to the page."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as w

from ...render.answers import escape
from ...sweeps import PartialSweep
from ...sweeps.cells import Cell
from ...sweeps.grid import shown
from ...sweeps.heatmap import Plot, Table, colour, css
from .. import look
from ..viewer.calls import Calls
from .words import face, title

SCALE = 1.0
"""Seconds for which the colours' scale stays while a sweep runs: a new one changes every cell."""

Scale = tuple[str, float | None, float | None]
Mark = Callable[[Cell], str]


class Tiles(w.VBox):  # type: ignore[misc]
    """All cells as buttons, in one table or several; ``choose`` is called with a cell that was clicked.

    :param mark: tells what else a cell is: ``open``, ``pinned``, or an empty text.
    """

    def __init__(self, sweep: PartialSweep, calls: Calls, choose: Callable[[Cell], object], mark: Mark) -> None:
        self._mark, self._frame = mark, list[Any]()
        self._drawn: dict[int, tuple[object, ...]] = {}
        self._scale: tuple[Scale, float] | None = None
        self._placed: tuple[str, str] | None = None
        layout, prompts = w.Layout(), len(sweep.grid.prompts) > 1
        self._cells = sweep.cells
        self.buttons = [w.Button(layout=layout, tooltip=title(cell, prompts=prompts)) for cell in self._cells]
        self._of = {id(cell): button for cell, button in zip(self._cells, self.buttons, strict=True)}
        for cell, button in zip(self._cells, self.buttons, strict=True):
            button.on_click(calls.handler(partial(choose, cell)))
        self.legend, self._tables = look.Html(), look.classed(w.Box(), "chatglm-tables")
        super().__init__([self.legend, self._tables])

    def show(self, plot: Plot, *, running: bool) -> int:
        """Bring the grid up to the sweep; ``running`` says that more will come.

        Return how many messages went to the page.
        """
        sent = 0
        self._place(plot)
        scale, now = (plot.figure, plot.least, plot.most), time.monotonic()
        old, until = self._scale or (None, 0.0)
        fresh = scale != old and (not running or now >= until or old is None or old[0] != scale[0])
        if fresh:
            self._scale = scale, now + SCALE
            self.legend.value = legend(plot)
        for cell, button in zip(self._cells, self.buttons, strict=True):
            mark, length = self._mark(cell), len(cell.beginning) if cell.drafts else 0
            state = (cell.version, length, mark)  # read first: what changes meanwhile is drawn the next time
            if fresh or self._drawn.get(id(cell)) != state:
                self._drawn[id(cell)] = state
                sent += _draw(button, cell, plot, mark)
        return sent

    def focus(self, cell: Cell) -> None:
        """Give a cell the keyboard."""
        self._of[id(cell)].focus()

    def _place(self, plot: Plot) -> None:
        """Put the buttons where the axes say; the same ones wherever they stand."""
        tables = plot.tables
        if self._placed == (tables[0].row, tables[0].column):
            return
        self._placed = tables[0].row, tables[0].column
        old, self._frame = self._frame, []
        self._tables.children = [self._table(table) for table in tables]
        for widget in old:
            widget.children = ()
            look.close_all(widget)

    def _table(self, table: Table) -> w.Box:
        parts = [_head(table.row, "corner"), *(_head(shown(value), "column") for value in table.columns)]
        if table.column:
            parts.insert(0, look.classed(_head(table.column, "axis"), "chatglm-axis"))
        heads = list(parts)
        for value, cells in zip(table.rows, table.cells, strict=True):
            heads.append(_head(shown(value), "line"))
            parts += [heads[-1], *(self._of[id(cell)] for cell in cells)]
        columns = f"fit-content(14em) repeat({len(table.columns)},minmax(7.5em,13em))"
        grid = look.classed(w.GridBox(parts, layout=w.Layout(grid_template_columns=columns)), "chatglm-cells")
        caption = look.Html(look.small(table.title), layout=w.Layout(display=None if table.title else "none"))
        box = look.column(caption, grid)
        self._frame += [*heads, caption, grid, box]
        return box


def legend(plot: Plot) -> str:
    """Return what the colours stand for, from the least to the most, as safe HTML."""
    if plot.least is None or plot.least == plot.most:
        return ""
    tiles = "".join(f'<span style="background:{css(colour(n / 8))}"></span>' for n in range(9))
    low, high = plot.number(plot.least), plot.number(plot.most)
    return f'<div class="chatglm-small chatglm-legend">{low} <span aria-hidden="true">{tiles}</span> {high}</div>'


def _head(text: str, kind: str) -> w.HTML:
    return look.Html(f'<div class="chatglm-head chatglm-head-{kind}">{escape(text)}</div>')


def _draw(button: w.Button, cell: Cell, plot: Plot, mark: str) -> int:
    ground, ink = plot.colours(plot.of(cell)) or (None, None)
    sent = put(button.style, button_color=ground, text_color=ink)
    classes = (f"chatglm-is-{cell.state}", *(f"chatglm-is-{word}" for word in mark.split(", ") if word))
    return sent + put(button, description=face(cell, plot, mark), _dom_classes=classes)


def put(widget: Any, **traits: Any) -> int:
    """Give a widget those values that it does not have yet, in one message; return how many that took."""
    new = {name: value for name, value in traits.items() if getattr(widget, name) != value}
    if new:
        with widget.hold_sync():
            for name, value in new.items():
                setattr(widget, name, value)
    return bool(new)
