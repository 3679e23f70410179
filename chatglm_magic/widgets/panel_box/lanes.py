"""Live mode's last three answers side by side, what differs marked."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import ipywidgets as w

from ...render.answers import escape, trouble
from ..answer import metrics, parameters
from ..asking import Screen
from ..look import Html, small

if TYPE_CHECKING:
    from ...session.draft import Draft
    from ...values import Turn

LANES = 3

CSS = """
.chatglm-box .chatglm-lanes{display:flex;flex-flow:row nowrap;gap:10px;align-items:stretch;overflow:visible}
.chatglm-box .chatglm-lanes>*{flex:1 1 0;min-width:0;margin:0}
.chatglm-box .chatglm-lanes .chatglm-lane{box-sizing:border-box;height:100%;display:flex;flex-flow:column;gap:6px}
.chatglm-box .chatglm-lanes .chatglm-body-text{max-height:36em;overflow:auto}
"""


@dataclass(eq=False)
class Lane:
    """One of the answers that are compared: a turn that has ended, or as far as it has come."""

    title: str
    text: str = ""
    line: str = ""
    mark: str = ""


class Lanes(w.Box):  # type: ignore[misc]
    """The last three answers side by side, what differs marked; always the same few widgets."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lanes: list[Lane] = []
        self._cells = [Html(layout=w.Layout(display="none")) for _ in range(LANES)]
        super().__init__(self._cells, layout=w.Layout(display="none"))
        self.add_class("chatglm-lanes")

    def clear(self) -> None:
        """Show none."""
        with self._lock:
            self._lanes = []
            self._render()

    def add(self, turn: Turn | None = None) -> LaneScreen:
        """Add a lane at the right, with an answer or for one to come; the oldest goes if there are too many."""
        with self._lock:
            lane = Lane("Asking…")
            self._lanes = [*self._lanes, lane][-LANES:]
            screen = LaneScreen(self, lane)
            if turn is None:
                self._render()
            else:
                screen.finish(turn)
            return screen

    def drop(self, screen: Screen) -> None:
        """Take a lane out again: its question was asked anew before it was answered."""
        with self._lock:
            self._lanes = [
                lane for lane in self._lanes if not isinstance(screen, LaneScreen) or lane is not screen.lane
            ]
            self._render()

    def show(self, lane: Lane, *, ended: bool) -> int:
        """Bring what is shown up to a lane's state; return the size of what went to the page."""
        with self._lock:
            if lane not in self._lanes:
                return 0
            if ended:
                self._render()
            cell = self._cells[self._lanes.index(lane)]
            if not ended:
                cell.value = _html(lane, _plain(lane.text))
            return len(cell.value)

    def _render(self) -> None:
        from ...render.diff import marked

        texts = marked([lane.text for lane in self._lanes])
        for number, cell in enumerate(self._cells):
            used = number < len(self._lanes)
            cell.layout.display = None if used else "none"
            cell.value = _html(self._lanes[number], texts[number]) if used else ""


class LaneScreen:
    """The place of one answer among the lanes."""

    def __init__(self, lanes: Lanes, lane: Lane) -> None:
        self._lanes, self.lane = lanes, lane

    def frame(self, draft: Draft) -> int:
        """Show an answer as far as it has come; return the characters sent to the page."""
        self.lane.title, self.lane.text = parameters(draft.base), draft.text
        return self._lanes.show(self.lane, ended=False)

    def finish(self, turn: Turn) -> None:
        """Show an answer that has ended, and what differs between it and the others."""
        lane = self.lane
        lane.title, lane.text, lane.line, lane.mark = parameters(turn), turn.answer, metrics(turn), trouble(turn)
        self._lanes.show(lane, ended=True)


def _plain(text: str) -> str:
    style = "white-space:pre-wrap;overflow-wrap:anywhere"
    return f'<div style="{style}">{escape(text)}</div>'


def _html(lane: Lane, text: str) -> str:
    mark = f'<div class="chatglm-failed">[{escape(lane.mark)}]</div>' if lane.mark else ""
    title = f'<div class="chatglm-heading">{escape(lane.title)}</div>'
    body = f'<div class="chatglm-body-text" role="region" aria-label="Answer">{text}{mark}</div>'
    return f'<div class="chatglm-card chatglm-lane">{title}{body}{small(lane.line)}</div>'
