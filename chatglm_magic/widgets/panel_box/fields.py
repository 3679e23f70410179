"""The other parameters of a question: system prompt, thinking, seed, stop strings, the conversation."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from ...errors import ParameterError
from ...parameters import THINKING_LEVELS
from ...render.text import plural
from ...session import Session
from ..look import above
from ..trouble import Trouble
from .handle import Field, or_empty, or_none

UNSET = ("server's default", "")
ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t"))


class Fields:
    """The fields beside the sliders; each is one handle more on its setting."""

    def __init__(self, session: Session, trouble: Trouble) -> None:
        self.system = above(
            w.Textarea(description="System prompt", placeholder="none", rows=2, continuous_update=False)
        )
        self.thinking = above(w.Dropdown(description="thinking", options=[UNSET]))
        self.seed = above(w.Text(description="seed", placeholder="none", continuous_update=False))
        self.stop = above(
            w.Textarea(description="stop strings", placeholder="one a line", rows=2, continuous_update=False)
        )
        self.with_history = w.Checkbox(description="with_history", indent=False)
        self.context = w.Label()
        self._handles = [
            Field(session, "system", trouble, self.system, read=or_none, write=or_empty),
            Levels(session, trouble, self.thinking),
            Field(session, "seed", trouble, self.seed, read=_seed, write=_shown),
            Field(session, "stop", trouble, self.stop, read=stops, write=stop_lines),
            Field(session, "with_history", trouble, self.with_history),
        ]

    def count(self, turns: int) -> None:
        """Show how many turns go along with the next question."""
        self.context.value = f"context: {plural(turns, 'turn')}"

    def forget(self) -> None:
        """Stop following the settings."""
        for handle in self._handles:
            handle.forget()


class Levels(Field):
    """How much the model thinks: a list of the levels that the present model has, and of the one that is set."""

    def __init__(self, session: Session, trouble: Trouble, widget: w.Dropdown) -> None:
        also = ("model", "endpoint_url")
        super().__init__(session, "thinking", trouble, widget, read=or_none, write=or_empty, also=also)

    def put(self, value: Any) -> None:
        """Show the levels that there are now, and the one that is set."""
        levels = self.session.thinking_levels
        listed = [level for level in THINKING_LEVELS if level in levels or level == value]
        options = [
            UNSET,
            *((level if level in levels else f"{level} (not this model's)", level) for level in listed),
        ]
        if list(self.widget.options) != options:
            self.widget.options = options  # which puts the first one there
        super().put(value)


def stops(lines: str) -> list[str] | None:
    """Read stop strings, one a line; ``\\n``, ``\\t`` and ``\\\\`` are what they are in Python."""
    found = []
    for line in lines.split("\n"):
        text = line.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t").replace("\0", "\\")
        found += [text] if text else []
    return found or None


def stop_lines(texts: list[str] | None) -> str:
    """Return stop strings as :func:`stops` reads them."""
    lines = []
    for text in texts or []:
        for plain, escaped in ESCAPES:
            text = text.replace(plain, escaped)
        lines.append(text)
    return "\n".join(lines)


def _seed(shown: str) -> int | None:
    if not shown.strip():
        return None
    try:
        return int(shown)
    except ValueError:
        raise ParameterError("seed must be a whole number; leave it empty for none.") from None


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
