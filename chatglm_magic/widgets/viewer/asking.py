"""A question asked from the viewer: its answer as it streams, and Stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from ...errors import ChatGLMError
from ...render.terminal import one_line
from ...session import Session
from .. import look
from ..answer import AnswerPane
from ..asking import Runner, Showing
from .calls import Calls

if TYPE_CHECKING:
    from ...session.draft import Draft
    from ...values import Turn


class Asking(w.VBox):  # type: ignore[misc]
    """One answer at a time, hidden while there is none; ``ended`` is called with each turn's id at its end."""

    def __init__(self, session: Session, calls: Calls, ended: Callable[[str], object]) -> None:
        self._session, self._calls, self._ended = session, calls, ended
        self._runner = Runner(session, self._shown, self._told)
        self._turn = ""
        self._pane, self.prompt = AnswerPane(), w.HTML()
        self.stop = look.button("Stop")
        self.stop.on_click(calls.handler(self._runner.stop))
        super().__init__([look.row(self.prompt, self.stop), self._pane], layout=w.Layout(display="none"))
        self.add_class("chatglm-card")

    def ask(self, prompt: str, first: Callable[[], object] | None = None, **how: Any) -> None:
        """Ask with the session's present parameters; do something ``first``, unless an answer is under way.

        :raises ChatGLMError: if an answer is under way, or for what can't be asked.
        """
        if not self._runner.start(lambda: self._question(prompt, first, how)):
            raise ChatGLMError("An answer is under way: wait for it, or stop it.", kind="busy")
        self.prompt.value = look.small(f"Answering: {one_line(prompt, 120)}")

    def _question(self, prompt: str, first: Callable[[], object] | None, how: dict[str, Any]) -> Any:
        if first is not None:
            first()
        return self._session.aask(prompt, view=Showing(self, self._is_shown), **how)

    def cancel(self) -> None:
        """Stop the answer; what has arrived is kept."""
        if self._runner.busy:
            self._runner.stop()

    def frame(self, draft: Draft) -> int:
        """Show the answer so far; return the characters that went to the page."""
        return self._pane.frame(draft)

    def finish(self, turn: Turn) -> None:
        """Keep in mind which turn it was."""
        self._turn = turn.id

    def _is_shown(self, showing: Showing) -> bool:
        return self._runner.busy

    def _shown(self) -> None:
        busy = self._runner.busy
        if busy:
            self._pane.begin()
            self._turn = ""
            self._calls.say("Answering…")
        self.layout.display = None if busy else "none"

    def _told(self, error: BaseException | None) -> None:
        if isinstance(error, asyncio.CancelledError):
            self._calls.say("Stopped; what had arrived is kept.")
        elif error is not None:
            self._calls.tell(error)
        else:
            self._calls.say("Answered.")
        if turn := self._turn:
            self._calls.apart(self._calls.handler(lambda: self._ended(turn)))
