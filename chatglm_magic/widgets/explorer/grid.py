"""The grid of a sweep: its cells under the names of their values, and what they show; only changes are sent."""

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
from ...sweeps.grid import shown, told
from ...sweeps.heatmap import Plot, Table, default_figure, face
from ...sweeps.stats import LABELS
from .. import look
from ..viewer.calls import CallbackGuard

RESCALE_SECONDS = 1.0
"""Time for which the colours' scale stays while a sweep runs: a new one changes every cell."""
TALL = 8
"""Lines of a table above which it scrolls."""

Scale = tuple[str, float | None, float | None]
Choose = Callable[[Cell], object]
Mark = Callable[[Cell], str]


def title(cell: Cell, *, prompts: bool) -> str:
    """Return a cell's values in a few words, its prompt among them where there are several."""
    parts = [f"prompt {shown(cell.prompt, 60)}"] if prompts else []
    parts += [told(cell.setting)] if cell.setting else []
    return escape_controls(", ".join(parts)) or one_line(cell.prompt, 60)


class Grid(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]
    """All cells as buttons, in one table or several; the page's part is ``grid.js``.

    :param choose: is called with a cell that was clicked.
    :param mark: returns what else a cell is: ``open``, ``pinned``, both or an empty text.
    """

    _esm = (files(__package__) / "grid.js").read_text(encoding="utf-8")

    html = t.Unicode().tag(sync=True)
    """The tables, with an empty button for each cell."""
    tiles = t.Dict().tag(sync=True)
    """What each cell shows by its number: ``classes``, ``ground``, ``html`` and ``open``.

    It is changed in place, which sends nothing: a page that begins gets all of it, later what has changed.
    """
    changed = t.Dict()
    """The cells that were drawn last, as ``tiles`` has them; for those who watch the grid in the kernel."""

    ready = t.Bool(False)
    """Whether a page has shown the grid."""

    def __init__(self, sweep: PartialSweep, guard: CallbackGuard, choose: Choose, mark: Mark) -> None:
        self._choose, self._mark, self._guard = choose, mark, guard
        self._cells = sweep.cells
        self._prompts = len(sweep.grid.prompts) > 1
        self._numbers = {id(cell): number for number, cell in enumerate(self._cells)}
        self._drawn: dict[int, tuple[object, ...]] = {}
        self._scale: tuple[Scale, float] | None = None
        self._placed: tuple[str, str] | None = None
        self.legend = ""
        """What the colours mean at present, as safe HTML."""
        super().__init__()
        self.add_class("chatglm-grid")
        self.on_msg(self._on_message)

    def show(self, plot: Plot, *, running: bool) -> int:
        """Bring the grid up to the sweep; ``running`` says that more will come.

        Return how many messages went to the page.
        """
        placed = self._place(plot)
        scale, now = (plot.figure, plot.least, plot.most), time.monotonic()
        old, until = self._scale or (None, 0.0)
        fresh = scale != old and (not running or now >= until or old is None or old[0] != scale[0])
        if fresh:
            self._scale = scale, now + RESCALE_SECONDS
            self.legend = plot.legend()
        changed: dict[str, Any] = {}
        for number, cell in enumerate(self._cells):
            mark, length = self._mark(cell), len(cell.beginning) if cell.drafts else 0
            state = (cell.version, cell.state, length, mark)  # read first: what changes meanwhile is drawn later
            if fresh or self._drawn.get(number) != state:
                self._drawn[number] = state
                tile = _tile(cell, plot, mark)
                if self.tiles.get(str(number)) != tile:
                    changed[str(number)] = tile
        if changed:
            self.tiles.update(changed)
            self.send({"tiles": changed})
            self.changed = changed
        return placed + bool(changed)

    def focus_cell(self, cell: Cell) -> None:
        """Give a cell the keyboard."""
        self.send({"focus": self._numbers[id(cell)]})

    def _on_message(self, _: Any, content: Any, buffers: Any) -> None:
        number = content.get("open") if isinstance(content, dict) else None
        if isinstance(number, int) and 0 <= number < len(self._cells):
            self._guard.handler(lambda: self._choose(self._cells[number]))()
        elif isinstance(content, dict) and content.get("ready"):
            self._guard.handler(lambda: self.send_state("tiles"))()  # what came before the page listened
            self.ready = True

    def _place(self, plot: Plot) -> bool:
        """Put the cells where the axes say; return whether that has changed."""
        placed = plot.tables[0].row, plot.tables[0].column
        if self._placed == placed:
            return False
        self._placed = placed
        self.html = disable_typesetting("".join(self._table(table) for table in plot.tables))
        return True

    def _table(self, table: Table) -> str:
        names = " ".join(
            name
            for name in (table.column and f"{table.column}\u00a0→", table.row and f"{table.row}\u00a0↓")
            if name
        )
        heads = "".join(_head(shown(value), "columnheader") for value in table.columns)
        rows = [_head(names, "columnheader", "chatglm-corner") + heads]
        for value, cells in zip(table.rows, table.cells, strict=True):
            buttons = "".join(f'<div role="gridcell">{self._button(cell)}</div>' for cell in cells)
            rows.append(_head(shown(value), "rowheader") + buttons)
        caption = look.small_html(table.title) if table.title else ""
        name = escape_html(" · ".join(part for part in ("Answers", table.title) if part))
        tall = " chatglm-tall" if len(table.rows) > TALL else ""
        style = f"grid-template-columns:fit-content(9em) repeat({len(table.columns)},minmax(7.5em,1fr))"
        lines = "".join(f'<div role="row">{row}</div>' for row in rows)
        return (
            f'<div class="chatglm-table">{caption}'
            f'<div class="chatglm-cells{tall}" role="grid" aria-label="{name}" style="{style}">{lines}</div></div>'
        )

    def _button(self, cell: Cell) -> str:
        name = escape_html(title(cell, prompts=self._prompts))
        return f'<button type="button" tabindex="-1" data-n="{self._numbers[id(cell)]}" title="{name}"></button>'


