"""Where questions go: endpoint, model and dialect, and whether anything answers there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ipywidgets as w

from ...render.answers import escape
from ...session import Session
from ..look import ERROR, GOOD, UNSURE, Html, above, button
from ..trouble import Trouble
from .handle import Field, or_empty, or_none

if TYPE_CHECKING:
    from ...session import Finding

DIALECTS = [("Auto (from URL)", ""), ("ChatGLM (POST /)", "chatglm"), ("OpenAI (/v1)", "openai")]

CSS = """
.chatglm-box .chatglm-connection{display:flex;flex-flow:row wrap;align-items:flex-end;gap:8px 10px;
 overflow:visible}
.chatglm-box .chatglm-connection>*{margin:0}
.chatglm-box .chatglm-endpoint{flex:3 1 220px}
.chatglm-box .chatglm-model{flex:2 1 150px}
.chatglm-box .chatglm-dialect{flex:1 1 120px}
.chatglm-box .chatglm-state{flex:1 1 100%}
"""


class Connection(w.Box):  # type: ignore[misc]
    """Endpoint, model and dialect; beneath them a dot and words say what a look at the endpoint found."""

    def __init__(self, session: Session, trouble: Trouble, looked: Callable[[], None]) -> None:
        """``looked`` is called after each look, on the package's loop thread."""
        self._session, self._trouble, self._looked = session, trouble, looked
        self._lock = threading.Lock()
        self._number = 0
        self.endpoint = above(w.Text(description="Endpoint", continuous_update=False))
        self.model = above(
            w.Combobox(description="Model", placeholder="the server's own", continuous_update=False)
        )
        self.dialect = above(w.Dropdown(description="Dialect", options=DIALECTS))
        self.check = button("Check", tooltip="Look at the endpoint once more")
        self._state = Html()
        parts = {"endpoint": self.endpoint, "model": self.model, "dialect": self.dialect, "state": self._state}
        for name, widget in parts.items():
            widget.add_class(f"chatglm-{name}")
        super().__init__([self.endpoint, self.model, self.dialect, self.check, self._state])
        self.add_class("chatglm-connection")
        self._handles = [
            Field(session, "endpoint_url", trouble, self.endpoint, read=str.strip),
            Field(session, "model", trouble, self.model, read=_named, write=or_empty),
            Field(session, "dialect", trouble, self.dialect, read=or_none, write=or_empty),
        ]
        self._look_again = trouble.guarded(self.look)
        self.check.on_click(self._look_again)
        session.settings.observe(self._look_again, names=["endpoint_url", "dialect"])
        self.look()

    def forget(self) -> None:
        """Stop following the settings."""
        with self._lock:
            self._number += 1
        for handle in self._handles:
            handle.forget()
        with suppress(ValueError):
            self._session.settings.unobserve(self._look_again, names=["endpoint_url", "dialect"])

    def look(self, *event: Any) -> None:
        """Look at the endpoint; what is found shows when it has been found, unless another look has begun."""
        with self._lock:
            self._number += 1
            number = self._number
        self._tell(UNSURE, "○", f"Looking at {self._session.settings.endpoint_url} …")
        self._session.submit(self._find(number))

    async def _find(self, number: int) -> None:
        try:
            finding = await asyncio.to_thread(self._session.probe)
            if number == self._number:
                self._looked()
                self._show(finding)
        except Exception as error:  # noqa: BLE001 - it is told
            if number == self._number:
                self._trouble.tell(error)
                self._tell(ERROR, "●", "Couldn't check the endpoint.")

    def _show(self, finding: Finding) -> None:
        self.model.options = finding.models  # first: once the state is told, they can be chosen
        self._tell(GOOD if finding.fits else UNSURE if finding.answered else ERROR, "●", finding.text)

    def _tell(self, colour: str, dot: str, words: str) -> None:
        mark = f'<span aria-hidden="true" style="color:{colour}">{dot}</span>'
        self._state.value = (
            f'<div class="chatglm-small" role="status" aria-live="polite">{mark} {escape(words)}</div>'
        )


def _named(shown: str) -> str | None:
    return or_none(shown.strip())
