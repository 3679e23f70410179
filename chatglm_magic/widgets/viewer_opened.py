"""The opened turn: all that is known of it, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w

from ..errors import CommandError
from ..session import Session
from ..store import Row
from ..values import Turn
from . import look
from .viewer_calls import Calls
from .viewer_compare import Compared
from .viewer_confirm import Delete
from .viewer_facts import label, title
from .viewer_turn import particulars, whole


class Opened(w.VBox):  # type: ignore[misc]
    """One turn, or nothing. The functions are the viewer's: closing, stepping by ±1, deleting, asking."""

    def __init__(
        self,
        session: Session,
        calls: Calls,
        compared: Compared,
        *,
        close: Callable[[], object],
        step: Callable[[int], object],
        delete: Callable[[Sequence[str]], object],
        ask: Callable[..., object],
    ) -> None:
        self._session, self._calls, self._compared, self._ask = session, calls, compared, ask
        self.row: Row | None = None
        self._built(calls, close, step, delete)
        super().__init__(
            [
                self.heading,
                look.row(self.up, self.down, self.close_turn),
                look.row(self.again, self.edit, self.go_on, self.copy, self.copy_prompt, self.pin, self.delete),
                self.editor,
                self.copied,
                self.text,
                self.facts,
            ]
        )
        self.add_class("chatglm-card")
        self.add_class("chatglm-opened")
        self.show(None)

    def _built(self, calls: Calls, close: Any, step: Any, delete: Any) -> None:
        self.heading, self.text, self.facts = w.HTML(), w.HTMLMath(), w.HTML()
        self.up, self.down = look.button("Previous turn"), look.button("Next turn")
        self.close_turn = look.button("Close")
        self.again = look.button("Ask again", tooltip="Ask this prompt again, with the parameters as they are now")
        self.edit = look.button(
            "Edit and fork", tooltip="Change the prompt, and go on from there in a new conversation"
        )
        self.go_on = look.button("Continue conversation", tooltip="Make this turn's conversation the present one")
        self.copy, self.copy_prompt = look.button("Copy answer"), look.button("Copy prompt")
        self.pin = look.button("Pin", tooltip="Pin two turns to see what differs")
        self.delete = Delete(calls, lambda: [self.turn.id], delete)
        self.prompt = look.above(w.Textarea(description="New prompt"))
        self.fork, self.cancel = look.button("Fork and ask", primary=True), look.button("Cancel")
        self.editor = look.column(self.prompt, look.row(self.fork, self.cancel))
        self.copied = w.Box()
        for button, act in {
            self.up: lambda: step(-1),
            self.down: lambda: step(1),
            self.close_turn: close,
            self.again: self._again,
            self.edit: self._edit,
            self.cancel: self._leave,
            self.fork: self._fork,
            self.go_on: self._continue,
            self.copy: lambda: self._copy(self.turn.answer),
            self.copy_prompt: lambda: self._copy(self.turn.prompt),
            self.pin: self._pin,
        }.items():
            button.on_click(calls.handler(act))

    @property
    def turn(self) -> Turn:
        """The opened turn.

        :raises CommandError: if there is none, as when a click came late.
        """
        if self.row is None:
            raise CommandError("That turn is closed: open it again.")
        return self.row.turn

    def show(self, row: Row | None) -> None:
        """Show a turn, or nothing; what is being edited stays if it is the same turn."""
        if row is None or self.row is None or row.turn.id != self.row.turn.id:
            self._leave()
            self.delete.forget()
            self.copied.children = ()
        if row is not None and row != self.row:
            self.heading.value = look.heading(f"{label(row)} {title(row.turn.prompt)}")
            self.text.value, self.facts.value = whole(row.turn), particulars(row)
        self.row = row
        self.layout.display = None if row is not None else "none"
        self.mark()

    def mark(self) -> None:
        """Bring the buttons up to date with the session and the pins."""
        if self.row is None:
            return
        here = self.row.turn.conversation == self._session.conversation
        self.go_on.disabled = here
        self.pin.description = "Unpin" if self.row.turn.id in self._compared.ids else "Pin"

    def _again(self) -> None:
        turn = self.turn
        part = turn.kind == "chat" and turn.status != "superseded" and not turn.outside
        if part and any(other.id == turn.id for other in self._session.turns):
            self._ask(turn.prompt, again=turn.id)
        else:  # another conversation's turn, or one that is no part of any, must not enter the present one
            self._ask(turn.prompt, history=False)

    def _edit(self) -> None:
        self.prompt.value = self.turn.prompt
        self.editor.layout.display = None
        self.prompt.focus()

    def _leave(self) -> None:
        self.editor.layout.display = "none"

    def _fork(self) -> None:
        turn, prompt = self.turn, self.prompt.value
        if self.editor.layout.display == "none":  # a second click
            return
        if not prompt.strip():
            raise CommandError("The new prompt is empty: type one, or cancel.")
        self._session.fork(turn.id, before=True)
        self._ask(prompt)
        self._leave()

    def _continue(self) -> None:
        if self.turn.conversation != self._session.conversation:
            count = self._session.resume(self.turn.conversation)
            self._calls.say(f"This is the present conversation now; it has {count} turn{'s' * (count != 1)}.")
            self.mark()

    def _copy(self, text: str) -> None:
        from .copying import Copier

        copier = self.copied.children[0] if self.copied.children else Copier()
        self.copied.children = (copier,)
        copier.show(text)

    def _pin(self) -> None:
        if self.row is not None:
            self._compared.pin(self.row)
            self.mark()
