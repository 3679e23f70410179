"""Interrupts of a question that is asked in the main thread: they strike where nothing can be lost."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType

from ..errors import Interrupted

LONGEST = 2.0
"""Seconds that an interrupt waits at most; what is done meanwhile takes a fraction of it."""


class Interrupts:
    """Lets the first interrupt strike, and has further ones wait until what had come is kept.

    Python's own handler raises wherever the main thread is, also amid the steps that keep a turn. Where another
    one is set, as in a cell that awaits, or in another thread, nothing is changed but that a ``KeyboardInterrupt``
    is raised again as ``Interrupted``.
    """

    def __init__(self) -> None:
        self._came = self._set = False
        self._held_until = 0.0

    def __enter__(self) -> Interrupts:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._strike)
            self._set = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._set and signal.getsignal(signal.SIGINT) == self._strike:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if (kind and issubclass(kind, KeyboardInterrupt) and kind is not Interrupted) or (not kind and self._came):
            raise Interrupted(
                "it came when the question had ended: %chatglm_history shows what is kept."
            ) from None

    def hold(self) -> None:
        """Have an interrupt wait, for at most 2 s; it is noticed by :meth:`look`, or when the block ends."""
        self._held_until = time.monotonic() + LONGEST

    def release(self) -> None:
        """Let the next one strike again."""
        self._held_until = 0.0

    def look(self) -> None:
        """Raise what has waited, or was swallowed by foreign code.

        :raises KeyboardInterrupt: if there is such.
        """
        if self._came:
            self.hold()
            raise KeyboardInterrupt

    def _strike(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        if time.monotonic() >= self._held_until:
            self.hold()
            raise KeyboardInterrupt
