"""The opened cell and a pinned baseline side by side, with what differs marked."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ...sweeps import Sweep
from ...sweeps.cells import Cell
from .. import look
from ..viewer.calls import Calls
from .side import Side
from .words import title


class Beside(w.Box):  # type: ignore[misc]
    """At most two cells. ``changed`` is called with the cell that was closed, or None, when the marks change."""

    def __init__(self, sweep: Sweep, calls: Calls, changed: Callable[[Cell | None], object]) -> None:
        self._calls, self._changed = calls, changed
        self._prompts, samples = len(sweep.grid.prompts) > 1, sweep.grid.samples
        self._compared: tuple[str, str] | None = None
        self.pin = look.button("Pin as baseline", tooltip="Keep this cell beside the next one that is opened")
        self.leave = look.button("Close", tooltip="Close the samples")
        self.unpin = look.button("Unpin", tooltip="Take the baseline away")
        self.baseline = Side("Baseline", samples, calls, self.show, self.unpin)
        self.opened = Side("Opened", samples, calls, self.show, self.pin, self.leave)
        self.pin.on_click(calls.handler(self._pin))
        self.leave.on_click(calls.handler(self._leave))
        self.unpin.on_click(calls.handler(self._unpin))
        super().__init__([self.baseline, self.opened])
        self.add_class("chatglm-beside")
        self.show()

    def present(self, cell: Cell) -> None:
        """Show a cell's samples."""
        self.opened.take(cell, prompts=self._prompts)
        other = self.baseline.cell
        names = [title(found, prompts=self._prompts) for found in (other, cell) if found is not None]
        self._calls.say(f"{' and '.join(names)} are compared below." if other is not None else "")
        self.show()

    def mark(self, cell: Cell) -> str:
        """Tell what a cell is here: ``open``, ``pinned``, both or neither."""
        words = (("open", self.opened.cell), ("pinned", self.baseline.cell))
        return ", ".join(word for word, other in words if other is cell)

    def show(self) -> None:
        """Bring both up to the sweep."""
        for side in (self.baseline, self.opened):
            side.show()
        if self.baseline.cell is None or self.opened.cell is None:
            self._compared = None
            self.baseline.mark(None)
            self.opened.mark(None)
        elif self._compared != (found := (self.baseline.text, self.opened.text)):
            from ...render.diff import marked

            self._compared = found
            for side, html in zip((self.baseline, self.opened), marked(found), strict=True):
                side.mark(html or look.small("no text"))

    def _pin(self) -> None:
        cell = self.opened.cell
        if cell is not None:
            self.baseline.take(cell, prompts=self._prompts)
            self.opened.take(None, prompts=self._prompts)
            self._calls.say(f"{title(cell, prompts=self._prompts)} is pinned: open another cell to compare.")
            self.show()
            self._changed(cell)

    def _leave(self) -> None:
        cell = self.opened.cell
        self.opened.take(None, prompts=self._prompts)
        self.show()
        self._changed(cell)

    def _unpin(self) -> None:
        self.baseline.take(None, prompts=self._prompts)
        self._calls.say("")
        self.show()
        self._changed(None)
