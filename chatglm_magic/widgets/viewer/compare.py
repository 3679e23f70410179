"""Two turns side by side, with what differs marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w

from ...render.answers import describe_speed, escape_html
from ...render.diff import highlight_differences
from ...render.text import format_time
from ...store import Row
from .. import look
from .calls import CallbackGuard
from .facts import label, parameters_of
from .messages import LONGEST


class Comparison(w.VBox):  # type: ignore[misc]
    """Two turns, or nothing. ``closed`` is called when its reader closes it."""

    def __init__(self, guard: CallbackGuard, closed: Callable[[], object]) -> None:
        self.ids: tuple[str, ...] = ()
        """The compared turns."""
        self.text = look.Html()
        self.leave = look.button("Close comparison")
        self.leave.on_click(guard.handler(closed))
        head = look.with_class(look.row(look.Html(look.heading_html("Comparison")), self.leave), "chatglm-head")
        super().__init__([head, self.text])
        self.add_class("chatglm-comparison")
        self.show([])

    def show(self, rows: Sequence[Row]) -> None:
        """Show two turns, or nothing."""
        self.ids = tuple(row.turn.id for row in rows)
        self.text.value = side_by_side(rows) if rows else ""
        self.layout.display = None if rows else "none"


def side_by_side(rows: Sequence[Row]) -> str:
    """Return turns as columns of safe HTML: prompt, parameters, answer and reasoning, what differs marked."""
    turns = [row.turn for row in rows]
    parts = {
        "Parameters": [parameters_of(turn) for turn in turns],
        "Prompt": [turn.prompt[:LONGEST] for turn in turns],
        "Answer": [turn.answer[:LONGEST] for turn in turns],
        "Reasoning": [turn.reasoning[:LONGEST] for turn in turns],
    }
    cells = [f'<div class="chatglm-heading">{escape_html(_name(row))}</div>' for row in rows]
    for name, texts in parts.items():
        if any(texts):
            same = len(texts) > 1 and len(set(texts)) == 1
            place, head = ("chatglm-both", f"{name}, the same in both") if same else ("", name)
            shown = [
                text or look.small_html("none") for text in highlight_differences(texts[:1] if same else texts)
            ]
            cells += [f'<div class="{place}"><div class="chatglm-part">{head}</div>{text}</div>' for text in shown]
    return f'<div class="chatglm-compared">{"".join(cells)}</div>'


def _name(row: Row) -> str:
    turn = row.turn
    return " · ".join(
        part for part in (label(row), turn.model or "", format_time(turn.created), describe_speed(turn)) if part
    )
