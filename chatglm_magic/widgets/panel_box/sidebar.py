"""The panel's header and settings in a page; the page's part is ``sidebar.js``."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import anywidget
import traitlets as t

from ..messages import ActionListener
from .settings import SECTIONS


class Sidebar(anywidget.AnyWidget):
    """Displays settings, and notifies listeners of a user's input.

    Its actions are ``set``, with the field as id and ``{"value": …}``; ``reset``, with the field as id; and,
    without id, ``check``, ``new``, ``history``, ``conversation`` (copy it) and ``defaults`` (reset all but the
    server). A key is sent as a ``set`` of ``api_key``; no trait ever contains it.
    """

    _esm = (files(__package__) / "sidebar.js").read_text(encoding="utf-8")
    _css = (files(__package__) / "sidebar.css").read_text(encoding="utf-8")

    sections: Any = t.List(SECTIONS).tag(sync=True)
    values: Any = t.Dict().tag(sync=True)
    errors: Any = t.Dict().tag(sync=True)
    """By field: ``typed``, the rejected input, and ``text``, the reason."""
    ranges: Any = t.Dict().tag(sync=True)
    options: Any = t.Dict().tag(sync=True)
    key = t.Bool(False).tag(sync=True)
    head: Any = t.Dict().tag(sync=True)
    """The state of the connection: ``tone`` (good, unsure, failed), ``name``, ``place`` and ``text``."""
    context = t.Int(0).tag(sync=True)
    viewing = t.Bool(False).tag(sync=True)

    def __init__(self) -> None:
        self._listeners: list[ActionListener] = []
        super().__init__()
        self.on_msg(self._on_message)
        self.add_class("chatglm-sidebar")

    def on_action(self, listener: ActionListener) -> None:
        """Call ``listener`` with every action of a user."""
        self._listeners.append(listener)

    def _on_message(self, widget: Any, content: Any, buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        action, id, values = content.get("action"), content.get("id"), content.get("values")
        if isinstance(action, str) and isinstance(id, str) and isinstance(values, dict):
            for listener in tuple(self._listeners):
                listener(action, id, values)
