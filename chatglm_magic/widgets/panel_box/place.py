"""Where the answer to one question of a panel goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..asking import Screen

if TYPE_CHECKING:
    from ...session.draft import Draft
    from ...values import Turn
    from .dialogue import Dialogue


class Place:
    """Where one question's answer is shown: alone, or in a lane beside others; ``turn`` is it once ended."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._dialogue = dialogue
        self.screen: Screen = dialogue.answer
        self.turn: Turn | None = None

    def frame(self, draft: Draft) -> int:
        """Show an answer as far as it has come; return the characters sent to the page."""
        self._dialogue.status.say(draft.notice or "Answering…")
        self._dialogue.controls.sync_again()
        return self.screen.frame(draft)

    def finish(self, turn: Turn) -> None:
        """Show an answer that has ended."""
        self.turn = turn
        self.screen.finish(turn)
        self._dialogue.ended(self, turn)
