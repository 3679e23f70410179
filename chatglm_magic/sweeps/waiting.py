"""Wait for a running sweep when its answers are read, and display its progress."""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Interrupted
from ..render.front_ends import can_update_display, current_shell, has_front_end, in_notebook, is_final

if TYPE_CHECKING:
    from .cells import Progress


class Joinable(Protocol):
    """What waiting needs of a sweep."""

    @property
    def running(self) -> bool: ...
    @property
    def progress(self) -> Progress: ...
    def join(self, timeout: float | None = None) -> None: ...


UPDATE_INTERVAL_SECONDS = 0.5
"""Time between two updates of the progress."""


def wait_for_reading(sweep: Joinable) -> None:
    """Wait until a sweep has ended because all of its answers are needed.

    :raises Interrupted: for an interrupt, which ends the waiting; the sweep continues.
    :raises RuntimeError: on the thread that sends the requests.
    """
    try:
        wait_with_progress(sweep)
    except KeyboardInterrupt:
        progress = sweep.progress
        raise Interrupted(
            f"stopped waiting; the sweep continues ({progress.done} of {progress.total} answers). "
            "Its .partial holds the answers so far, and stop() ends it."
        ) from None


def wait_with_progress(sweep: Joinable) -> None:
    """Wait until a sweep has ended; in the main thread, display its progress meanwhile.

    :raises KeyboardInterrupt: for an interrupt; nothing is stopped.
    :raises RuntimeError: on the thread that sends the requests.
    """
    in_main = threading.current_thread() is threading.main_thread()
    display = _choose_display() if in_main else None
    if display is None:
        sweep.join()
        return
    sweep.join(display.delay)
    try:
        while sweep.running:
            display.update(describe_progress(sweep.progress))
            sweep.join(UPDATE_INTERVAL_SECONDS)
    finally:
        display.close(describe_progress(sweep.progress))


def describe_progress(progress: Progress) -> str:
    """Return the progress in words: ``3 of 6 answers, 4 s left``."""
    remaining = f", {progress.left:.0f} s left" if progress.left else ""
    return f"{progress.done + progress.failed} of {progress.total} answers{remaining}"


class _TerminalLine:
    """One line of a terminal that is overwritten."""

    delay = 0.05

    def update(self, text: str) -> None:
        sys.stderr.write(f"\r{text:<50}")  # overwrites all of the text before
        sys.stderr.flush()

    def close(self, text: str) -> None:
        self.update(text)
        sys.stderr.write("\n")


class _NotebookLine:
    """One output of the running cell that is updated; there is none after a short wait."""

    delay = UPDATE_INTERVAL_SECONDS

    def __init__(self, publish: Callable[..., object]) -> None:
        self._publish = publish
        self._id = uuid.uuid4().hex  # unguessable: any cell may change a display whose id it knows
        self._sent = False

    def update(self, text: str) -> None:
        self._display(f"Waiting for the sweep: {text}")

    def close(self, text: str) -> None:
        if self._sent:
            self._display(f"Sweep: {text}")

    def _display(self, text: str) -> None:
        self._publish(data={"text/plain": text}, transient={"display_id": self._id}, update=self._sent)
        self._sent = True


def _choose_display() -> _TerminalLine | _NotebookLine | None:
    current: Any = current_shell()
    if in_notebook(current):
        watched = has_front_end(current) and not is_final() and can_update_display(current)
        return _NotebookLine(current.display_pub.publish) if watched else None
    return _TerminalLine() if sys.stderr.isatty() and not is_final() else None
