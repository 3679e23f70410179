"""What the viewer's lines say of turns and conversations; everything is escaped."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ...render.answers import escape
from ...render.text import one_line, plural
from ...store import Row, Summary
from ...values import Turn

UNSAVED = 2**48
"""From here on a number stands for a turn that could not be saved yet."""


def label(row: Row) -> str:
    """Return a turn's number as people see it."""
    return f"#{row.number}" if row.number < UNSAVED else "unsaved"


def facts(turn: Turn) -> str:
    """Return what a line says beside the prompt: when, which model, with what, and what became of it."""
    asked = {**turn.sent, **turn.asked}
    sampling = [f"T {_short(asked.get('temperature'))}", f"p {_short(asked.get('top_p'))}"]
    kind, status = ("" if turn.kind == "chat" else turn.kind), ("" if turn.status == "complete" else turn.status)
    parts = [
        ("time", when(turn.created, short=True)),
        ("model", one_line(turn.model or "", 60)),
        ("sampling", "  ".join(part for part in sampling if not part.endswith("–"))),
        ("state chatglm-" + _state(turn), " ".join(part for part in (kind, status) if part)),
    ]
    return "".join(f'<span class="chatglm-{name}">{escape(one_line(text, 60))}</span>' for name, text in parts)


def summary_facts(summary: Summary, present: str) -> str:
    """Return what a line says of a conversation."""
    turns = plural(summary.turns, "turn")
    parts = [
        ("time", when(summary.last, short=True)),
        ("model", turns),
        ("state", "this conversation" if summary.id == present else ""),
    ]
    return "".join(f'<span class="chatglm-{name}">{escape(text)}</span>' for name, text in parts)


def title(text: str) -> str:
    """Return a prompt as a line."""
    return one_line(text, 160) or "(empty prompt)"


def when(created: str, *, short: bool = False) -> str:
    """Return an ISO time as local time; ``short`` to the minute without the year, or a day of another year."""
    try:
        time = datetime.fromisoformat(created).astimezone()
        if not short:
            return time.strftime("%Y-%m-%d %H:%M:%S")
        return time.strftime("%m-%d %H:%M" if time.year == datetime.now().year else "%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return one_line(created, 30)


def _state(turn: Turn) -> str:
    return {"complete": "good", "superseded": "old", "interrupted": "unsure"}.get(turn.status, "bad")


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else "–"
