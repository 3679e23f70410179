"""Two turns side by side, with differences highlighted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w

from ...render.answers import describe_speed, escape_html
from ...render.diff import highlight_differences
from ...render.text import format_time
from ...store import Row
from .. import look
from .calls import CallbackGuard
from .facts import parameter_lines, turn_label
from .messages import MAX_TEXT_CHARS


class Comparison(w.VBox):  # type: ignore[misc]
    """Two turns side by side, or nothing. ``on_close`` is called when the user closes the comparison."""

    def __init__(self, guard: CallbackGuard, on_close: Callable[[], object]) -> None:
        self.ids: tuple[str, ...] = ()
        """The ids of the compared turns."""
        self.text = look.Html()
        self.close_button = look.button("Close comparison")
        self.close_button.on_click(guard.handler(on_close))
        head = look.with_class(
            look.row(look.Html(look.heading_html("Comparison")), self.close_button), "chatglm-head"
        )
        super().__init__([head, self.text])
        self.add_class("chatglm-comparison")
        self.show([])

    def show(self, rows: Sequence[Row]) -> None:
        """Show two turns, or nothing."""
        self.ids = tuple(row.turn.id for row in rows)
        self.text.value = comparison_html(rows) if rows else ""
        self.layout.display = None if rows else "none"


def comparison_html(rows: Sequence[Row]) -> str:
    """Return turns as columns of safe HTML: parameters, prompt, answer and reasoning, differences highlighted."""
    turns = [row.turn for row in rows]
    parts = {
        "Parameters": [parameter_lines(turn) for turn in turns],
        "Prompt": [turn.prompt[:MAX_TEXT_CHARS] for turn in turns],
        "Answer": [turn.answer[:MAX_TEXT_CHARS] for turn in turns],
        "Reasoning": [turn.reasoning[:MAX_TEXT_CHARS] for turn in turns],
    }
    cells = [f'<div class="chatglm-heading">{escape_html(_column_title(row))}</div>' for row in rows]
    for name, texts in parts.items():
        if any(texts):
            same = len(texts) > 1 and len(set(texts)) == 1
            css, head = ("chatglm-both", f"{name}, the same in both") if same else ("", name)
            highlighted = highlight_differences(texts[:1] if same else texts)
            bodies = [text or look.small_html("none") for text in highlighted]
            cells += [f'<div class="{css}"><div class="chatglm-part">{head}</div>{body}</div>' for body in bodies]
    return f'<div class="chatglm-compared">{"".join(cells)}</div>'


def _column_title(row: Row) -> str:
    turn = row.turn
    return " · ".join(
        part
        for part in (turn_label(row), turn.model or "", format_time(turn.created), describe_speed(turn))
        if part
    )
