"""One prompt of a panel and its answer, also while it streams."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Protocol

from ...render.answers import escape_html
from ...render.blocks import BlockRenderer
from ...values import Kind, Turn
from ..words import parameters_line

if TYPE_CHECKING:
    from ...session.draft import Draft

WAITING_TEXT = "Waiting for the first token…"


class AnswerOwner(Protocol):
    """Displays the answers of a panel."""

    def keep_turn(self, turn: Turn, blocks: list[str]) -> None: ...
    def show_progress(self, answer: PanelAnswer) -> int: ...


class PanelAnswer:
    """One prompt of a panel and its answer so far; ``turn`` is set when the answer has ended."""

    def __init__(self, owner: AnswerOwner, prompt: str, kind: Kind) -> None:
        self._owner, self.prompt, self.kind = owner, prompt, kind
        self.id, self.key = uuid.uuid4().hex, ""
        self.turn: Turn | None = None
        self.is_finished = False
        self.label, self.heading = "GLM", ""
        self.text, self.notice, self.announced = "", "", WAITING_TEXT
        self.blocks: list[str] = []
        self._renderer = BlockRenderer()

    def show_draft(self, draft: Draft) -> int:
        """Display the answer so far; return the number of characters sent to the page."""
        self.text, self.notice = draft.text, draft.notice
        self.announced = draft.notice or "Answering…"
        self.heading = parameters_line(draft.base)
        self.label = speaker_name(draft.base)
        thinking = _thinking_blocks(draft.reasoning, ended=bool(self.text))
        self.blocks = [*thinking, *self._renderer.update(self.text, ended=False)]
        return self._owner.show_progress(self)

    def keep_turn(self, turn: Turn) -> None:
        """Keep the turn of the finished answer, and render it now so that nothing slow delays its display."""
        self.turn = turn
        self.text, self.heading = turn.answer, parameters_line(turn)
        self.blocks = [*_thinking_blocks(turn.reasoning, ended=True), *self._renderer.update(turn.answer)]
        self._owner.keep_turn(turn, self.blocks)


def speaker_name(turn: Turn) -> str:
    """Return the name of an answer's speaker: its model, without the organisation."""
    return (turn.model or "GLM").rsplit("/", 1)[-1][:60]


def answer_blocks(turn: Turn) -> list[str]:
    """Return an answer as blocks of safe HTML: its thinking, collapsed, then its text."""
    return [*_thinking_blocks(turn.reasoning, ended=True), *BlockRenderer().update(turn.answer)]


def _thinking_blocks(text: str, *, ended: bool) -> list[str]:
    """Return thinking as a block, which is expanded until it has ended."""
    if not text:
        return []
    head = "<details><summary>Thinking</summary>" if ended else "<details open><summary>Thinking…</summary>"
    return [f'{head}<div class="chatglm-thinking">{escape_html(text)}</div></details>']
