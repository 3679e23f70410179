"""The panel: a conversation with a prompt box, and to its right the settings."""

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
from ..messages import MessageNotice
from ..trouble import ErrorReporter
from ..words import reword_for_widgets
from . import code
from .connection import ConnectionStatus
from .settings import SettingsBinding
from .talk import PanelConversation

FALLBACK_TEXT = "chatglm panel: run %chatglm_panel in a notebook to use it."
EMPTY_TEXT = "Ask something. Settings apply to the next prompt."

CSS = """
.chatglm-panel{gap:10px}
"""


class Panel(w.VBox):  # type: ignore[misc]
    """A panel for a session; several panels and cells may use the same session.

    Prompts run on the package's loop thread, so that the kernel stays free. Callbacks return at once and may run
    in any thread that the kernel chooses.

    ``transcript`` displays the conversation, and ``sidebar`` the settings. Tests use their traits and methods.

    :param sleep: waits until a slider has settled; tests replace it.
    :param plain: whether to use plain widgets even if anywidget is installed.
    """

    def __init__(self, session: Session, *, sleep: Sleep = asyncio.sleep, plain: bool = False) -> None:
        self._session, self._store_notices = session, list[str]()
        self.transcript, self.sidebar = _make_widgets(plain=plain)
        reporter = self._reporter = ErrorReporter(session, self)
        self.conversation = PanelConversation(session, self.transcript, reporter, sleep=sleep)
        self.settings = SettingsBinding(session, self.sidebar, reporter, self.conversation.on_number_change)
        self.connection = ConnectionStatus(session, self.sidebar, reporter, self._on_probe)
        self._viewer: Any = None
        self.transcript.on_action(reporter.guard(self._on_transcript_action))
        self.sidebar.on_action(reporter.guard(self._on_sidebar_action))
        self._on_turns_change = reporter.guard(self._show_turns)
        self._unsubscribe = session.on_change(self._on_turns_change)
        session.settings.observe(self._on_turns_change, names="with_history")
        self.conversation.render()
        grid = look.with_class(w.Box([self.transcript, self.sidebar]), "chatglm-grid")
        frame = look.with_class(w.Box([grid]), "chatglm-frame")
        self._fixed_children = (look.style_sheet(still.CSS + CSS, "chatglm-panel"), frame)
        super().__init__(self._fixed_children)
        self.add_class("chatglm-box")
        self.add_class("chatglm-panel")

    def close(self) -> None:
        """Stop the current answer, and stop observing the session."""
        self.conversation.stop()
        self._unsubscribe()
        with suppress(ValueError):  # already closed
            self._session.settings.unobserve(self._on_turns_change, names="with_history")
        self.connection.stop_observing()
        self.settings.stop_observing()
        for child in self.children:
            look.close_all(child)
        if self._viewer is not None:
            look.close_all(self._viewer)
        super().close()

    def show_error(self, text: str, details: str) -> None:
        """Display an error that concerns no particular message or field."""
        self.transcript.show_notice(MessageNotice(text, "failed", details))

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return the MIME bundle, with a constant text for front ends that can't display widgets."""
        return {
            **(super()._repr_mimebundle_(**kwargs) or {}),
            **html_output(FALLBACK_TEXT, f"<p>{FALLBACK_TEXT}</p>"),
        }

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Display the panel, and below it a static copy of its conversation."""
        self.conversation.fallback.publish_below(self)

    def _on_transcript_action(self, action: str, id: str, values: dict[str, Any]) -> None:
        if not self.conversation.handle_action(action, id, values) and action in code.CODE_FORMS:
            self._copy(action, str(values.get("text", "")))

    def _on_sidebar_action(self, action: str, id: str, values: dict[str, Any]) -> None:
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
        """Copy code for the prompt in the composer, or else for the last prompt of the conversation."""
        turns = [turn for turn in self._session.turns if turn.kind == "chat" and turn.status != "superseded"]
        if not text.strip() and not turns:
            self.transcript.show_notice(MessageNotice("Type a prompt first: the code sends it."))
            return
        blank = not text.strip()
        request = code.read_request(self._session, turns[-1].prompt if blank else text, repeated=blank)
        self.transcript.copy(code.CODE_FORMS[form](request))

    def _copy_conversation(self) -> None:
        """Copy the conversation as Markdown, the same as in an export to ``.md``."""
        turns = self.conversation.turns
        if turns:
            self.transcript.copy("".join(turns_markdown(turns)))
        else:
            self.transcript.show_notice(MessageNotice("Ask something first: then the conversation can be copied."))

    def _toggle_history(self) -> None:
        if self._viewer is None:
            from ..viewer.box import HistoryViewer

            self._viewer = HistoryViewer(self._session)
        self.sidebar.viewing = not self.sidebar.viewing
        viewer = (self._viewer,) if self.sidebar.viewing else ()
        self.children = (*self._fixed_children, *viewer)

    def _on_probe(self, context: int | None) -> None:
        self.settings.set_context_size(context)
        self.transcript.room = context or 0
        self._show_turns()

    def _show_turns(self, *event: Any) -> None:
        """Update the conversation from the session, and display notices of the store."""
        self.conversation.render()
        self.sidebar.context = self._session.turns_in_context
        if notices := self._session.store.take_notices():
            self._store_notices = [*self._store_notices, *map(reword_for_widgets, notices)][-3:]
            self.transcript.show_notice(MessageNotice(" ".join(self._store_notices)))


def _make_widgets(*, plain: bool) -> tuple[Any, Any]:
    """Return a transcript and a sidebar, plain ones if anywidget is missing."""
    if not plain:
        try:
            from ..transcript import Transcript
            from .sidebar import Sidebar
        except ImportError as error:
            if error.name != "anywidget":
                raise
        else:
            return Transcript(composer=True, menu=code.CODE_MENU, empty=EMPTY_TEXT), Sidebar()
    from .plain import PlainSidebar, PlainTranscript

    return PlainTranscript(), PlainSidebar()
