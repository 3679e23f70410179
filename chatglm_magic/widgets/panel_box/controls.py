"""The prompt and the buttons of a panel, and how a panel is laid out."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from .. import answer, still
from ..look import above, button, column, row
from . import connection, lanes, parameters

PLACEHOLDER = "Ask the model…"

CSS = """
.chatglm-panel .chatglm-sides{display:flex;flex-flow:row wrap;align-items:flex-start;gap:14px 24px;
 overflow:visible}
.chatglm-panel .chatglm-side{flex:1 1 290px;min-width:0}
.chatglm-panel .chatglm-main{flex:3 1 560px;min-width:0}
.chatglm-panel .chatglm-grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(225px,1fr));gap:12px 22px;
 overflow:visible}
.chatglm-panel .chatglm-grid>*{margin:0}
.chatglm-panel textarea{resize:vertical}
.chatglm-panel .chatglm-past>.jupyter-button{align-self:flex-start}
"""
STYLE = parameters.CSS + connection.CSS + answer.CSS + lanes.CSS + still.CSS + CSS


class Controls:
    """Prompt box and buttons.

    The kernel gets the prompt when the box is left: a click on Send leaves it, so that the text comes first. Sent
    with every key, the last of it could come after the click when the kernel has been busy.
    """

    def __init__(self) -> None:
        self.prompt = above(
            w.Textarea(description="Prompt", placeholder=PLACEHOLDER, rows=5, continuous_update=False)
        )
        self.send = button("Send", primary=True, tooltip="Ask; an unchanged prompt is asked again")
        self.stop = button("Stop", disabled=True, tooltip="End the answer under way; what has arrived stays")
        self.again = button("Regenerate", tooltip="Ask again; the new answer takes the place of the last one")
        self.live = w.Checkbox(
            description="Live mode", indent=False, tooltip="Ask again, for comparison, whenever a slider has moved"
        )
        self.magic = button("Copy as magic", tooltip="A cell that asks the same")
        self.python = button("Copy as Python", tooltip="Plain Python that asks the same")

    def sync(self, *, busy: bool) -> None:
        """Let only those buttons be pressed that make sense."""
        self.send.disabled = self.again.disabled = busy
        self.stop.disabled = not busy

    def sync_again(self) -> None:
        """Send the buttons' state once more: a page that has just opened asks for the state of all widgets, and
        may put that older answer over a newer update."""
        for each in (self.send, self.stop, self.again):
            each.send_state("disabled")

    def bar(self) -> w.Box:
        """Return the buttons side by side."""
        return row(self.send, self.stop, self.again, self.live, self.magic, self.python)


def sides(left: list[Any], right: list[Any]) -> w.Box:
    """Return two columns, which become one where there is no room for both."""
    side, main = column(*left), column(*right)
    side.add_class("chatglm-side")
    main.add_class("chatglm-main")
    box = w.Box([side, main])
    box.add_class("chatglm-sides")
    return box


def grid(*children: Any) -> w.Box:
    """Return widgets in as many columns as there is room for."""
    box = w.Box(children)
    box.add_class("chatglm-grid")
    return box
