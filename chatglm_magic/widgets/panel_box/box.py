"""The panel: a conversation with a box to write in, and at its right the settings it is asked with."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import ipywidgets as w

from ...render.outer import html_output
from ...session import Session
from ...store.export import turns_markdown
from .. import look, still
from ..debounce import Sleep
from ..messages import Notice
from ..trouble import ErrorReporter
from ..words import reword_for_widgets
from . import code
from .connection import Connection
from .settings import SettingsBinding
from .talk import PanelConversation

TEXT = "chatglm panel: run %chatglm_panel in a notebook to use it."
MENU = [["magic", "Copy as magic"], ["python", "Copy as Python"], ["script", "Copy as a script"]]
FORMS = {"magic": code.as_magic, "python": code.as_python, "script": code.as_script}
EMPTY = "Ask something. Settings apply to the next prompt."

CSS = """
.chatglm-panel{gap:10px}
"""


class Panel(w.VBox):  # type: ignore[misc]
    """A panel over a session; several may show the same one, beside cells that ask.

    Prompts run on the package's loop thread, so that the kernel stays free; callbacks return at once and stand
    being called in whichever thread the kernel chooses.

    ``transcript`` is what shows the conversation, and ``sidebar`` the settings; their traits and methods are what
    a test may look at.

    :param sleep: waits until a slider has settled; it is for tests, which decide when that is.
    :param plain: shows plain widgets, as where anywidget is missing.
    """

    def __init__(self, session: Session, *, sleep: Sleep = asyncio.sleep, plain: bool = False) -> None:
        self._session, self._news = session, list[str]()
        self.transcript, self.sidebar = _parts(plain=plain)
        reporter = self._reporter = ErrorReporter(session, self)
        self.conversation = PanelConversation(session, self.transcript, reporter, sleep=sleep)
        self.settings = SettingsBinding(session, self.sidebar, reporter, self.conversation.on_number_change)
        self.connection = Connection(session, self.sidebar, reporter, self._probed)
        self._viewer: Any = None
        self.transcript.on_action(reporter.guard(self._act))
        self.sidebar.on_action(reporter.guard(self._set))
        self._turns_changed = reporter.guard(self._show_turns)
        self._forget = session.on_change(self._turns_changed)
        session.settings.observe(self._turns_changed, names="with_history")
        self.conversation.render()
        grid = look.with_class(w.Box([self.transcript, self.sidebar]), "chatglm-grid")
        frame = look.with_class(w.Box([grid]), "chatglm-frame")
        self._always = (look.style_sheet(still.CSS + CSS, "chatglm-panel"), frame)
        super().__init__(self._always)
        self.add_class("chatglm-box")
        self.add_class("chatglm-panel")

    def close(self) -> None:
        """Stop the answer under way and stop following the session."""
        self.conversation.stop()
        self._forget()
        with suppress(ValueError):  # closed already
            self._session.settings.unobserve(self._turns_changed, names="with_history")
        self.connection.forget()
        self.settings.forget()
        for child in self.children:
            look.close_all(child)
        if self._viewer is not None:
            look.close_all(self._viewer)
        super().close()

    def show_error(self, text: str, details: str) -> None:
        """Show an error that is about no message and no field."""
        self.transcript.show_notice(Notice(text, "failed", details))

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Stand for the panel where widgets can't be shown, with a text that never varies."""
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **html_output(TEXT, f"<p>{TEXT}</p>")}

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Show the panel, and beneath it an output that will keep its conversation."""
        self.conversation.fallback.publish_below(self)

    def _act(self, action: str, id: str, values: dict[str, Any]) -> None:
        if not self.conversation.handle_action(action, id, values) and action in FORMS:
            self._copy(action, str(values.get("text", "")))

    def _set(self, action: str, id: str, values: dict[str, Any]) -> None:
        if action == "set":
            self.settings.set(id, values.get("value"))
            if id == "api_key":
                self.connection.probe()
        elif action == "reset":
            self.settings.reset(id)
        elif action == "check":
            self.connection.probe()
        elif action == "new":
            self.conversation.start_new()
        elif action == "history":
            self._toggle_history()
        elif action == "defaults":
            self.settings.reset_all()
        elif action == "conversation":
            self._copy_conversation()

    def _copy(self, form: str, text: str) -> None:
        """Copy code that asks what stands in the box, or else the conversation's last prompt again."""
        turns = [turn for turn in self._session.turns if turn.kind == "chat" and turn.status != "superseded"]
        if not text.strip() and not turns:
            self.transcript.show_notice(Notice("Type a prompt first: the code asks it."))
            return
        blank = not text.strip()
        state = code.state(self._session, turns[-1].prompt if blank else text, again=blank)
        self.transcript.copy(FORMS[form](state))

    def _copy_conversation(self) -> None:
        """Copy what was said as Markdown: that of an export to ``.md``."""
        turns = self.conversation.turns
        if turns:
            self.transcript.copy("".join(turns_markdown(turns)))
        else:
            self.transcript.show_notice(Notice("Ask something first: then the conversation can be copied."))

    def _toggle_history(self) -> None:
        if self._viewer is None:
            from ..viewer.box import HistoryViewer

            self._viewer = HistoryViewer(self._session)
        self.sidebar.viewing = not self.sidebar.viewing
        kept = self._always
        self.children = (*kept, self._viewer) if self.sidebar.viewing else kept

    def _probed(self, context: int | None) -> None:
        self.settings.allow(context)
        self.transcript.room = context or 0
        self._show_turns()

    def _show_turns(self, *event: Any) -> None:
        """Bring the conversation up to the session, and pass on what the store reports."""
        self.conversation.render()
        self.sidebar.context = self._session.turns_in_context
        if news := self._session.store.take_notices():
            self._news = [*self._news, *(reword_for_widgets(line) for line in news)][-3:]
            self.transcript.show_notice(Notice(" ".join(self._news)))


def _parts(*, plain: bool) -> tuple[Any, Any]:
    """Return a transcript and a side bar; plain ones where anywidget is missing."""
    if not plain:
        try:
            from ..transcript import Transcript
            from .sidebar import Sidebar
        except ImportError as error:
            if error.name != "anywidget":
                raise
        else:
            return Transcript(composer=True, menu=MENU, empty=EMPTY), Sidebar()
    from .plain import PlainSidebar, PlainTranscript

    return PlainTranscript(), PlainSidebar()
