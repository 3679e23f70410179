"""Where the answer to one question of a panel goes."""

from __future__ import annotations

from collections.abc import Callable
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
        self._show: Callable[[], None] | None = None

    def frame(self, draft: Draft) -> int:
        """Show an answer as far as it has come; return the characters sent to the page."""
        self._dialogue.status.say(draft.notice or "Answering…")
        self._dialogue.controls.sync_again()
        return self.screen.frame(draft)

    def keep(self, turn: Turn) -> None:
        """Keep the turn of an answer that has ended, rendered: nothing slow stands between parts of its end."""
        self.turn = turn
        self._show = self._dialogue.answer.prepare(turn)
        self._dialogue.keep(turn)

    def show_end(self) -> None:
        """Show the whole answer, alone; nothing if there is none."""
        if self._show is not None:
            self._show()
