"""The panel: where questions go, with which parameters, the prompt, the answer, and what was said before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ...render.outer import output
from ...session import Session
from .. import look
from ..copying import Copier
from ..debounce import Sleep
from ..trouble import Status, Trouble
from . import code
from .connection import Connection
from .controls import STYLE, Controls, grid, sides
from .dialogue import Dialogue
from .fields import Fields
from .parameters import MoreSampling, parameter_rows
from .past import PastSection

TEXT = "chatglm panel: run %chatglm_panel in a notebook to use it."


class Panel(w.VBox):  # type: ignore[misc]
    """A panel over a session; several may show the same one, beside cells that ask.

    Questions run on the package's loop thread, so that the kernel stays free; callbacks return at once and
    stand being called in whichever thread the kernel chooses.

    :param sleep: waits until a slider has settled; it is for tests, which decide when that is.
    """

    def __init__(self, session: Session, *, sleep: Sleep = asyncio.sleep) -> None:
        self._session = session
        self.status, self._news, self._told = Status(), look.Html(), ""
        self._trouble = trouble = Trouble(session, self.status)
        self.controls, self._copier = Controls(), Copier()
        self.dialogue = Dialogue(session, self.status, trouble, self.controls, sleep=sleep)
        self.rows = parameter_rows("sampling", session, trouble, self.dialogue.moved)
        self.more = MoreSampling(session, trouble, self.dialogue.moved)
        self.fields, self.past = Fields(session, trouble), PastSection(session, trouble)
        self.connection = Connection(session, trouble, self._turns_changed)
        self._forget = session.on_change(trouble.guarded(self._turns_changed))
        self._listen()
        self.status.say("Ready.")
        super().__init__([look.style_sheet(STYLE), self.connection, self._body(), self.past])
        self.add_class("chatglm-box")
        self.add_class("chatglm-panel")

    def close(self) -> None:
        """Stop the answer under way and stop following the session."""
        self.dialogue.stop()
        self._forget()
        self.connection.forget()
        self.fields.forget()
        self.more.forget()
        for row in self.rows:
            row.forget()
        for child in self.children:
            look.close_all(child)
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Stand for the panel where widgets can't be shown, with a text that never varies."""
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **output(TEXT, f"<p>{TEXT}</p>")}

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Show the panel, and beneath it an output that will keep its last answer."""
        self.dialogue.still.publish_beneath(self)

    def _body(self) -> w.Box:
        fields, controls, dialogue = self.fields, self.controls, self.dialogue
        conversation = look.row(fields.with_history, fields.context)
        left = [grid(*self.rows, fields.thinking, fields.seed, fields.stop, conversation), self.more]
        right = [fields.system, controls.prompt, controls.bar(), self.status, self._news, self._copier]
        return sides(left, [*right, dialogue.answer, dialogue.lanes])

    def _listen(self) -> None:
        controls, dialogue, guarded = self.controls, self.dialogue, self._trouble.guarded
        controls.send.on_click(guarded(lambda clicked: dialogue.send()))
        controls.stop.on_click(guarded(lambda clicked: dialogue.stop()))
        controls.again.on_click(guarded(lambda clicked: dialogue.regenerate()))
        controls.live.observe(guarded(lambda change: dialogue.switch(live=change["new"])), names="value")
        controls.magic.on_click(guarded(lambda clicked: self._copy(code.as_magic, "Copied as magic")))
        controls.python.on_click(guarded(lambda clicked: self._copy(code.as_python, "Copied as Python")))
        self.fields.with_history.observe(guarded(lambda change: self._turns_changed()), names="value")

    def _copy(self, form: Callable[[code.State], str], title: str) -> None:
        prompt = self.controls.prompt.value
        if not prompt.strip():
            self.status.say("Type a prompt first: the code asks it.")
            return
        self._copier.show(form(code.state(self._session, prompt)), title)

    def _turns_changed(self) -> None:
        """Bring the counts up to the conversation, and pass on what the store has to tell."""
        self.fields.count(self._session.context)
        self.past.count(len(self._session.turns))
        if news := self._session.store.news():
            self._told = "\n".join(filter(None, [self._told, *news]))
            self._news.value = "".join(look.small(line) for line in self._told.splitlines()[-3:])
