"""One prompt of a panel, and its answer as far as it has come."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Protocol

from ...render.answers import escape_html
from ...render.blocks import BlockRenderer
from ...values import Kind, Turn
from ..words import parameters_line

if TYPE_CHECKING:
    from ...session.draft import Draft

WAITING = "Waiting for the first token…"


class Owner(Protocol):
    """What shows the answers of a panel."""

    def keep(self, turn: Turn, blocks: list[str]) -> None: ...
    def progress(self, place: Place) -> int: ...


class Place:
    """One prompt of this panel and its answer as far as it has come; ``turn`` is it once it has ended."""

    def __init__(self, owner: Owner, prompt: str, kind: Kind) -> None:
        self._owner, self.prompt, self.kind = owner, prompt, kind
        self.id, self.key = uuid.uuid4().hex, ""
        self.turn: Turn | None = None
        self.is_over = False
        self.label, self.heading = "GLM", ""
        self.text, self.notice, self.announced = "", "", WAITING
        self.blocks: list[str] = []
        self._answer = BlockRenderer()

    def show_draft(self, draft: Draft) -> int:
        """Show an answer as far as it has come; return the characters sent to the page."""
        self.text, self.notice = draft.text, draft.notice
        self.announced = draft.notice or "Answering…"
        self.heading = parameters_line(draft.base)
        self.label = speaker(draft.base)
        thinking = thinking_blocks(draft.reasoning, ended=bool(self.text))
        self.blocks = [*thinking, *self._answer.update(self.text, ended=False)]
        return self._owner.progress(self)

    def keep_turn(self, turn: Turn) -> None:
        """Keep the turn of an answer that has ended, rendered: nothing slow then stands in its end's way."""
        self.turn = turn
        self.text, self.heading = turn.answer, parameters_line(turn)
        self.blocks = [*thinking_blocks(turn.reasoning, ended=True), *self._answer.update(turn.answer)]
        self._owner.keep(turn, self.blocks)


def speaker(turn: Turn) -> str:
    """Return the name under which an answer stands: its model's."""
    return (turn.model or "GLM").rsplit("/", 1)[-1][:60]


def answer_blocks(turn: Turn) -> list[str]:
    """Return an answer as blocks of safe HTML: thinking folded away, then the text."""
    return [*thinking_blocks(turn.reasoning, ended=True), *BlockRenderer().update(turn.answer)]


def thinking_blocks(text: str, *, ended: bool) -> list[str]:
    """Return thinking as a block that is open until it has ended."""
    if not text:
        return []
    head = "<details><summary>Thinking</summary>" if ended else "<details open><summary>Thinking…</summary>"
    return [f'{head}<div class="chatglm-thinking">{escape_html(text)}</div></details>']
