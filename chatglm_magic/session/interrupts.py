"""Interrupts of a request sent from the main thread: they are raised where nothing can be lost."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType

from ..errors import Interrupted

MAX_HOLD_SECONDS = 2.0
"""How long an interrupt waits at most; saving a turn takes a fraction of that."""


class Interrupts:
    """Raises the first interrupt at once, and delays further ones until the text received is saved.

    Python's default handler raises wherever the main thread is, even while a turn is being saved. If another
    handler is set, as in a cell that awaits, or in another thread, nothing changes except that a
    ``KeyboardInterrupt`` is raised again as ``Interrupted``.
    """

    def __init__(self) -> None:
        self._was_interrupted = self._is_installed = False
        self._held_until = 0.0

    def __enter__(self) -> Interrupts:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle_signal)
            self._is_installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_installed and signal.getsignal(signal.SIGINT) == self._handle_signal:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        is_plain = kind is not None and issubclass(kind, KeyboardInterrupt) and kind is not Interrupted
        if is_plain or (not kind and self._was_interrupted):
            raise Interrupted("the request had already ended: %chatglm_history shows its turn.") from None

    def hold(self) -> None:
        """Delay interrupts for at most 2 s; they are raised by :meth:`raise_pending` or when the block ends."""
        self._held_until = time.monotonic() + MAX_HOLD_SECONDS

    def release(self) -> None:
        """Raise the next interrupt at once again."""
        self._held_until = 0.0

    def raise_pending(self) -> None:
        """Raise an interrupt that was delayed, or was swallowed by other code.

        :raises KeyboardInterrupt: if there is one.
        """
        if self._was_interrupted:
            self.hold()
            raise KeyboardInterrupt

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        self._was_interrupted = True
        if time.monotonic() >= self._held_until:
            self.hold()
            raise KeyboardInterrupt
