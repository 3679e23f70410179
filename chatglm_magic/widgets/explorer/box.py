"""The explorer: a sweep's grid that fills, what to do with the sweep, and the samples of a cell."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import ipywidgets as w

from ...render.outer import output
from ...render.text import one_line, plural
from ...session import get_session
from ...sweeps import Sweep
from ...sweeps.cells import Cell, Progress
from ...sweeps.summary import page, shape, summary, text
from .. import look
from ..answer import CSS as ANSWER
from ..debounce import Sleep
from ..still import CSS as STILL
from ..still import Still
from ..trouble import Status
from ..viewer.calls import Calls
from . import progress
from .beside import Beside
from .choices import Choices
from .doing import Doing
from .overview import Overview
from .style import CSS
from .tiles import Tiles

TEXT = "chatglm sweep: run its cell in a notebook to explore it."

BUTTONS = 400
"""Cells that may be buttons; more would hold up the page, and are one static heat map."""
PAUSE, LONG_PAUSE = 0.09, 0.5
"""Seconds that a change may wait for others to be shown together: of a sweep, and of one of many answers."""
MANY = 5000
"""So many answers are many."""
FLOW = 500
"""Messages a second that the grid may send while the sweep runs: a server drops what exceeds a thousand."""
QUIET = 0.5
"""Seconds without a change after which texts that grow are looked at."""


class Explorer(w.VBox):  # type: ignore[misc]
    """A sweep as widgets, while it runs and afterwards; closing it does not stop the sweep.

    The sweep's thread only wishes for a look; the look is taken in a thread of its own, under the same lock as
    every click.

    :param sleep: waits until the next look; it is for tests, which decide when that is.
    """

    def __init__(self, sweep: Sweep, *, sleep: Sleep = asyncio.sleep) -> None:
        self._sweep, self._partial, self._still = sweep, sweep.partial, Still()
        self._closed, self._ticking, self._kept = False, False, 0
        self._looked, self._rest, self._looks = 0.0, 0.0, 0
        self._calls = calls = Calls(sweep.session or get_session(), sleep=sleep)
        self.state, self.bar = Status(), look.Html()
        self.doing = Doing(sweep, calls, self._look)
        self.choices = Choices(self._partial, calls, self._look)
        self.beside = Beside(sweep, calls, self._left)
        self.grid = (
            Tiles(self._partial, calls, self._open, self.beside.mark)
            if len(self._partial.cells) <= BUTTONS
            else Overview(self._partial, calls, self._open)
        )
        style = look.style_sheet(ANSWER + STILL + CSS)
        parts = (self.state, self.bar, self.doing, calls.status, self.choices, self.grid, self.beside)
        super().__init__([style, look.Html(_heading(sweep)), *parts])
        self.add_class("chatglm-box")
        self.add_class("chatglm-explorer")
        pause = PAUSE if sweep.grid.requests < MANY else LONG_PAUSE
        self._forget = sweep.on_change(calls.soon(self._hear, pause=pause))
        calls.handler(self._look)()

    @property
    def status(self) -> Status:
        """The line that tells what was done and what went wrong."""
        return self._calls.status

    def close(self) -> None:
        """Stop following the sweep, which goes on, and close every part."""
        with self._calls.filling():
            self._closed = True
            self._forget()
            for child in self.children:
                look.close_all(child)
            self.layout.close()
            super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Stand for the explorer where widgets can't be shown."""
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **output(TEXT, f"<p>{TEXT}</p>")}

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Show the explorer, and beneath it an output that will keep the heat map."""
        with self._calls.filling():  # an end that comes meanwhile waits, and changes that output
            self._still.publish_beneath(self, text(self._partial), page(self._partial))

    def _hear(self) -> None:
        """Take in what has changed in the sweep, a little later if much has gone to the page just now."""
        if time.monotonic() >= self._rest or not self._sweep.running:
            self._look()
        else:
            self._look_again(not self._closed)

    def _look(self) -> None:
        """Bring all up to the sweep: the buttons first, so that what tells of an end comes after them.

        An observer may press a button, which looks too; then this look is out of date, and is taken again.
        """
        if self._closed:
            return
        self._looks += 1
        number, found = self._looks, self._sweep.progress
        self._looked = time.monotonic()
        for show in (self._show_buttons, self._show_bar, self._show_cells, self._show_state):
            show(found)
            if number != self._looks:
                self._look()
                return
        self._look_again(found.pending > 0)

    def _show_buttons(self, found: Progress) -> None:
        self.doing.show(found)

    def _show_bar(self, found: Progress) -> None:
        self.bar.value = progress.bar(found)

    def _show_cells(self, found: Progress) -> None:
        self._rest = self._looked + self.grid.show(self.choices.plot(), running=found.pending > 0) / FLOW
        self.beside.show()

    def _show_state(self, found: Progress) -> None:
        sweep = self._partial
        if found.pending:
            word = "stopping" if self.doing.stopping else "running"
            self.state.say(f"Sweep of {shape(sweep)}: {word}")
            return
        if (versions := sum(cell.version for cell in sweep.cells)) != self._kept:
            self._kept = versions
            self._still.put(text(sweep), page(sweep))
        self.state.say(summary(sweep))

    def _look_again(self, running: bool) -> None:
        """Look later at a sweep of which nothing may be heard for a while: its answers grow all the same."""
        if running and not self._ticking:
            self._ticking = True
            self._calls.apart(self._calls.handler(self._tick), after=QUIET)

    def _tick(self) -> None:
        self._ticking = False
        if time.monotonic() - self._looked >= QUIET / 2:
            self._hear()
        else:
            self._look_again(not self._closed)

    def _open(self, cell: Cell) -> None:
        self.beside.present(cell)
        self._look()

    def _left(self, cell: Cell | None) -> None:
        self._look()
        if cell is not None:
            self.grid.focus(cell)


def _heading(sweep: Sweep) -> str:
    first, *others = sweep.grid.prompts
    more = f" (and {plural(len(others), 'more prompt')})" if others else ""
    return look.heading(one_line(first, 200) + more)
