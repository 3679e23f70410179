"""The explorer: a sweep's grid as it fills, buttons to control the sweep, and the answers of selected cells."""

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
from ...sweeps.grid import format_setting
from ...sweeps.summary import sweep_html, sweep_text
from .. import look
from ..answer import CSS as ANSWER
from ..debounce import Sleep
from ..still import CSS as STILL
from ..still import StaticFallback
from ..trouble import StatusWidget
from ..viewer.calls import CallbackGuard
from .grid import GridOptions, GridWidget, HeatMapView
from .opened import CellDetails
from .style import CSS

FALLBACK_TEXT = "chatglm sweep: run its cell in a notebook to explore it."

MAX_BUTTONS = 400
"""Cells that are displayed as buttons; more would slow down the page, so they become one static heat map."""
UPDATE_SECONDS, SLOW_UPDATE_SECONDS = 0.09, 0.5
"""Time in which changes are collected into one update; the slow one is for sweeps with many requests."""
MANY_REQUESTS = 5000
MAX_MESSAGES_PER_SECOND = 500
"""Limit for the grid while the sweep runs, since Jupyter drops messages above 1000 per second."""
IDLE_SECONDS = 0.5
"""Time without a change after which growing texts are updated."""


def describe_outcome(progress: Progress) -> tuple[str, bool]:
    """Return one line about a sweep that isn't running, and whether it is an error: all requests failed."""
    done, total = progress.done, progress.total
    duration = f" · {_format_duration(progress.spent)}" if progress.spent else ""
    failed = f" · {progress.failed} failed" if progress.failed else ""
    if progress.failed == total:
        return f"{'All ' if total > 1 else ''}{plural(total, 'request')} failed{duration}", True
    if done == total:
        return f"{plural(total, 'answer')}{duration}", False
    if done + progress.failed == total:
        return f"{done} of {total} answers{failed}{duration}", False
    if progress.spent:
        return f"Stopped at {done} of {total}{failed}", False
    return f"{done} of {total} answers{failed}", False


