"""What was said before, as a section of the panel that is made when it is first opened."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from ...render.text import plural
from ...session import Session
from ..look import button, close_all
from ..trouble import Trouble


class PastSection(w.VBox):  # type: ignore[misc]
    """A button, and behind it the history viewer."""

    def __init__(self, session: Session, trouble: Trouble) -> None:
        self._session = session
        self._viewer: Any = None
        self._turns, self._open = 0, False
        self._button = button("Show history")
        self._button.on_click(trouble.guarded(self._toggle))
        super().__init__([self._button])
        self.add_class("chatglm-column")
        self.add_class("chatglm-past")

    def count(self, turns: int) -> None:
        """Say how many turns the conversation has."""
        self._turns = turns
        self._name()

    def close(self) -> None:
        """Close the viewer too."""
        if self._viewer is not None:
            close_all(self._viewer)
        super().close()

    def _toggle(self, clicked: Any) -> None:
        if self._viewer is None:
            from ..viewer.box import HistoryViewer

            self._viewer = HistoryViewer(self._session)
        self._open = not self._open
        self.children = (self._button, self._viewer) if self._open else (self._button,)
        self._name()

    def _name(self) -> None:
        verb = "Hide" if self._open else "Show"
        self._button.description = f"{verb} history ({plural(self._turns, 'turn')})"
