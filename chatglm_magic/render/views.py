"""The places an answer can go: a live cell, one final display, a terminal."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from typing import Any, Protocol, TextIO

from ..values import Turn
from .answers import Format, bundle, encodable, footer, live_html, plain, speed
from .front_ends import in_console, in_notebook, is_final, shell, updates_reach
from .outer import output

_last: list[tuple[int, int]] = []
"""The value that was shown last, and the number of the cell that showed it."""


def mark(value: object) -> None:
    """Take note that the running cell shows a value."""
    _last[:] = [(id(value), _cell())]


def just_shown(value: object) -> bool:
    """Tell whether the running cell has shown a value already."""
    return (id(value), _cell()) in _last


def _cell() -> int:
    return getattr(shell(), "execution_count", 0)


FRAME = 1 / 12
"""Seconds between two updates at least."""
BYTES_PER_SECOND = 256 * 1024
RENDERS = 10
"""An update comes no sooner than this many times the seconds the last one took to render."""
FREE, TIMES = 256 * 1024, 8
"""Characters of updates that any answer may take, and how many times its own length beyond that."""
SLOW_BYTES_PER_SECOND = 32 * 1024
"""What is left of the pace then: each update sends the whole text once more."""

THOUGHT = "\n[what stands above was thinking]\n\n"

WHOLE: tuple[Format, ...] = ("code", "json")
"""Formats that are made of a whole answer."""


class Draft(Protocol):
    """What a view reads of an answer under way."""

    @property
    def text(self) -> str: ...
    @property
    def reasoning(self) -> str: ...
    @property
    def notice(self) -> str: ...


class View(Protocol):
    """Something that shows an answer."""

    def update(self, draft: Draft) -> None: ...
    def close(self, turn: Turn) -> None: ...


class FinalView:
    """Shows an answer once, when it has ended: for nbval, scripts, and formats that need the whole."""

    def __init__(self, shell: Any, form: Format = "rich") -> None:
        self._shell, self._form = shell, form

    def update(self, draft: Draft) -> None:
        """Wait for the end."""

    def close(self, turn: Turn) -> None:
        """Show the turn."""
        if turn.answer or turn.status == "complete":
            data, metadata = bundle(turn, form=self._form)
            self._shell.display_pub.publish(data=data, metadata=metadata)


class Throttle:
    """Tells when the next frame may be shown: slowly enough for a front end, a message limit and a core.

    :param frame: seconds between two frames at least.
    """

    def __init__(self, frame: float = FRAME) -> None:
        self._frame, self._next, self._sent = frame, 0.0, 0

    def ready(self) -> bool:
        """Tell whether it is time for a frame."""
        return time.monotonic() >= self._next

    def spent(self, size: int, took: float, length: int) -> None:
        """Take note of a frame: its size in characters, the seconds it took to render, the answer's characters."""
        self._sent += size
        pace = BYTES_PER_SECOND if self._sent <= FREE + TIMES * length else SLOW_BYTES_PER_SECOND
        self._next = time.monotonic() + max(self._frame, size / pace, RENDERS * took)


class Cancellable(Protocol):
    """Something that will happen, unless it is cancelled."""

    def cancel(self) -> object: ...


class LiveView:
    """Shows an answer as it grows, at a pace; also what came too soon for a frame, if nothing follows it.

    A subclass shows a frame, and the end; it may also choose the thread in which a late frame is shown.
    """

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self._lock = threading.Lock()
        self._later: Cancellable | None = None
        self._failed: Exception | None = None
        self._ended = False

    def update(self, draft: Draft) -> None:
        """Show the answer so far, if it is time to, or else as soon as it is.

        :raises Exception: what failed in a frame, also in an earlier one that was shown later.
        """
        with self._lock:
            self._raise_failed()
            self._advance(draft)

    def close(self, turn: Turn) -> None:
        """Show the whole turn.

        :raises Exception: what failed in a frame that was shown late, after the turn is shown.
        """
        self._ended = True
        with self._lock:
            if self._later is not None:
                self._later.cancel()
            self._finish(turn)
            self._raise_failed()

    def _advance(self, draft: Draft) -> None:
        if self._throttle.ready():
            self._show(draft)
        elif self._later is None:
            self._later = self._schedule(draft)

    def _schedule(self, draft: Draft) -> Cancellable:
        """Arrange for a late frame; return what cancels it."""
        # In the cell's own context: a kernel reads there to which cell an output belongs.
        timer = threading.Timer(FRAME, contextvars.copy_context().run, (self._advance_late, draft))
        timer.daemon = True
        timer.start()
        return timer

    def _raise_failed(self) -> None:
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def _advance_late(self, draft: Draft) -> None:
        with self._lock:
            self._later = None
            if self._ended:
                return
            try:
                self._advance(draft)
            except Exception as error:  # noqa: BLE001 - nobody called: whoever calls next hears of it
                self._failed = error

    def _show(self, draft: Draft) -> None:
        raise NotImplementedError

    def _finish(self, turn: Turn) -> None:
        raise NotImplementedError