def progress_html(progress: Progress) -> str:
    """Return a running sweep's progress bar as safe HTML; it isn't a live region, so answers aren't announced.

    It is full only when no request is pending, also while failed ones are retried.
    """
    finished = min(progress.done + progress.failed, progress.total - progress.pending)
    width = 100 * finished / progress.total
    parts = [f"{progress.done} of {progress.total} answers"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.left is not None:
        parts.append(f"about {_format_duration(progress.left)} left")
    words = escape_html(" · ".join(parts))
    return (
        f'<div class="chatglm-progress" role="progressbar" aria-label="Answers" aria-valuemin="0" '
        f'aria-valuemax="{progress.total}" aria-valuenow="{finished}" aria-valuetext="{words}">'
        f'<div style="width:{width:.1f}%"></div></div><div class="chatglm-small">{words}</div>'
    )


def _format_duration(duration: float) -> str:
    if duration < 90:
        return format_seconds(duration) if duration < 10 else f"{duration:.0f} s"
    return f"{duration / 60:.0f} min" if duration < 5400 else f"{duration / 3600:.1f} h"


class SweepButtons(w.Box):  # type: ignore[misc]
    """Three buttons, each visible only while it has an effect; pressing one calls ``on_press``."""

    def __init__(self, sweep: Sweep, guard: CallbackGuard, on_press: Callable[[], object]) -> None:
        self._sweep, self._guard, self._on_press = sweep, guard, on_press
        self.stopping = False
        """Whether Stop was pressed and the sweep hasn't ended yet."""
        self._pressed = False
        self.stop = look.button("Stop", tooltip="Stop the sweep; answers so far are kept")
        self.resume = look.button("Resume", tooltip="Send the missing requests")
        self.retry = look.button("Retry failed", tooltip="Send the failed requests again")
        self.stop.on_click(guard.handler(self._stop))
        self.resume.on_click(guard.handler(self._resume))
        self.retry.on_click(guard.handler(self._retry))
        super().__init__([self.stop, self.resume, self.retry])
        self.add_class("chatglm-row")

    def show(self, progress: Progress) -> None:
        """Update which buttons are visible; Stop changes last, since its change signals the end.

        The keyboard focus moves from a pressed button that disappears to the one that replaces it.
        """
        running = progress.pending > 0
        self.stopping = self.stopping and running
        missing = not running and self._sweep.missing() > 0
        replaced = self._pressed and running == self.stop.disabled
        self._set_available(self.resume, missing)
        self._set_available(self.retry, not running and progress.failed > 0)
        self._set_available(self.stop, running)
        if replaced:
            self._pressed = False
            if running or missing:
                (self.stop if running else self.resume).focus()

    def _set_available(self, button: w.Button, available: bool) -> None:
        button.layout.display = None if available else "none"
        button.disabled = not available

    def _stop(self) -> None:
        if self._sweep.running and not self.stopping:
            self.stopping = self._pressed = True
            self._guard.run_in_thread(self._stop_and_wait)  # it waits for the end, which would block the kernel
            self._guard.run_in_thread(self._guard.handler(self._on_press))

    def _stop_and_wait(self) -> None:
        self._sweep.stop()
        self._guard.handler(self._on_press)()

    def _resume(self) -> None:
        self._start(self._sweep.resume, "" if self._sweep.missing() else "Nothing is missing.")

    def _retry(self) -> None:
        self._start(self._sweep.retry, "" if self._sweep.progress.failed else "Nothing has failed.")

    def _start(self, begin: Callable[..., object], notice: str) -> None:
        if self._sweep.running:  # a late click
            return
        self._guard.show_status(notice)
        begin(wait=False)
        self._pressed = True
        self._on_press()


class Explorer(w.VBox):  # type: ignore[misc]
    """A sweep as widgets, while it runs and afterwards; closing it doesn't stop the sweep.

    The sweep's thread only requests a refresh. It runs in a thread of its own, under the same lock as every click.

    :param sleep: waits until the next refresh; tests replace it.
    """

    def __init__(self, sweep: Sweep, *, sleep: Sleep = asyncio.sleep) -> None:
        self._sweep, self._partial, self._fallback = sweep, sweep.partial, StaticFallback()
        self._closed, self._is_timer_set, self._saved_versions = False, False, 0
        self._refreshed_at, self._busy_until, self._refresh_count = 0.0, 0.0, 0
        self._guard = guard = CallbackGuard(sweep.session or get_session(), sleep=sleep)
        self.state, self.bar = StatusWidget(), look.Html()
        self.buttons = SweepButtons(sweep, guard, self._refresh)
        self.options = GridOptions(self._partial, guard, self._refresh)
        self.details = CellDetails(sweep, guard, self._on_close, self._use_settings)
        self.grid: GridWidget | HeatMapView
        self._heat_map = HeatMapView(self._partial, guard, self._open)
        if len(self._partial.cells) > MAX_BUTTONS:
            self.grid, cells = self._heat_map, look.column(self._heat_map)
        else:
            self.grid = GridWidget(self._partial, guard, self._open, self.details.mark)
            self._heat_map.add_class("chatglm-fallback")
            cells = look.column(self.grid, self._heat_map)
            self.grid.observe(guard.handler(lambda: self._remove_substitute(cells)), names="ready")
        cells.add_class("chatglm-all-cells")
        main = look.with_class(w.Box([cells, self.details]), "chatglm-main")
        style = look.style_sheet(look.FALLBACK + ANSWER + STILL + CSS, "chatglm-explorer")
        head = look.row(self.state, self.buttons, guard.status)
        super().__init__([style, look.Html(_heading(sweep)), head, self.bar, self.options, main])
        self.add_class("chatglm-box")
        self.add_class("chatglm-explorer")
        pause = UPDATE_SECONDS if sweep.grid.requests < MANY_REQUESTS else SLOW_UPDATE_SECONDS
        self._unsubscribe = sweep.on_change(guard.debounce(self._on_change, pause=pause))
        guard.handler(self._refresh)()

    @property
    def status(self) -> StatusWidget:
        """The line about the last action or error."""
        return self._guard.status

    def close(self) -> None:
        """Close every part, and stop observing the sweep, which continues."""
        with self._guard.suspend_handlers():
            self._closed = True
            self._unsubscribe()
            for child in self.children:
                look.close_all(child)
            self.layout.close()
            super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return the MIME bundle, with a text for front ends that can't display widgets."""
        return {
            **(super()._repr_mimebundle_(**kwargs) or {}),
            **html_output(FALLBACK_TEXT, f"<p>{FALLBACK_TEXT}</p>"),
        }

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Display the explorer, and below it a static copy of the grid."""
        with self._guard.suspend_handlers():  # an end meanwhile waits, then updates the copy
            self._fallback.publish_below(self, sweep_text(self._partial), sweep_html(self._partial))

    def _use_settings(self, cell: Cell) -> None:
        """Set the session's parameters to those of a cell."""
        session = self._sweep.session or get_session()
        unknown = [name for name in cell.setting if not session.settings.has_trait(name)]
        for name, value in cell.setting.items():
            if name not in unknown:
                session.set_parameter(name, value)
        applied = format_setting({name: value for name, value in cell.setting.items() if name not in unknown})
        parts = [f"The next prompt will be sent with {applied}."] if applied else []
        parts += [f"{', '.join(unknown)}: not a setting, but a key of the request's body."] if unknown else []
        self._guard.show_status(" ".join(parts))

    def _on_change(self) -> None:
        """Refresh after a change of the sweep, but later if much was just sent to the page."""
        if time.monotonic() >= self._busy_until or not self._sweep.running:
            self._refresh()
        else:
            self._refresh_later(not self._closed)

    def _refresh(self) -> None:
        """Update everything from the sweep; the buttons first, so that they change before the end is displayed.

        An observer may press a button, which refreshes too; this refresh is then outdated and starts again.
        """
        if self._closed:
            return
        self._refresh_count += 1
        number, progress = self._refresh_count, self._sweep.progress
        self._refreshed_at = time.monotonic()
        for show in (self.buttons.show, self._show_bar, self._show_cells, self._show_state):
            show(progress)
            if number != self._refresh_count:
                self._refresh()
                return
        self._refresh_later(progress.pending > 0)

    def _show_bar(self, progress: Progress) -> None:
        self.bar.value = progress_html(progress) if progress.pending else ""
        self.bar.layout.display = None if progress.pending else "none"

    def _show_cells(self, progress: Progress) -> None:
        plot, running = self.options.plot(), progress.pending > 0
        messages = self.grid.show(plot, running=running)
        if self._heat_map is not self.grid and not self.grid.ready:
            self._heat_map.show(plot, running=running)
        self.options.legend.value = self.grid.legend
        self._busy_until = self._refreshed_at + messages / MAX_MESSAGES_PER_SECOND
        self.details.show()

    def _show_state(self, progress: Progress) -> None:
        sweep = self._partial
        if progress.pending:
            self.state.show_text("Stopping…" if self.buttons.stopping else "Running…")
            return
        if (versions := sum(cell.version for cell in sweep.cells)) != self._saved_versions:
            self._saved_versions = versions
            self._fallback.update(sweep_text(sweep), sweep_html(sweep))
        words, failed = describe_outcome(progress)
        self.state.value = look.status_html(words, failed=failed)

    def _remove_substitute(self, cells: w.Box) -> None:
        """Close the substitute for the grid, now that a page displays it."""
        cells.children = (self.grid,)
        look.close_all(self._heat_map)

    def _refresh_later(self, running: bool) -> None:
        """Refresh a running sweep later even if it reports no change, since its answers may have grown."""
        if running and not self._is_timer_set:
            self._is_timer_set = True
            self._guard.run_in_thread(self._guard.handler(self._on_timer), after=IDLE_SECONDS)

    def _on_timer(self) -> None:
        self._is_timer_set = False
        if time.monotonic() - self._refreshed_at >= IDLE_SECONDS / 2:
            self._on_change()
        else:
            self._refresh_later(not self._closed)

    def _open(self, cell: Cell) -> None:
        self.details.open_cell(cell)
        self._refresh()

    def _on_close(self, cell: Cell | None) -> None:
        self._refresh()
        if cell is not None:
            self.grid.focus_cell(cell)


def _heading(sweep: Sweep) -> str:
    first, *others = sweep.grid.prompts
    more = f" (and {plural(len(others), 'more prompt')})" if others else ""
    return look.heading_html(one_line(first, 200) + more)
