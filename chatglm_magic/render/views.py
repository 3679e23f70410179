"""Views that display an answer: a live cell, one final display, a terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Protocol, TextIO

from ..values import Turn
from .answers import (
    Format,
    answer_text,
    blank_mime_bundle,
    describe_speed,
    escape_json_surrogates,
    footer,
    live_html,
    mime_bundle,
)
from .front_ends import can_update_display, current_shell, in_console, in_notebook, is_final
from .outer import html_output
from .status_line import TerminalStatusLine
from .text import write_escaped

_last_displayed: list[tuple[int, int]] = []
"""The id of the value displayed last, and the number of the cell that displayed it."""


def mark_displayed(value: object) -> None:
    """Record that the running cell displays a value."""
    _last_displayed[:] = [(id(value), _cell_number())]


def is_displayed(value: object) -> bool:
    """Return whether the running cell has already displayed a value."""
    return (id(value), _cell_number()) in _last_displayed


def _cell_number() -> int:
    return getattr(current_shell(), "execution_count", 0)


FRAME_SECONDS = 1 / 12
"""Minimum time between two updates."""
BYTES_PER_SECOND = 256 * 1024
RENDER_TIME_FACTOR = 10
"""The next update waits at least this many times the rendering time of the last one."""
FREE_CHARS, FREE_LENGTHS = 256 * 1024, 8
"""An answer's updates may have this many characters, plus this many times its own length, at full pace."""
SLOW_BYTES_PER_SECOND = 32 * 1024
"""The pace beyond that: each update sends the whole text again."""

THINKING_SEPARATOR = "\n[the text above was thinking]\n\n"

WHOLE_ANSWER_FORMATS: tuple[Format, ...] = ("code", "json")
"""Formats that need the complete answer."""


class AnswerInProgress(Protocol):
    """What a view reads of an answer in progress; ``started`` is a time of ``time.monotonic``."""

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


def describe_activity(draft: AnswerInProgress) -> str:
    """Describe what an answer waits for, and how long; empty in the first second and once text arrives."""
    passed = time.monotonic() - draft.started
    if draft.first_token is None:
        return draft.notice or (f"Waiting for the first token… {passed:.0f} s" if passed >= 1 else "")
    return f"Thinking… {passed - draft.first_token:.0f} s" if draft.first_answer is None else ""


class AnswerView(Protocol):
    """Something that displays an answer."""

    def update(self, draft: AnswerInProgress) -> None: ...
    def close(self, turn: Turn) -> None: ...


class FinalView:
    """Displays an answer once it has ended: for nbval, scripts, and formats that need all of it."""

    def __init__(self, shell: Any, form: Format = "rich") -> None:
        self._shell, self._form = shell, form

    def update(self, draft: AnswerInProgress) -> None:
        """Wait for the end."""

    def close(self, turn: Turn) -> None:
        """Display the turn."""
        if turn.answer or turn.status == "complete":
            data, metadata = mime_bundle(turn, form=self._form)
            self._shell.display_pub.publish(data=data, metadata=metadata)


class Throttle:
    """Limits the rate of frames, to spare the front end, its message limit and the CPU.

    :param frame: minimum number of seconds between two frames.
    """

    def __init__(self, frame: float = FRAME_SECONDS) -> None:
        self._frame, self._next, self._sent = frame, 0.0, 0

    def is_ready(self) -> bool:
        """Return whether the next frame may be displayed."""
        return time.monotonic() >= self._next

    def record_frame(self, size: int, took: float, length: int) -> None:
        """Record a frame: its size in characters, its rendering time in seconds, and the answer's length."""
        self._sent += size
        pace = BYTES_PER_SECOND if self._sent <= FREE_CHARS + FREE_LENGTHS * length else SLOW_BYTES_PER_SECOND
        self._next = time.monotonic() + max(self._frame, size / pace, RENDER_TIME_FACTOR * took)


class LiveView:
    """Displays an answer as it grows, at a limited rate; a subclass draws the frames and the end.

    It isn't called concurrently: ``update`` is called when text arrives, ``refresh`` as time passes.
    """

    def __init__(self, throttle: Throttle | None = None) -> None:
        self._throttle = throttle or Throttle()
        self._drawn: tuple[str, str, str] | None = None

    def update(self, draft: AnswerInProgress) -> None:
        """Draw the answer so far, unless the last frame is too recent."""
        if not self._throttle.is_ready():
            return
        drawn = draft.text, draft.reasoning, describe_activity(draft)
        if drawn == self._drawn or not any(drawn):
            return
        began = time.thread_time()  # excludes other threads and processes
        size = self._draw(draft)
        # The first frame of a process imports the renderer, so its time doesn't predict the next one's.
        took = time.thread_time() - began if self._drawn else 0.0
        self._drawn = drawn
        self._throttle.record_frame(size, took, len(draft.text) + len(draft.reasoning))

    refresh = update

    def _draw(self, draft: AnswerInProgress) -> int:
        """Draw a frame; return the number of characters sent to the page."""
        raise NotImplementedError


