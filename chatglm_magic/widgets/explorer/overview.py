"""A sweep of very many cells: one static heat map, and dropdowns to pick a cell by its values."""

from __future__ import annotations

import time
from collections.abc import Callable

import ipywidgets as w

from ...render.text import one_line
from ...sweeps import PartialSweep
from ...sweeps.cells import Cell
from ...sweeps.grid import shown
from ...sweeps.heatmap import Plot
from .. import look
from ..viewer.calls import Calls

PACE = 2.0
"""Seconds between two drawings while a sweep runs."""
SHARE = 10
"""A drawing may take one part in so many of the time."""
FLOW = 1 << 18
"""Characters a second that may go to the page."""


class Overview(w.VBox):  # type: ignore[misc]
    """The heat map as a table without buttons; ``choose`` is called with the cell that was picked."""

    def __init__(self, sweep: PartialSweep, calls: Calls, choose: Callable[[Cell], object]) -> None:
        self._sweep, self._next, self._drawn = sweep, 0.0, ""
        self.page = look.Html()
        self.pickers = {
            name: w.Dropdown(
                options=[(shown(value, 60), number) for number, value in enumerate(values)],
                description=one_line(name, 40),
            )
            for name, values in sweep.axes.items()
            if len(values) > 1
        }
        self.opener = look.button("Open cell", tooltip="Show the samples of the cell with these values")
        self.opener.on_click(calls.handler(lambda: choose(self.picked())))
        pick = look.row(*(look.above(picker) for picker in self.pickers.values()), self.opener)
        super().__init__([look.classed(pick, "chatglm-choices"), look.classed(w.Box([self.page]), "chatglm-wide")])

    def picked(self) -> Cell:
        """Return the cell with the values that stand in the dropdowns."""
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
        self._next = began + max(PACE, SHARE * took, len(self.page.value) / FLOW)
        return 1

    def focus(self, cell: Cell) -> None:
        """Give the button that opened a cell the keyboard."""
        self.opener.focus()
