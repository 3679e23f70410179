"""A finished answer as safe HTML, with its thinking and why it is incomplete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..render.answers import escape_html, incomplete_reason

if TYPE_CHECKING:
    from ..values import Turn

CSS = """
.chatglm-box .chatglm-thinking{max-width:44rem;white-space:pre-wrap;margin:4px 0 8px;padding-left:10px;
 border-left:3px solid var(--jp-border-color1,rgba(128,128,128,.5))}
"""


def turn_html(turn: Turn) -> str:
    """Return an answer as safe HTML: its thinking, collapsed, then the text and why it is incomplete, if it is."""
    from ..render.markdown import to_html

    parts = []
    if turn.reasoning:
        body = f'<div class="chatglm-thinking">{escape_html(turn.reasoning)}</div>'
        parts.append(f'<details class="chatglm-small"><summary>Thinking</summary>{body}</details>')
    if turn.answer:
        parts.append(to_html(turn.answer))
    if mark := incomplete_reason(turn):
        parts.append(f'<div class="chatglm-failed">[{escape_html(mark)}]</div>')
    return "".join(parts)
