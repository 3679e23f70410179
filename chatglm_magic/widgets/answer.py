"""The panel's answer: the text as in a cell, and a line about how it came."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import ipywidgets as w

from ..parameters import shown_with_answers, value_in
from ..render.answers import counted, escape, live_html, token_counts, trouble
from ..render.text import seconds
from .look import Html, Typeset, small

if TYPE_CHECKING:
    from ..session.draft import Draft
    from ..values import Turn

CSS = """
.chatglm-box .chatglm-thinking{max-width:44rem;white-space:pre-wrap;margin:4px 0 8px;padding-left:10px;
 border-left:3px solid var(--jp-border-color1,rgba(128,128,128,.5))}
"""


class AnswerPane(w.Box):  # type: ignore[misc]
    """Shows one answer at a time, and beneath it a line about it."""

    def __init__(self) -> None:
        self._text, self._line = Typeset(), Html()
        super().__init__([self._text, self._line])
        self.add_class("chatglm-column")

    def begin(self) -> None:
        """Make room for the next answer."""
        self._text.value = self._line.value = ""

    def frame(self, draft: Draft) -> int:
        """Show an answer as far as it has come; return the characters sent to the page."""
        self._text.value = _region(live_html(draft.text, draft.reasoning, draft.notice))
        return len(self._text.value)

    def finish(self, turn: Turn) -> None:
        """Show an answer that has ended."""
        self.prepare(turn)()

    def prepare(self, turn: Turn) -> Callable[[], None]:
        """Render an answer that has ended; return what shows it at once."""
        text, line = _region(answer_html(turn)), small(metrics(turn))

        def show() -> None:
            self._text.value, self._line.value = text, line

        return show


def _region(html: str) -> str:
    return f'<div role="region" aria-label="Answer">{html}</div>' if html else ""


def answer_html(turn: Turn) -> str:
    """Return an answer as safe HTML: thinking folded away, the text, and why it is not whole."""
    from ..render.markdown import to_html

    parts = []
    if turn.reasoning:
        body = f'<div class="chatglm-thinking">{escape(turn.reasoning)}</div>'
        parts.append(f'<details class="chatglm-small"><summary>Thinking</summary>{body}</details>')
    if turn.answer:
        parts.append(to_html(turn.answer))
    if mark := trouble(turn):
        parts.append(f'<div class="chatglm-failed">[{escape(mark)}]</div>')
    return "".join(parts)


def metrics(turn: Turn) -> str:
    """Say in one line which model answered, how much, how fast, how it ended, and what was changed of the wish."""
    tokens, parts = counted(turn), [turn.model or "the server's own model"]
    parts += token_counts(turn) or ["tokens not counted"]
    writing = (turn.duration or 0) - (turn.first_token or 0)
    if tokens and writing > 0.05:
        parts.append(f"{tokens / writing:.0f} tokens/s")
    if turn.first_token is not None:
        parts.append(f"first token {seconds(turn.first_token)}")
    if turn.first_thinking is not None and turn.first_answer is not None:
        parts.append(f"answer after {seconds(turn.first_answer)}")
    if turn.duration is not None:
        parts.append(f"{seconds(turn.duration)} in all")
    parts.append(f"finish: {turn.finish_reason or turn.status}")
    parts += [f"changed: {what}" for what in turn.changed]
    return " · ".join(parts)


def parameters(turn: Turn) -> str:
    """Say in one line with which parameters a question was asked; what was left unset is not named."""
    parts = []
    for name in shown_with_answers():
        value = turn.asked[name] if name in turn.asked else value_in(turn.sent, name)
        if value is not None:
            parts.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return " · ".join(parts) or "the server's defaults"
