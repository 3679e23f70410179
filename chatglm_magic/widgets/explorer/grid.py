"""The grid of a sweep: its cells by their parameter values, with their contents; only changes are sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import anywidget
import ipywidgets as w
import traitlets as t

from ...render.answers import escape_html
from ...render.outer import disable_typesetting
from ...render.text import escape_controls, one_line
from ...sweeps import PartialSweep
from ...sweeps.cells import Cell
from ...sweeps.grid import format_setting, format_value
from ...sweeps.heatmap import HeatmapTable, Plot, cell_text, default_figure
from ...sweeps.stats import LABELS
from .. import look
from ..viewer.calls import CallbackGuard

RESCALE_SECONDS = 1.0
"""Minimum time between two changes of the colour scale while a sweep runs, since each one changes every cell."""
MAX_UNSCROLLED_ROWS = 8
"""Rows of a table that are displayed without scrolling."""

Scale = tuple[str, float | None, float | None]
CellCallback = Callable[[Cell], object]
CellMark = Callable[[Cell], str]


def cell_title(cell: Cell, *, prompts: bool) -> str:
    """Return a cell's values in a few words; ``prompts`` says whether to include its prompt."""
    parts = [f"prompt {format_value(cell.prompt, 60)}"] if prompts else []
    parts += [format_setting(cell.setting)] if cell.setting else []
    return escape_controls(", ".join(parts)) or one_line(cell.prompt, 60)


class GridWidget(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]
    """All cells as buttons, in one or several tables; the page's part is ``grid.js``.

    :param choose: called with the cell that was clicked.
    :param mark: returns ``open``, ``pinned``, both, or an empty text for a cell.
    """

    _esm = (files(__package__) / "grid.js").read_text(encoding="utf-8")

    html = t.Unicode().tag(sync=True)
    """The tables, with an empty button for each cell."""
    tiles = t.Dict().tag(sync=True)
    """The state of each cell by its number: ``classes``, ``ground``, ``html`` and ``open``.

    Changed in place, which sends nothing: a page gets all of it when it opens, and only changes later.
    """
    changed = t.Dict()
    """The last changes to ``tiles``, for observers in the kernel."""

    ready = t.Bool(False)
    """Whether a page has displayed the grid."""

    def __init__(self, sweep: PartialSweep, guard: CallbackGuard, choose: CellCallback, mark: CellMark) -> None:
        self._choose, self._mark, self._guard = choose, mark, guard
        self._cells = sweep.cells
        self._prompts = len(sweep.grid.prompts) > 1
        self._numbers = {id(cell): number for number, cell in enumerate(self._cells)}
        self._drawn_states: dict[int, tuple[object, ...]] = {}
        self._scale: tuple[Scale, float] | None = None
        self._displayed_axes: tuple[str, str] | None = None
        self.legend = ""
        """The legend of the current colours, as safe HTML."""
        super().__init__()
        self.add_class("chatglm-grid")
        self.on_msg(self._on_message)

    def show(self, plot: Plot, *, running: bool) -> int:
        """Update the grid from the sweep.

        :param running: whether more answers will come.
        :returns: the number of messages sent to the page.
        """
        has_new_layout = self._lay_out(plot)
        scale, now = (plot.figure, plot.least, plot.most), time.monotonic()
        old, until = self._scale or (None, 0.0)
        is_new_scale = scale != old and (not running or now >= until or old is None or old[0] != scale[0])
        if is_new_scale:
            self._scale = scale, now + RESCALE_SECONDS
            self.legend = plot.legend()
        changed: dict[str, Any] = {}
        for number, cell in enumerate(self._cells):
            mark, length = self._mark(cell), len(cell.preview_text) if cell.drafts else 0
            state = (cell.version, cell.state, length, mark)  # read first: a change meanwhile is drawn next time
            if is_new_scale or self._drawn_states.get(number) != state:
                self._drawn_states[number] = state
                tile = _tile_state(cell, plot, mark)
                if self.tiles.get(str(number)) != tile:
                    changed[str(number)] = tile
        if changed:
            self.tiles.update(changed)
            self.send({"tiles": changed})
            self.changed = changed
        return has_new_layout + bool(changed)

    def focus_cell(self, cell: Cell) -> None:
        """Move the keyboard focus to a cell."""
        self.send({"focus": self._numbers[id(cell)]})

    def _on_message(self, _: Any, content: Any, buffers: Any) -> None:
        number = content.get("open") if isinstance(content, dict) else None
        if isinstance(number, int) and 0 <= number < len(self._cells):
            self._guard.handler(lambda: self._choose(self._cells[number]))()
        elif isinstance(content, dict) and content.get("ready"):
            self._guard.handler(lambda: self.send_state("tiles"))()  # changes sent before the page listened
            self.ready = True

    def _lay_out(self, plot: Plot) -> bool:
        """Arrange the cells by the axes; return whether the arrangement has changed."""
        axes = plot.tables[0].row, plot.tables[0].column
        if self._displayed_axes == axes:
            return False
        self._displayed_axes = axes
        self.html = disable_typesetting("".join(self._table_html(table) for table in plot.tables))
        return True

    def _table_html(self, table: HeatmapTable) -> str:
        names = " ".join(
            name
            for name in (table.column and f"{table.column}\u00a0→", table.row and f"{table.row}\u00a0↓")
            if name
        )
        heads = "".join(_header_html(format_value(value), "columnheader") for value in table.columns)
        rows = [_header_html(names, "columnheader", "chatglm-corner") + heads]
        for value, cells in zip(table.rows, table.cells, strict=True):
            buttons = "".join(f'<div role="gridcell">{self._button_html(cell)}</div>' for cell in cells)
            rows.append(_header_html(format_value(value), "rowheader") + buttons)
        caption = look.small_html(table.title) if table.title else ""
        name = escape_html(" · ".join(part for part in ("Answers", table.title) if part))
        tall = " chatglm-tall" if len(table.rows) > MAX_UNSCROLLED_ROWS else ""
        style = f"grid-template-columns:fit-content(9em) repeat({len(table.columns)},minmax(7.5em,1fr))"
        lines = "".join(f'<div role="row">{row}</div>' for row in rows)
        return (
            f'<div class="chatglm-table">{caption}'
            f'<div class="chatglm-cells{tall}" role="grid" aria-label="{name}" style="{style}">{lines}</div></div>'
        )

    def _button_html(self, cell: Cell) -> str:
        name = escape_html(cell_title(cell, prompts=self._prompts))
        return f'<button type="button" tabindex="-1" data-n="{self._numbers[id(cell)]}" title="{name}"></button>'


