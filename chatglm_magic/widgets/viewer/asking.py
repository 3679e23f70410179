"""A prompt that is sent from the viewer, one at a time: its answer as it streams, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ...errors import ChatGLMError
from ...session import Session
from ..asking import RequestRunner, ThrottledView
from .calls import CallbackGuard

if TYPE_CHECKING:
    from ...session.draft import Draft
    from ...values import Turn


class Screen(Protocol):
    """Where an answer is shown while it streams."""

    def begin(self) -> None:
        """An answer is awaited."""

    def stream(self, draft: Draft) -> int:
        """Show it as far as it has come; return the characters that went to the page."""

    def end(self, turn: Turn | None) -> None:
        """Show what became of it."""

    def rest(self) -> None:
        """No answer is awaited any more; the next one may be asked."""


class Question:
    """One question, from when it is asked until its end is shown."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.turn: Turn | None = None
        self.ended = False
        self.error: BaseException | None = None

    def show_draft(self, draft: Draft) -> int:
        """Show the answer so far; return the characters that went to the page."""
        return self._screen.stream(draft)

    def keep_turn(self, turn: Turn) -> None:
        """Keep in mind which turn it was."""
        self.turn = turn


class Asking:
    """Asks; the answer is shown by a screen."""

    def __init__(self, session: Session, guard: CallbackGuard, screen: Screen) -> None:
        self._session, self._guard, self._screen = session, guard, screen
        self._runner = RequestRunner(session)
        self._question: Question | None = None

    def ask(self, prompt: str, first: Callable[[], object] | None = None, **how: Any) -> None:
        """Ask with the session's present parameters; do something ``first``, unless an answer is under way.

        :raises ChatGLMError: if an answer is under way, or for what can't be asked.
        """
        question = Question(self._screen)

        def begin() -> Any:
            if first is not None:
                first()
            asked = self._session.aask(prompt, view=ThrottledView(question), **how)
            self._question = question
            self._show()
            return asked

        if not self._runner.start(
            begin, lambda error: self._guard.run_in_thread(lambda: self._end(question, error))
        ):
            raise ChatGLMError("An answer is under way: wait for it, or stop it.", kind="busy")

    def stop(self) -> None:
        """Stop the answer under way; what has arrived is kept."""
        self._runner.stop()

    def cancel(self) -> None:
        """Stop the answer, whose end is not shown any more; what has arrived is kept."""
        self._question = None
        if self._runner.busy:
            self._runner.stop()

    def _end(self, question: Question, error: BaseException | None) -> None:
        """Show what became of a question; called in a thread of its own, once the next one is accepted."""

        def present() -> None:
            nonlocal error
            if self._question is question:
                try:
                    self._screen.end(question.turn)
                except Exception as failed:  # noqa: BLE001 - it is told
                    error = error or failed

        self._guard.handler(present)()
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
            if not ended:
                self._screen.begin()
                self._guard.show_status("Answering…")
                continue
            self._screen.rest()
            if self._state != shown:
                continue
            if isinstance(question.error, asyncio.CancelledError):
                self._guard.show_status("Stopped; what had arrived is kept.")
            elif question.error is not None:
                self._guard.show_error(question.error)
            else:
                self._guard.show_status("Answered.")

    @property
    def _state(self) -> tuple[Question | None, bool]:
        question = self._question
        return question, question is not None and question.ended
