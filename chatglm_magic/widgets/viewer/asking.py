"""A prompt sent from the viewer, one at a time: its answer as it streams, and its end."""

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


class AnswerDisplay(Protocol):
    """Where an answer is shown while it streams."""

    def begin(self) -> None:
        """Show that an answer is pending."""

    def stream(self, draft: Draft) -> int:
        """Show the answer so far; return the number of characters sent to the page."""

    def end(self, turn: Turn | None) -> None:
        """Show the finished turn."""

    def rest(self) -> None:
        """Show that no answer is pending and the next prompt can be sent."""


class PendingRequest:
    """One request, from the moment it is sent until its end is shown."""

    def __init__(self, display: AnswerDisplay) -> None:
        self._display = display
        self.turn: Turn | None = None
        self.ended = False
        self.error: BaseException | None = None

    def show_draft(self, draft: Draft) -> int:
        """Show the answer so far; return the number of characters sent to the page."""
        return self._display.stream(draft)

    def keep_turn(self, turn: Turn) -> None:
        """Remember the finished turn."""
        self.turn = turn


class PromptSender:
    """Sends prompts with the session's current parameters and shows the answers in ``display``."""

    def __init__(self, session: Session, guard: CallbackGuard, display: AnswerDisplay) -> None:
        self._session, self._guard, self._display = session, guard, display
        self._runner = RequestRunner(session)
        self._request: PendingRequest | None = None

    def send(self, prompt: str, before: Callable[[], object] | None = None, **options: Any) -> None:
        """Send a prompt; ``before`` is called first, unless another answer is pending.

        :raises ChatGLMError: if an answer is pending, or if the prompt can't be sent.
        """
        request = PendingRequest(self._display)

        def start() -> Any:
            if before is not None:
                before()
            answer = self._session.aask(prompt, view=ThrottledView(request), **options)
            self._request = request
            self._update()
            return answer

        def ended(error: BaseException | None) -> None:
            self._guard.run_in_thread(lambda: self._end(request, error))

        if not self._runner.start(start, ended):
            raise ChatGLMError("An answer is under way: wait for it, or stop it.", kind="busy")

    def stop(self) -> None:
        """Stop the pending answer; what has arrived is kept."""
        self._runner.stop()

    def cancel(self) -> None:
        """Stop the pending answer without showing its end; what has arrived is kept."""
        self._request = None
        if self._runner.busy:
            self._runner.stop()

    def _end(self, request: PendingRequest, error: BaseException | None) -> None:
        """Show how a request ended; called in a worker thread, once the next one is accepted."""

        def present() -> None:
            nonlocal error
            if self._request is request:
                try:
                    self._display.end(request.turn)
                except Exception as failure:  # noqa: BLE001 - ``_update`` shows it
                    error = error or failure

        self._guard.handler(present)()
        request.error, request.ended = error, True
        if self._request is request:
            self._update()

    def _update(self) -> None:
        """Bring the display and the status line up to date with the latest request, which may change meanwhile.

        No lock is held: an observer of the end may send the next prompt at once, from another thread or this one.
        """
        handled = None
        while (state := self._state) != handled:
            handled = state
            request, ended = state
            if request is None:
                return
            if not ended:
                self._display.begin()
                self._guard.show_status("Answering…")
                continue
            self._display.rest()
            if self._state != handled:
                continue
            if isinstance(request.error, asyncio.CancelledError):
                self._guard.show_status("Stopped; what had arrived is kept.")
            elif request.error is not None:
                self._guard.show_error(request.error)
            else:
                self._guard.show_status("Answered.")

    @property
    def _state(self) -> tuple[PendingRequest | None, bool]:
        request = self._request
        return request, request is not None and request.ended
