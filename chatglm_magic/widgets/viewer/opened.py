"""The opened turn: all that is known of it, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w

from ...errors import CommandError
from ...render.text import plural
from ...session import Session
from ...store import Row
from ...values import Turn
from .. import look
from .buttons import Buttons
from .calls import Calls
from .compare import Compared
from .confirm import Delete
from .facts import label, title
from .turn import particulars, whole


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
        self.heading, self.text, self.facts, self.copied = look.Html(), look.Typeset(), look.Html(), w.Box()
        self.delete = Delete(calls, lambda: [self.turn.id], delete)
        self.buttons = does = Buttons(self.delete)
        super().__init__([self.heading, *does.rows, self.copied, self.text, self.facts])
        self.add_class("chatglm-card")
        self.add_class("chatglm-opened")
        does.do(
            calls,
            {
                does.up: lambda: step(-1),
                does.down: lambda: step(1),
                does.close: close,
                does.again: self._again,
                does.edit: lambda: does.edit_prompt(self.turn.prompt),
                does.cancel: does.leave,
                does.fork: self._fork,
                does.go_on: self._continue,
                does.copy: lambda: self._copy(self.turn.answer),
                does.copy_prompt: lambda: self._copy(self.turn.prompt),
                does.pin: self._pin,
            },
        )
        self.show(None)

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
        before, self.row = self.row, row  # first: a button that is pressed from here on is meant for this turn
        if row is None or before is None or row.turn.id != before.turn.id:
            self.buttons.leave()
            self.delete.forget()
            self.copied.children = ()
        if row is not None and row != before:
            self.heading.value = look.heading(f"{label(row)} {title(row.turn.prompt)}")
            self.text.value, self.facts.value = whole(row.turn), particulars(row)
        self.layout.display = None if row is not None else "none"
        self.mark()

    def mark(self) -> None:
        """Bring the buttons up to date with the session and the pins."""
        if self.row is None:
            return
        here = self.row.turn.conversation == self._session.conversation
        self.buttons.go_on.disabled = here
        self.buttons.pin.description = "Unpin" if self.row.turn.id in self._compared.ids else "Pin"

    def _again(self) -> None:
        turn = self.turn
        part = turn.kind == "chat" and turn.status != "superseded" and not turn.outside
        if part and any(other.id == turn.id for other in self._session.turns):
            self._ask(turn.prompt, again=turn.id)
        else:  # another conversation's turn, or one that is no part of any, must not enter the present one
            self._ask(turn.prompt, history=False)

    def _fork(self) -> None:
        turn, prompt = self.turn, self.buttons.prompt.value
        if not self.buttons.editing:  # a second click
            return
        if not prompt.strip():
            raise CommandError("The new prompt is empty: type one, or cancel.")
        self._ask(prompt, first=lambda: self._session.fork(turn.id, before=True))
        self.buttons.leave()

    def _continue(self) -> None:
        if self.turn.conversation != self._session.conversation:
            count = self._session.resume(self.turn.conversation)
            self.mark()
            self._calls.say(f"Switched to this conversation ({plural(count, 'turn')}).")

    def _copy(self, text: str) -> None:
        from ..copying import Copier

        copier = self.copied.children[0] if self.copied.children else Copier()
        self.copied.children = (copier,)
        copier.show(text)

    def _pin(self) -> None:
        if self.row is not None:
            self._compared.pin(self.row)
            self.mark()