def _header_html(text: str, role: str, kind: str = "") -> str:
    return f'<div class="chatglm-head {kind}" role="{role}">{escape_html(text)}</div>'


def _tile_state(cell: Cell, plot: Plot, mark: str) -> dict[str, Any]:
    words = cell_text(cell, plot)
    state = " · ".join(part for part in (words.state, mark) if part)
    parts = (("figure", words.figure), ("state", state), ("text", words.answer), ("facts", words.facts))
    marks = [f"chatglm-is-{name}" for name in (cell.state, *mark.split(", ")) if name]
    return {
        "classes": " ".join(["chatglm-tile", *marks]),
        "ground": plot.background(plot.figure_of(cell)),
        "html": "".join(
            f'<span class="chatglm-{name}">{escape_html(text)}</span> ' for name, text in parts if text
        ),
        "open": "open" in mark,
    }


REDRAW_SECONDS = 2.0
"""Minimum time between two drawings of a heat map while a sweep runs."""
REDRAW_TIME_FACTOR = 10
"""Minimum time between two drawings, as a multiple of the time that one takes."""
MAX_CHARACTERS_PER_SECOND = 1 << 18
"""Limit of what is sent to the page."""


class HeatMapView(w.VBox):  # type: ignore[misc]
    """The heat map as a table without buttons, with dropdowns to select a cell by its values.

    Used for sweeps with very many cells, and for pages that can't display the grid.

    :param choose: called with the selected cell.
    """

    def __init__(self, sweep: PartialSweep, guard: CallbackGuard, choose: CellCallback) -> None:
        self._sweep, self._next_drawing, self._drawn_options = sweep, 0.0, ""
        self.legend = ""
        """Empty, since the heat map contains its legend."""
        self.page = look.Html()
        self.pickers = {
            name: w.Dropdown(
                options=[(format_value(value, 60), number) for number, value in enumerate(values)],
                description=one_line(name, 40),
            )
            for name, values in sweep.axes.items()
            if len(values) > 1
        }
        self.open_button = look.button("Open cell", tooltip="Show the answers of the cell with these values")
        self.open_button.on_click(guard.handler(lambda: choose(self.selected_cell())))
        pickers = look.row(*map(look.label_above, self.pickers.values()), self.open_button)
        heat_map = look.with_class(w.Box([self.page]), "chatglm-wide")
        super().__init__([look.with_class(pickers, "chatglm-choices"), heat_map])

    def selected_cell(self) -> Cell:
        """Return the cell with the values selected in the dropdowns."""
        number = 0  # cells are ordered by the axes, the last one changing fastest
        for name, values in {"prompt": self._sweep.grid.prompts, **self._sweep.grid.axes}.items():
            number = number * len(values) + (self.pickers[name].value if name in self.pickers else 0)
        return self._sweep.cells[number]

    def show(self, plot: Plot, *, running: bool) -> int:
        """Draw the heat map: at intervals while a sweep runs, at once for new options and at the end.

        :returns: the number of messages sent to the page.
        """
        began, options = time.monotonic(), f"{plot.figure} {plot.tables[0].row} {plot.tables[0].column}"
        if running and began < self._next_drawing and options == self._drawn_options:
            return 0
        self.page.value, self._drawn_options = plot.html(), options
        took = time.monotonic() - began
        sending = len(self.page.value) / MAX_CHARACTERS_PER_SECOND
        self._next_drawing = began + max(REDRAW_SECONDS, REDRAW_TIME_FACTOR * took, sending)
        return 1

    def focus_cell(self, cell: Cell) -> None:
        """Move the keyboard focus to the button that opened a cell."""
        self.open_button.focus()


