"""Dim status lines: one that is updated and finally removed, and one that stays."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any, Protocol, TextIO

from .front_ends import can_update_display, has_front_end, in_console, in_notebook, is_final
from .outer import html_output
from .text import display_width, one_line, write_escaped


class StatusLine(Protocol):
    """A line that can be replaced and removed."""

    def show(self, text: str) -> None:
        """Display a text instead of the last one."""

    def clear(self) -> None:
        """Remove the line."""


def choose_status_line(shell: Any) -> StatusLine:
    """Return the status line for the running cell or a terminal; hidden if no front end can update it."""
    if not in_notebook(shell):
        return TerminalStatusLine()
    if in_console():
        return TerminalStatusLine(is_terminal=True)
    watched = has_front_end(shell) and can_update_display(shell) and not is_final()
    return OutputStatusLine(shell) if watched else HiddenStatusLine()


def show_note(shell: Any, text: str) -> None:
    """Display a dim line that stays, as an output of the running cell or in a terminal."""
    from .answers import dim_html, escape_json_surrogates

    if in_notebook(shell):
        shell.display_pub.publish(data=escape_json_surrogates(html_output(text, dim_html(text))))
        return
    dim, plain = ("\x1b[2m", "\x1b[0m") if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else ("", "")
    sys.stderr.write(dim)
    write_escaped(sys.stderr, text)
    sys.stderr.write(f"{plain}\n")
    sys.stderr.flush()


class HiddenStatusLine:
    """Shows nothing."""

    def show(self, text: str) -> None:
        """Do nothing."""

    def clear(self) -> None:
        """Do nothing."""


class OutputStatusLine:
    """An output of the running cell."""

    def __init__(self, shell: Any) -> None:
        self._publisher = shell.display_pub
        self._id = os.urandom(16).hex()  # a display's id can be used by any cell to change it
        self._text = ""
        self._shown = False

    def show(self, text: str) -> None:
        """Display a text instead of the last one."""
        from .answers import dim_html, escape_json_surrogates

        if text != self._text:
            self._text = text
            self._publish(escape_json_surrogates(html_output(text, dim_html(text) if text else "")))

    def clear(self) -> None:
        """Remove the line; an output without height remains."""
        self.show("")

    def _publish(self, data: dict[str, str]) -> None:
        self._publisher.publish(data=data, transient={"display_id": self._id}, update=self._shown)
        self._shown = True


class TerminalStatusLine:
    """The terminal line at the cursor; nothing is displayed if the stream isn't a terminal."""

    def __init__(self, stream: TextIO | None = None, *, is_terminal: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self.is_terminal = self._stream.isatty() if is_terminal is None else is_terminal
        self._width = 0

    def show(self, text: str) -> None:
        """Display a text instead of the last one."""
        if self.is_terminal:
            self._put(_truncate(text, shutil.get_terminal_size().columns - 1))
            self._stream.flush()

    def clear(self) -> None:
        """Erase the line; the next output begins at its start."""
        if self._width:
            self._put("")
            self._stream.write("\r")
            self._stream.flush()

    def _put(self, line: str) -> None:
        before, self._width = self._width, display_width(line)
        self._stream.write("\r")
        write_escaped(self._stream, line + " " * (before - self._width))


def _truncate(text: str, columns: int) -> str:
    line = one_line(text, columns)
    while display_width(line) > columns:
        line = line.rstrip("…")[:-1] + "…"
    return line
