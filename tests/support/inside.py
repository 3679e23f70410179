"""What tests run inside a kernel: strikes at a chosen moment, and a count of what the process holds."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import psutil
from IPython.core.getipython import get_ipython

struck: list[float] = []
"""When each interrupt struck, by the clock that all processes of a machine share."""


left: list[float] = []
"""When each interrupted block was left; what follows, in a cell, is the rendering of a foreign traceback."""


@contextmanager
def record_end() -> Iterator[None]:
    """Note when the block ends, however it does."""
    try:
        yield
    finally:
        left.append(time.monotonic())


def strike_at(place: str, second: str = "") -> None:
    """Interrupt this process when its main thread comes to a place, and after that at a second one.

    A place is the end of a file's path, a function, and whether it begins or ends, as in
    ``session/session.py:finish_turn call`` or ``… return``. It is a real signal; what it finds is always the same,
    unlike with one from outside.
    """
    calm()
    second_one = _Strike(second, then=lambda: sys.setprofile(None))

    def then() -> None:
        sys.settrace(None)
        if second:
            sys.setprofile(second_one)

    sys.settrace(_Strike(place, then))


def calm() -> None:
    """Look out for nothing any more."""
    sys.settrace(None)
    sys.setprofile(None)
    struck.clear()


def strike_within(
    function: str, *pauses: float, after: str = "", when: Callable[[], object] = lambda: True
) -> None:
    """Interrupt the main thread some seconds after it has come to a function, and again after each further pause.

    Nothing is done if it has left the function by then: the kernel's own code is not meant.

    :param after: what the answer under way must hold first; the function then is the session's ``ask``.
    :param when: what must also be true first.
    """
    calm()

    def strike() -> None:
        while not (frame := find_frame(function)) or (after and not _came(frame).startswith(after)) or not when():
            time.sleep(0.001)
        for seconds in pauses:
            time.sleep(seconds)
            if find_frame(function):  # no other thread runs between this look and the signal
                struck.append(time.monotonic())
                os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=strike, name="strike", daemon=True).start()


class Printing:
    """A view that prints the answer as far as it has come, in a line, and keeps it as ``text``."""

    text = ""

    def update(self, draft: Any) -> None:
        """Print a longer text."""
        if draft.text != self.text:
            self.text = draft.text
            print(self.text, flush=True)

    def close(self, turn: Any) -> None:
        """Do nothing."""


def find_frame(function: str) -> FrameType | None:
    """Return the frame of a function that the main thread is in.

    :param function: the end of its file's path, and its name: ``session/session.py:finish_turn``.
    """
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and not f"{frame.f_code.co_filename}:{frame.f_code.co_name}".endswith(function):
        frame = frame.f_back
    return frame


def _came(frame: FrameType) -> str:
    active = frame.f_locals.get("active")
    return "" if active is None else str(active.draft.text)


class _Strike:
    """Is called for each function that begins or ends."""

    def __init__(self, place: str, then: Callable[[], None]) -> None:
        self._place, _, self._event = place.partition(" ")
        self._then = then

    def __call__(self, frame: FrameType, event: str, argument: Any) -> _Strike | None:
        here = frame.f_code
        if not f"{here.co_filename}:{here.co_name}".endswith(self._place):
            return None
        if event == self._event:
            self._then()
            struck.append(time.monotonic())
            signal.raise_signal(signal.SIGINT)
        return self


def list_resources() -> dict[str, list[str]]:
    """Return what this process holds: its threads by name, its connections, and its open files but for pipes.

    IPython's own history is left out: its journal comes and goes with every cell.
    """
    gc.collect()
    shell: Any = get_ipython()
    history = str(shell.history_manager.hist_file)
    me = psutil.Process()
    connections = [item for item in me.net_connections("inet") if item.status != psutil.CONN_LISTEN and item.raddr]
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "connections": sorted(f"{item.raddr.port} {item.status}" for item in connections),
        "files": sorted(file.path for file in me.open_files() if not file.path.startswith(history)),
    }
