"""A question asked from the viewer: its answer as it streams, and Stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from ...errors import ChatGLMError
from ...render.text import one_line
from ...session import Session
from .. import look
from ..answer import AnswerPane
from ..asking import Runner, Showing
from .calls import Calls

if TYPE_CHECKING:
    from ...session.draft import Draft
    from ...values import Turn


class Question:
    """One question, from when it is asked until its end is shown."""

    def __init__(self, pane: AnswerPane) -> None:
        self._pane = pane
        self.turn: Turn | None = None
        self.ended = False
        self.error: BaseException | None = None

    def frame(self, draft: Draft) -> int:
        """Show the answer so far; return the characters that went to the page."""
        return self._pane.frame(draft)

    def keep(self, turn: Turn) -> None:
        """Keep in mind which turn it was."""
        self.turn = turn


class Asking(w.VBox):  # type: ignore[misc]
    """One answer at a time, hidden while there is none; ``ended`` is called with each turn's id at its end."""

    def __init__(self, session: Session, calls: Calls, ended: Callable[[str], object]) -> None:
        self._session, self._calls, self._ended = session, calls, ended
        self._runner = Runner(session)
        self._question: Question | None = None
        self._pane, self.prompt = AnswerPane(), look.Html()
        self.stop = look.button("Stop")
        self.stop.on_click(calls.handler(self._runner.stop))
        super().__init__([look.row(self.prompt, self.stop), self._pane], layout=w.Layout(display="none"))
        self.add_class("chatglm-card")

    def ask(self, prompt: str, first: Callable[[], object] | None = None, **how: Any) -> None:
        """Ask with the session's present parameters; do something ``first``, unless an answer is under way.

        :raises ChatGLMError: if an answer is under way, or for what can't be asked.
        """
        question = Question(self._pane)

        def begin() -> Any:
            if first is not None:
                first()
            asked = self._session.aask(prompt, view=Showing(question), **how)
            self._pane.begin()
            self.prompt.value = look.small(f"Answering: {one_line(prompt, 120)}")
            self._question = question
            self._show()
            return asked

        if not self._runner.start(begin, lambda error: self._calls.apart(lambda: self._end(question, error))):
            raise ChatGLMError("An answer is under way: wait for it, or stop it.", kind="busy")

    def cancel(self) -> None:
        """Stop the answer, whose end is not shown any more; what has arrived is kept."""
        self._question = None
        if self._runner.busy:
            self._runner.stop()

    def _end(self, question: Question, error: BaseException | None) -> None:
        """Show what became of a question; called in a thread of its own, once the next one is accepted.

        The turn is opened first: by the time that its end is told, the buttons are those of its turn.
        """

        def present() -> None:
            nonlocal error
            if question.turn is not None and self._question is question:
                try:
                    self._ended(question.turn.id)
                except Exception as failed:  # noqa: BLE001 - it is told
                    error = error or failed

        self._calls.handler(present)()
        question.error, question.ended = error, True
        if self._question is question:
            self._show()

    def _show(self) -> None:
        """Bring all up to the last question, also where another one is asked meanwhile.

        No lock is held: whoever is told of an end may ask at once, in another thread or as an observer.
        """
        shown = None
        while (state := self._state) != shown:
            shown = state
            question, ended = state
            if question is None:
                return
            self.layout.display = "none" if ended else None
            if not ended:
                self._calls.say("Answering…")
            elif isinstance(question.error, asyncio.CancelledError):
                self._calls.say("Stopped; what had arrived is kept.")
            elif question.error is not None:
                self._calls.tell(question.error)
            else:
                self._calls.say("Answered.")

    @property
    def _state(self) -> tuple[Question | None, bool]:
        question = self._question
        return question, question is not None and question.ended
