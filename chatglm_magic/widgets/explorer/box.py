"""The explorer: a sweep's grid that fills, what can be done with the sweep, and the answers of a cell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ...render.answers import escape_html
from ...render.outer import html_output
from ...render.text import format_seconds, one_line, plural
from ...session import get_session
from ...sweeps import Sweep
from ...sweeps.cells import Cell, Progress
from ...sweeps.grid import told
from ...sweeps.summary import page, text
from .. import look
from ..answer import CSS as ANSWER
from ..debounce import Sleep
from ..still import CSS as STILL
from ..still import StaticFallback
from ..trouble import StatusWidget
from ..viewer.calls import CallbackGuard
from .grid import Choices, Grid, Overview
from .opened import Beside
from .style import CSS

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


def ending(progress: Progress) -> tuple[str, bool]:
    """Say in one line what there is of a sweep that doesn't run, and whether that is an error: all failed."""
    came, total = progress.done, progress.total
    time = f" · {_duration(progress.spent)}" if progress.spent else ""
    failed = f" · {progress.failed} failed" if progress.failed else ""
    if progress.failed == total:
        return f"{'All ' if total > 1 else ''}{plural(total, 'request')} failed{time}", True
    if came == total:
        return f"{plural(total, 'answer')}{time}", False
    if came + progress.failed == total:
        return f"{came} of {total} answers{failed}{time}", False
    return (
        f"Stopped at {came} of {total}{failed}" if progress.spent else f"{came} of {total} answers{failed}"
    ), False


