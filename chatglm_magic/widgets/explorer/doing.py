"""What can be done with a sweep: stop it, ask for the rest of it, ask again for what failed."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ...sweeps import Sweep
from ...sweeps.cells import Progress
from .. import look
from ..viewer.calls import Calls


class Doing(w.Box):  # type: ignore[misc]
    """Three buttons, of which those can be pressed that would do something; each press calls ``seen``."""

    def __init__(self, sweep: Sweep, calls: Calls, seen: Callable[[], object]) -> None:
        self._sweep, self._calls, self._seen = sweep, calls, seen
        self.stopping = False
        """Whether Stop was pressed and the sweep has not ended yet."""
        self.stop = look.button("Stop", tooltip="Stop asking; what came stays")
        self.resume = look.button("Resume", tooltip="Ask what is missing")
        self.retry = look.button("Retry failed", tooltip="Ask again what failed")
        self.stop.on_click(calls.handler(self._stop))
        self.resume.on_click(calls.handler(self._resume))
        self.retry.on_click(calls.handler(self._retry))
        super().__init__([self.stop, self.resume, self.retry])
        self.add_class("chatglm-row")

    def show(self, progress: Progress) -> None:
        """Let those be pressed that would do something; Stop is the last, since it tells of the end."""
        running = progress.pending > 0
        self.stopping = self.stopping and running
        self.resume.disabled = running or not self._sweep.missing()
        self.retry.disabled = running or not progress.failed
        self.stop.disabled = not running

    def _stop(self) -> None:
        if self._sweep.running and not self.stopping:
            self.stopping = True
            self._calls.apart(self._end)  # it waits for the end, and the kernel must not
            self._calls.apart(self._calls.handler(self._seen))

    def _end(self) -> None:
        self._sweep.stop()
        self._calls.handler(self._seen)()

    def _resume(self) -> None:
        self._start(self._sweep.resume, "" if self._sweep.missing() else "Nothing is missing.")

    def _retry(self) -> None:
        self._start(self._sweep.retry, "" if self._sweep.progress.failed else "Nothing has failed.")

    def _start(self, begin: Callable[..., object], nothing: str) -> None:
        if self._sweep.running:  # a click that came late
            return
        self._calls.say(nothing)
        begin(wait=False)
        self._seen()