class CellView(LiveView):
    """Grows one display in a notebook's cell, slowly enough for every front end, and leaves one final output."""

    def __init__(self, shell: Any, form: Format = "rich") -> None:
        super().__init__(Throttle())
        self._publisher, self._form = shell.display_pub, form
        # A display's id can be used by any later cell to change it; this one can't be guessed.
        self._id = os.urandom(16).hex()
        self._shown = False
        self._seen: tuple[str, str, str] | None = None

    def _show(self, draft: Draft) -> None:
        """Show a frame; there is none where nothing has come since the last one."""
        text, reasoning, _ = seen = draft.text, draft.reasoning, draft.notice
        if seen == self._seen or not any(seen):
            return
        self._seen = seen
        began = time.monotonic()
        data = self._frame(*seen)
        took = time.monotonic() - began
        self._publish(data, {})
        size = sum(len(value) for value in data.values())
        self._throttle.spent(size, took, len(text) + len(reasoning))

    def _finish(self, turn: Turn) -> None:
        """Show the whole turn; an update replaces metadata, so the last frame carries it."""
        if self._shown or turn.answer or turn.status == "complete":
            self._publish(*bundle(turn, form=self._form))

    def _frame(self, text: str, reasoning: str, notice: str) -> dict[str, str]:
        data = {"text/plain": text or notice}
        if self._form == "rich":
            data = output(data["text/plain"], live_html(text, reasoning, notice))
        frame: dict[str, str] = encodable(data)
        return frame

    def _publish(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self._publisher.publish(
            data=data, metadata=metadata, transient={"display_id": self._id}, update=self._shown
        )
        self._shown = True


class TerminalView(LiveView):
    """Writes an answer to a terminal as it comes; control sequences are made visible."""

    def __init__(self, stream: TextIO | None = None, *, with_footer: bool = False) -> None:
        super().__init__(Throttle(FRAME / 3))
        self._stream, self._with_footer = stream or sys.stdout, with_footer
        self._written = ""
        self._noticed = ""

    def _show(self, draft: Draft) -> None:
        """Write what is new."""
        from .text import write

        if draft.notice and draft.notice != self._noticed:
            self._noticed = draft.notice
            write(sys.stderr, draft.notice + "\n")
        if new := self._unwritten(draft.text):
            self._write(new)
            self._throttle.spent(0, 0.0, 0)

    def _finish(self, turn: Turn) -> None:
        """Write the rest and, if the answer is not whole, why."""
        if turn.answer or turn.status == "complete":
            self._write(self._unwritten(plain(turn)) + "\n")
        if self._with_footer:
            self._write(closing_line(turn) + "\n")

    def _unwritten(self, text: str) -> str:
        """Return what isn't written yet of a text; if it begins otherwise, what was written was thinking."""
        written, self._written = self._written, text
        if text.startswith(written):
            return text[len(written) :]
        return f"{THOUGHT}{text}"

    def _write(self, text: str) -> None:
        from .text import write

        write(self._stream, text)
        self._stream.flush()


def closing_line(turn: Turn) -> str:
    """Return the footer of an answer in a terminal, where times may stand."""
    return " · ".join(part for part in (footer(turn), speed(turn)) if part)


def view_for(shell: Any, form: Format, *, stream: bool) -> View:
    """Return the view for a shell; ``CHATGLM_MAGIC_RENDER=final`` shows each answer once."""
    if not in_notebook(shell) or in_console():
        return _TerminalFinal(form) if form in WHOLE or not stream else TerminalView()
    final = form in WHOLE or not stream or is_final() or not updates_reach(shell)
    return FinalView(shell, form) if final else CellView(shell, form)


class _TerminalFinal:
    """Writes an answer once, when it has ended."""

    def __init__(self, form: Format) -> None:
        self._form = form

    def update(self, draft: Draft) -> None:
        """Wait for the end."""

    def close(self, turn: Turn) -> None:
        """Write the turn."""
        from .text import write

        if turn.answer or turn.status == "complete":
            write(sys.stdout, plain(turn, form=self._form) + "\n")
            sys.stdout.flush()