def bar(progress: Progress) -> str:
    """Return how far a running sweep is as safe HTML; a screen reader finds the bar and isn't told of each answer.

    It is full only when nothing is under way, also while failures are asked again.
    """
    came = min(progress.done + progress.failed, progress.total - progress.pending)
    width = 100 * came / progress.total
    parts = [f"{progress.done} of {progress.total} answers"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.left is not None:
        parts.append(f"about {_duration(progress.left)} left")
    words = escape_html(" · ".join(parts))
    return (
        f'<div class="chatglm-progress" role="progressbar" aria-label="Answers" aria-valuemin="0" '
        f'aria-valuemax="{progress.total}" aria-valuenow="{came}" aria-valuetext="{words}">'
        f'<div style="width:{width:.1f}%"></div></div><div class="chatglm-small">{words}</div>'
    )


def _duration(spent: float) -> str:
    if spent < 90:
        return format_seconds(spent) if spent < 10 else f"{spent:.0f} s"
    return f"{spent / 60:.0f} min" if spent < 5400 else f"{spent / 3600:.1f} h"


class Doing(w.Box):  # type: ignore[misc]
    """Three buttons, of which those are there that would do something; each press calls ``seen``."""

    def __init__(self, sweep: Sweep, guard: CallbackGuard, seen: Callable[[], object]) -> None:
        self._sweep, self._guard, self._seen = sweep, guard, seen
        self.stopping = False
        """Whether Stop was pressed and the sweep has not ended yet."""
        self._pressed = False
        self.stop = look.button("Stop", tooltip="Stop the sweep; what came stays")
        self.resume = look.button("Resume", tooltip="Send what is missing")
        self.retry = look.button("Retry failed", tooltip="Send again what failed")
        self.stop.on_click(guard.handler(self._stop))
        self.resume.on_click(guard.handler(self._resume))
        self.retry.on_click(guard.handler(self._retry))
        super().__init__([self.stop, self.resume, self.retry])
        self.add_class("chatglm-row")

    def show(self, progress: Progress) -> None:
        """Offer what would do something; Stop is the last to change, since it tells of the end.

        The keyboard goes from a button that was pressed, and isn't there any more, to the one in its place.
        """
        running = progress.pending > 0
        self.stopping = self.stopping and running
        missing = not running and self._sweep.missing() > 0
        moved = self._pressed and running == self.stop.disabled
        self._offer(self.resume, missing)
        self._offer(self.retry, not running and progress.failed > 0)
        self._offer(self.stop, running)
        if moved:
            self._pressed = False
            if running or missing:
                (self.stop if running else self.resume).focus()

    def _offer(self, button: w.Button, offered: bool) -> None:
        button.layout.display = None if offered else "none"
        button.disabled = not offered

    def _stop(self) -> None:
        if self._sweep.running and not self.stopping:
            self.stopping = self._pressed = True
            self._guard.run_in_thread(self._end)  # it waits for the end, and the kernel must not
            self._guard.run_in_thread(self._guard.handler(self._seen))

    def _end(self) -> None:
        self._sweep.stop()
        self._guard.handler(self._seen)()

    def _resume(self) -> None:
        self._start(self._sweep.resume, "" if self._sweep.missing() else "Nothing is missing.")

    def _retry(self) -> None:
        self._start(self._sweep.retry, "" if self._sweep.progress.failed else "Nothing has failed.")

    def _start(self, begin: Callable[..., object], nothing: str) -> None:
        if self._sweep.running:  # a click that came late
            return
        self._guard.show_status(nothing)
        begin(wait=False)
        self._pressed = True
        self._seen()


class Explorer(w.VBox):  # type: ignore[misc]
    """A sweep as widgets, while it runs and afterwards; closing it does not stop the sweep.

    The sweep's thread only wishes for a look; the look is taken in a thread of its own, under the same lock as
    every click.

    :param sleep: waits until the next look; it is for tests, which decide when that is.
    """

    def __init__(self, sweep: Sweep, *, sleep: Sleep = asyncio.sleep) -> None:
        self._sweep, self._partial, self._fallback = sweep, sweep.partial, StaticFallback()
        self._closed, self._ticking, self._kept = False, False, 0
        self._looked, self._rest, self._looks = 0.0, 0.0, 0
        self._guard = guard = CallbackGuard(sweep.session or get_session(), sleep=sleep)
        self.state, self.bar = StatusWidget(), look.Html()
        self.doing = Doing(sweep, guard, self._look)
        self.choices = Choices(self._partial, guard, self._look)
        self.beside = Beside(sweep, guard, self._left, self._use)
        self.grid: Grid | Overview
        self._overview = Overview(self._partial, guard, self._open)
        if len(self._partial.cells) > BUTTONS:
            self.grid, cells = self._overview, look.column(self._overview)
        else:
            self.grid = Grid(self._partial, guard, self._open, self.beside.mark)
            self._overview.add_class("chatglm-fallback")
            cells = look.column(self.grid, self._overview)
            self.grid.observe(guard.handler(lambda: self._drop(cells)), names="ready")
        cells.add_class("chatglm-all-cells")
        main = look.with_class(w.Box([cells, self.beside]), "chatglm-main")
        style = look.style_sheet(look.FALLBACK + ANSWER + STILL + CSS, "chatglm-explorer")
        head = look.row(self.state, self.doing, guard.status)
        super().__init__([style, look.Html(_heading(sweep)), head, self.bar, self.choices, main])
        self.add_class("chatglm-box")
        self.add_class("chatglm-explorer")
        pause = PAUSE if sweep.grid.requests < MANY else LONG_PAUSE
        self._forget = sweep.on_change(guard.debounce(self._hear, pause=pause))
        guard.handler(self._look)()

    @property
    def status(self) -> StatusWidget:
        """The line that tells what was done and what went wrong."""
        return self._guard.status

    def close(self) -> None:
        """Stop following the sweep, which goes on, and close every part."""
        with self._guard.suspend_handlers():
            self._closed = True
            self._forget()
            for child in self.children:
                look.close_all(child)
            self.layout.close()
            super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Stand for the explorer where widgets can't be shown."""
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **html_output(TEXT, f"<p>{TEXT}</p>")}

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Show the explorer, and beneath it an output that will keep the grid."""
        with self._guard.suspend_handlers():  # an end that comes meanwhile waits, and changes that output
            self._fallback.publish_below(self, text(self._partial), page(self._partial))

    def _use(self, cell: Cell) -> None:
        """Make a cell's parameters the session's."""
        session = self._sweep.session or get_session()
        further = [name for name in cell.setting if not session.settings.has_trait(name)]
        for name, value in cell.setting.items():
            if name not in further:
                session.set_parameter(name, value)
        taken = told({name: value for name, value in cell.setting.items() if name not in further})
        words = [f"The next prompt is asked with {taken}."] if taken else []
        words += [f"{', '.join(further)}: not a setting, but a key of the request's body."] if further else []
        self._guard.show_status(" ".join(words))

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
        for show in (self.doing.show, self._show_bar, self._show_cells, self._show_state):
            show(found)
            if number != self._looks:
                self._look()
                return
        self._look_again(found.pending > 0)

    def _show_bar(self, found: Progress) -> None:
        self.bar.value = bar(found) if found.pending else ""
        self.bar.layout.display = None if found.pending else "none"

    def _show_cells(self, found: Progress) -> None:
        plot, running = self.choices.plot(), found.pending > 0
        messages = self.grid.show(plot, running=running)
        if self._overview is not self.grid and not self.grid.ready:
            self._overview.show(plot, running=running)
        self.choices.legend.value = self.grid.legend
        self._rest = self._looked + messages / FLOW
        self.beside.show()

    def _show_state(self, found: Progress) -> None:
        sweep = self._partial
        if found.pending:
            self.state.show_text("Stopping…" if self.doing.stopping else "Running…")
            return
        if (versions := sum(cell.version for cell in sweep.cells)) != self._kept:
            self._kept = versions
            self._fallback.update(text(sweep), page(sweep))
        words, failed = ending(found)
        self.state.value = look.status_html(words, failed=failed)

    def _drop(self, cells: w.Box) -> None:
        """Close what stands in for the grid, now that a page shows it."""
        cells.children = (self.grid,)
        look.close_all(self._overview)

    def _look_again(self, running: bool) -> None:
        """Look later at a sweep of which nothing may be heard for a while: its answers grow all the same."""
        if running and not self._ticking:
            self._ticking = True
            self._guard.run_in_thread(self._guard.handler(self._tick), after=QUIET)

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
            self.grid.focus_cell(cell)


def _heading(sweep: Sweep) -> str:
    first, *others = sweep.grid.prompts
    more = f" (and {plural(len(others), 'more prompt')})" if others else ""
    return look.heading_html(one_line(first, 200) + more)