class GridOptions(w.Box):  # type: ignore[misc]
    """Dropdowns for the grid's figure and, if there are several, its axes, and the legend of the colours.

    :param on_change: called after another option was selected.
    """

    def __init__(self, sweep: PartialSweep, guard: CallbackGuard, on_change: Callable[[], object]) -> None:
        self._sweep, self._guard, self._on_change = sweep, guard, on_change
        axes = [(one_line(name, 40), name) for name in sweep.varied]
        figures = [(label, name) for name, label in LABELS.items()]
        self.figure = w.Dropdown(options=figures, value=default_figure(sweep), description="Colour by")
        self.rows = w.Dropdown(options=axes, description="Rows")
        self.columns = w.Dropdown(options=axes, description="Columns")
        self.legend = look.Html()
        if len(axes) > 1:
            self.rows.value, self.columns.value = sweep.varied[:2]
        for choice in (self.rows, self.columns):
            choice.layout.display = None if len(axes) > 1 else "none"
        super().__init__([*map(look.label_above, (self.figure, self.rows, self.columns)), self.legend])
        self.add_class("chatglm-row")
        self.add_class("chatglm-choices")
        self.figure.observe(guard.handler(on_change), names="value")
        self._previous_axes = self._axes
        for choice in (self.rows, self.columns):
            choice.observe(guard.handler(self._on_axes), names="value")

    def plot(self) -> Plot:
        """Return the heat map of the sweep as it is now, with the selected options."""
        rows, columns = self._axes if len(self._sweep.varied) > 1 else (None, None)
        return Plot(self._sweep, self.figure.value, rows, columns)

    @property
    def _axes(self) -> tuple[str | None, str | None]:
        return self.rows.value, self.columns.value

    def _on_axes(self) -> None:
        """Apply new axes; if both are now the same, swap them."""
        rows, columns = self._axes
        if rows == columns:
            with self._guard.suspend_handlers():
                if rows == self._previous_axes[0]:
                    self.rows.value = self._previous_axes[1]
                else:
                    self.columns.value = self._previous_axes[0]
        self._previous_axes = self._axes
        self._on_change()