class CellView(LiveView):
    """Updates one display of a notebook cell at a limited rate, and leaves one final output."""

    def __init__(self, shell: Any, form: Format = "rich") -> None:
        super().__init__()
        self._publisher, self._form = shell.display_pub, form
        # Any later cell that knows a display's id can change it; this one can't be guessed.
        self._id = os.urandom(16).hex()
        self._shown = False

    def close(self, turn: Turn) -> None:
        """Display the complete turn; an update replaces metadata, so the last frame has it."""
        if turn.answer or turn.reasoning or turn.status == "complete":
            self._publish(*mime_bundle(turn, form=self._form))
        elif self._shown:  # the error below says why there is no answer
            self._publish(*blank_mime_bundle(turn))

    def _draw(self, draft: AnswerInProgress) -> int:
        waiting = describe_activity(draft)
        data = {"text/plain": draft.text or waiting}
        if self._form == "rich":
            data = html_output(data["text/plain"], live_html(draft.text, draft.reasoning, waiting))
        self._publish(escape_json_surrogates(data), {})
        return sum(len(value) for value in data.values())

    def _publish(self, data: dict[str, Any], metadata: dict[str, Any]) -> None:
        self._publisher.publish(
            data=data, metadata=metadata, transient={"display_id": self._id}, update=self._shown
        )
        self._shown = True


class TerminalView(LiveView):
    """Writes an answer to a terminal as it arrives, with control characters escaped."""

    def __init__(self, stream: TextIO | None = None, *, with_footer: bool = False) -> None:
        super().__init__(Throttle(FRAME_SECONDS / 3))
        self._stream, self._with_footer = stream or sys.stdout, with_footer
        self._written = self._noticed = ""
        self._line = TerminalStatusLine()

    def close(self, turn: Turn) -> None:
        """Write the rest and, if the answer is incomplete, the reason."""
        self._line.clear()
        if turn.answer or turn.status == "complete":
            self._write(self._take_unwritten(answer_text(turn)) + "\n")
        if self._with_footer:
            self._write(closing_line(turn) + "\n")

    def _draw(self, draft: AnswerInProgress) -> int:
        if new := self._take_unwritten(draft.text):
            self._line.clear()
            self._write(new)
        elif self._line.is_terminal:
            self._line.show(describe_activity(draft))
        elif draft.notice and draft.notice != self._noticed:
            self._noticed = draft.notice
            write_escaped(sys.stderr, draft.notice + "\n")
        return 0

    def _take_unwritten(self, text: str) -> str:
        """Return the unwritten part of a text; if it begins differently, what was written was thinking."""
        written, self._written = self._written, text
        if text.startswith(written):
            return text[len(written) :]
        return f"{THINKING_SEPARATOR}{text}"

    def _write(self, text: str) -> None:
        write_escaped(self._stream, text)
        self._stream.flush()


def closing_line(turn: Turn) -> str:
    """Return the footer of an answer in a terminal, including times."""
    return " · ".join(part for part in (footer(turn), describe_speed(turn)) if part)


def choose_view(shell: Any, form: Format, *, stream: bool) -> AnswerView:
    """Return the view for a shell; with ``CHATGLM_MAGIC_RENDER=final`` each answer is displayed once."""
    if not in_notebook(shell) or in_console():
        return _FinalTerminalView(form) if form in WHOLE_ANSWER_FORMATS or not stream else TerminalView()
    final = form in WHOLE_ANSWER_FORMATS or not stream or is_final() or not can_update_display(shell)
    return FinalView(shell, form) if final else CellView(shell, form)


class _FinalTerminalView:
    """Writes an answer to the terminal once it has ended."""

    def __init__(self, form: Format) -> None:
        self._form = form

    def update(self, draft: AnswerInProgress) -> None:
        """Wait for the end."""

    def close(self, turn: Turn) -> None:
        """Write the turn."""
        if turn.answer or turn.status == "complete":
            write_escaped(sys.stdout, answer_text(turn, form=self._form) + "\n")
            sys.stdout.flush()