def _head(text: str, role: str, kind: str = "") -> str:
    return f'<div class="chatglm-head {kind}" role="{role}">{escape_html(text)}</div>'


def _tile(cell: Cell, plot: Plot, mark: str) -> dict[str, Any]:
    words = face(cell, plot)
    state = " · ".join(part for part in (words.state, mark) if part)
    parts = (("figure", words.figure), ("state", state), ("text", words.answer), ("facts", words.facts))
    marks = [f"chatglm-is-{name}" for name in (cell.state, *mark.split(", ")) if name]
    return {
        "classes": " ".join(["chatglm-tile", *marks]),
        "ground": plot.ground(plot.of(cell)),
        "html": "".join(
            f'<span class="chatglm-{name}">{escape_html(text)}</span> ' for name, text in parts if text
        ),
        "open": "open" in mark,
    }


PACE_SECONDS = 2.0
"""Time between two drawings of a heat map while a sweep runs."""
SHARE = 10
"""A drawing may take one part in so many of the time."""
FLOW = 1 << 18
"""Characters a second that may go to the page."""


class Overview(w.VBox):  # type: ignore[misc]
    """The heat map as a table without buttons, and dropdowns to pick a cell by its values.

    It serves sweeps of very many cells, and pages in which the grid can't be shown.

    :param choose: is called with the cell that was picked.
    """

    def __init__(self, sweep: PartialSweep, guard: CallbackGuard, choose: Choose) -> None:
        self._sweep, self._next, self._drawn = sweep, 0.0, ""
        self.legend = ""
        """Empty: the heat map has one of its own."""
        self.page = look.Html()
        self.pickers = {
            name: w.Dropdown(
                options=[(shown(value, 60), number) for number, value in enumerate(values)],
                description=one_line(name, 40),
            )
            for name, values in sweep.axes.items()
            if len(values) > 1
        }
        self.opener = look.button("Open cell", tooltip="Show the answers of the cell with these values")
        self.opener.on_click(guard.handler(lambda: choose(self.picked())))
        pick = look.row(*(look.label_above(picker) for picker in self.pickers.values()), self.opener)
        super().__init__(
            [look.with_class(pick, "chatglm-choices"), look.with_class(w.Box([self.page]), "chatglm-wide")]
        )

    def picked(self) -> Cell:
        """Return the cell with the values that are chosen in the dropdowns."""
        number = 0  # a grid's cells come in the order of their axes, the last one changing fastest
        for name, values in {"prompt": self._sweep.grid.prompts, **self._sweep.grid.axes}.items():
            number = number * len(values) + (self.pickers[name].value if name in self.pickers else 0)
        return self._sweep.cells[number]

    def show(self, plot: Plot, *, running: bool) -> int:
        """Draw the heat map, now and then while a sweep runs, at once for a new choice and at the end.

        Return how many messages went to the page.
        """
        began, chosen = time.monotonic(), f"{plot.figure} {plot.tables[0].row} {plot.tables[0].column}"
        if running and began < self._next and chosen == self._drawn:
            return 0
        self.page.value, self._drawn = plot.html(), chosen
        took = time.monotonic() - began
        self._next = began + max(PACE_SECONDS, SHARE * took, len(self.page.value) / FLOW)
        return 1

    def focus_cell(self, cell: Cell) -> None:
        """Give the button that opened a cell the keyboard."""
        self.opener.focus()


class Choices(w.Box):  # type: ignore[misc]
    """What the grid shows: its figure and its axes, where there is a choice, and what the colours mean.

    :param moved: is called after a new choice.
    """

    def __init__(self, sweep: PartialSweep, guard: CallbackGuard, moved: Callable[[], object]) -> None:
        self._sweep, self._guard, self._moved = sweep, guard, moved
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
        self.figure.observe(guard.handler(moved), names="value")
        self._shown = self._axes
        for choice in (self.rows, self.columns):
            choice.observe(guard.handler(self._turn), names="value")

    def plot(self) -> Plot:
        """Return the heat map of what is chosen, as the sweep is now."""
        rows, columns = self._axes if len(self._sweep.varied) > 1 else (None, None)
        return Plot(self._sweep, self.figure.value, rows, columns)

    @property
    def _axes(self) -> tuple[str | None, str | None]:
        return self.rows.value, self.columns.value

    def _turn(self) -> None:
        """Take in new axes; where both are one now, the other one takes what this one was."""
        rows, columns = self._axes
        if rows == columns:
            with self._guard.suspend_handlers():
                if rows == self._shown[0]:
                    self.rows.value = self._shown[1]
                else:
                    self.columns.value = self._shown[0]
        self._shown = self._axes
        self._moved()
