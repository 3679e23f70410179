"""The places an answer can go: a live cell, one final display, a terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Protocol, TextIO

from ..values import Turn
from .answers import Format, blank, bundle, encodable, footer, live_html, plain, speed
from .front_ends import in_console, in_notebook, is_final, shell, updates_reach
from .outer import output
from .status_line import TerminalLine
from .text import write

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
    """What a view reads of an answer under way; ``started`` is a time of ``time.monotonic``."""

    @property
    def text(self) -> str: ...
    @property
    def reasoning(self) -> str: ...
    @property
    def notice(self) -> str: ...
    @property
    def started(self) -> float: ...
    @property
    def first_token(self) -> float | None: ...
    @property
    def first_answer(self) -> float | None: ...


def activity(draft: Draft) -> str:
    """Say what an answer under way waits for, and how long; empty in the first second, and once its text comes."""
    passed = time.monotonic() - draft.started
    if draft.first_token is None:
        return draft.notice or (f"Waiting for the first token… {passed:.0f} s" if passed >= 1 else "")
    return f"Thinking… {passed - draft.first_token:.0f} s" if draft.first_answer is None else ""


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


class LiveView:
    """Shows an answer as it grows, at a pace; a subclass draws the frames and the end.

    Its calls come one at a time: ``update`` when more has arrived, ``refresh`` as time passes.
    """

    def __init__(self, throttle: Throttle | None = None) -> None:
        self._throttle = throttle or Throttle()
        self._drawn: tuple[str, str, str] | None = None

    def update(self, draft: Draft) -> None:
        """Draw the answer so far if it is time to, else leave it to the next call."""
        if not self._throttle.ready():
            return
        drawn = draft.text, draft.reasoning, activity(draft)
        if drawn == self._drawn or not any(drawn):
            return
        began = time.thread_time()  # without the time that other threads and processes took
        size = self._draw(draft)
        # The first frame of a process imports the renderer, which says nothing of the cost of the next.
        took = time.thread_time() - began if self._drawn else 0.0
        self._drawn = drawn
        self._throttle.spent(size, took, len(draft.text) + len(draft.reasoning))

    refresh = update

    def _draw(self, draft: Draft) -> int:
        """Draw a frame; return how many characters went to the page."""
        raise NotImplementedError


class CellView(LiveView):
    """Grows one display in a notebook's cell, slowly enough for every front end, and leaves one final output."""

    def __init__(self, shell: Any, form: Format = "rich") -> None:
        super().__init__()
        self._publisher, self._form = shell.display_pub, form
        # A display's id can be used by any later cell to change it; this one can't be guessed.
        self._id = os.urandom(16).hex()
        self._shown = False

    def close(self, turn: Turn) -> None:
        """Show the whole turn; an update replaces metadata, so the last frame carries it."""
        if turn.answer or turn.reasoning or turn.status == "complete":
            self._publish(*bundle(turn, form=self._form))
        elif self._shown:  # the error below says why there is no answer
            self._publish(*blank(turn))

    def _draw(self, draft: Draft) -> int:
        waiting = activity(draft)
        data = {"text/plain": draft.text or waiting}
        if self._form == "rich":
            data = output(data["text/plain"], live_html(draft.text, draft.reasoning, waiting))
        self._publish(encodable(data), {})
        return sum(len(value) for value in data.values())

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
        self._written = self._noticed = ""
        self._line = TerminalLine()

    def close(self, turn: Turn) -> None:
        """Write the rest and, if the answer is not whole, why."""
        self._line.clear()
        if turn.answer or turn.status == "complete":
            self._write(self._unwritten(plain(turn)) + "\n")
        if self._with_footer:
            self._write(closing_line(turn) + "\n")

    def _draw(self, draft: Draft) -> int:
        if new := self._unwritten(draft.text):
            self._line.clear()
            self._write(new)
        elif self._line.is_terminal:
            self._line.show(activity(draft))
        elif draft.notice and draft.notice != self._noticed:
            self._noticed = draft.notice
            write(sys.stderr, draft.notice + "\n")
        return 0

    def _unwritten(self, text: str) -> str:
        """Return what isn't written yet of a text; if it begins otherwise, what was written was thinking."""
        written, self._written = self._written, text
        if text.startswith(written):
            return text[len(written) :]
        return f"{THOUGHT}{text}"

    def _write(self, text: str) -> None:
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
        if turn.answer or turn.status == "complete":
            write(sys.stdout, plain(turn, form=self._form) + "\n")
            sys.stdout.flush()
