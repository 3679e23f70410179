"""What the grid shows: which figure its colours mean, which axes are its rows and columns."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ...render.text import one_line
from ...sweeps import PartialSweep
from ...sweeps.heatmap import Plot, default_figure
from ...sweeps.stats import LABELS
from .. import look
from ..viewer.calls import Calls


class Choices(w.Box):  # type: ignore[misc]
    """Three dropdowns; those for the axes only where there is a choice. ``moved`` is called after a new one."""

    def __init__(self, sweep: PartialSweep, calls: Calls, moved: Callable[[], object]) -> None:
        self._sweep, self._calls, self._moved = sweep, calls, moved
        axes = [(one_line(name, 40), name) for name in sweep.varied]
        figures = [(label, name) for name, label in LABELS.items()]
        self.figure = w.Dropdown(options=figures, value=default_figure(sweep), description="Colour by")
        self.rows = w.Dropdown(options=axes, description="Rows")
        self.columns = w.Dropdown(options=axes, description="Columns")
        if len(axes) > 1:
            self.rows.value, self.columns.value = sweep.varied[:2]
        for choice in (self.rows, self.columns):
            choice.layout.display = None if len(axes) > 1 else "none"
        super().__init__([look.above(choice) for choice in (self.figure, self.rows, self.columns)])
        self.add_class("chatglm-row")
        self.add_class("chatglm-choices")
        self.figure.observe(calls.handler(moved), names="value")
        self._shown = self._axes
        for choice in (self.rows, self.columns):
            choice.observe(calls.handler(self._turn), names="value")

    def plot(self) -> Plot:
        """Return the heat map of what is chosen, as the sweep stands now."""
        rows, columns = self._axes if len(self._sweep.varied) > 1 else (None, None)
        return Plot(self._sweep, self.figure.value, rows, columns)

    @property
    def _axes(self) -> tuple[str | None, str | None]:
        return self.rows.value, self.columns.value

    def _turn(self) -> None:
        """Take in new axes; where both are one now, the other one takes what this one was."""
        rows, columns = self._axes
        if rows == columns:
            with self._calls.filling():
                if rows == self._shown[0]:
                    self.rows.value = self._shown[1]
                else:
                    self.columns.value = self._shown[0]
        self._shown = self._axes
        self._moved()
