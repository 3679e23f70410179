"""Two pinned turns side by side, with what differs marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w

from ...render.answers import escape, speed
from ...render.diff import marked
from ...store import Row
from .. import look
from .calls import Calls
from .facts import label, when
from .turn import LONGEST, parameters_of


class Compared(w.VBox):  # type: ignore[misc]
    """At most two turns; hidden while there is none. ``changed`` is called when a pin was taken away here."""

    def __init__(self, calls: Calls, changed: Callable[[], object]) -> None:
        self._calls, self._changed = calls, changed
        self._rows: list[Row] = []
        self.text = look.Html()
        self.unpin = look.button("Unpin")
        self.unpin.on_click(calls.handler(self._unpin))
        super().__init__([look.row(look.Html(look.heading("Pinned")), self.unpin), self.text])
        self.add_class("chatglm-card")
        self.add_class("chatglm-pinned")
        self._show()

    @property
    def ids(self) -> list[str]:
        """The pinned turns, the first one pinned first."""
        return [row.turn.id for row in self._rows]

    def pin(self, row: Row) -> None:
        """Pin a turn, or take its pin away; a third one takes the place of the first."""
        if row.turn.id in self.ids:
            self.drop([row.turn.id])
            return
        self._rows = [*self._rows[-1:], row]
        self._show()
        if len(self._rows) == 1:
            self._calls.say(f"{label(row)} is pinned: open another turn and pin it to see what differs.")
        else:
            self._calls.say(f"{label(self._rows[0])} and {label(row)} are compared below.")

    def drop(self, ids: Sequence[str]) -> None:
        """Take pins away."""
        self._rows = [row for row in self._rows if row.turn.id not in ids]
        self._show()

    def _unpin(self) -> None:
        self._rows = []
        self._show()
        self._changed()

    def _show(self) -> None:
        self.layout.display = None if self._rows else "none"
        self.unpin.description = "Unpin both" if len(self._rows) > 1 else "Unpin"
        self.text.value = side_by_side(self._rows)


def side_by_side(rows: list[Row]) -> str:
    """Return turns as columns of safe HTML: prompt, parameters, answer and reasoning, what differs marked."""
    turns = [row.turn for row in rows]
    parts = {
        "Parameters": [parameters_of(turn) for turn in turns],
        "Prompt": [turn.prompt[:LONGEST] for turn in turns],
        "Answer": [turn.answer[:LONGEST] for turn in turns],
        "Reasoning": [turn.reasoning[:LONGEST] for turn in turns],
    }
    cells = [f'<div class="chatglm-heading">{escape(_name(row))}</div>' for row in rows]
    for name, texts in parts.items():
        if any(texts):
            same = len(texts) > 1 and len(set(texts)) == 1
            place, head = ("chatglm-both", f"{name}, the same in both") if same else ("", name)
            shown = [text or look.small("none") for text in marked(texts[:1] if same else texts)]
            cells += [
                f'<div class="{place}"><div class="chatglm-label">{head}</div>{text}</div>' for text in shown
            ]
    return f'<div class="chatglm-compared chatglm-{len(rows)}">{"".join(cells)}</div>'


def _name(row: Row) -> str:
    turn = row.turn
    return " · ".join(part for part in (label(row), turn.model or "", when(turn.created), speed(turn)) if part)
