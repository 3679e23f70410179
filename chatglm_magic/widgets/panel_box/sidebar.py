"""The panel's head and its settings in a page; the page's part is ``sidebar.js``."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import anywidget
import traitlets as t

from .settings import SECTIONS

Action = Callable[[str, str, dict[str, Any]], None]


def _file(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


class Sidebar(anywidget.AnyWidget):
    """Shows settings and takes what a reader gives them.

    Its actions: ``set`` with the field as id and ``{"value": …}``; ``reset`` with the field; ``check``, ``new``,
    ``history``, ``conversation`` (copy it) and ``defaults`` (reset all but the server) without one. A key comes as
    a ``set`` of ``api_key``, and no trait ever holds it.
    """

    _esm = _file("sidebar.js")
    _css = _file("sidebar.css")

    sections: Any = t.List(SECTIONS).tag(sync=True)
    values: Any = t.Dict().tag(sync=True)
    errors: Any = t.Dict().tag(sync=True)
    """By field: ``typed``, the text that was refused, and ``text``, why."""
    ranges: Any = t.Dict().tag(sync=True)
    options: Any = t.Dict().tag(sync=True)
    key = t.Bool(False).tag(sync=True)
    head: Any = t.Dict().tag(sync=True)
    """``tone`` (good, unsure, failed), ``name``, ``place`` and ``text`` of the connection."""
    context = t.Int(0).tag(sync=True)
    viewing = t.Bool(False).tag(sync=True)

    def __init__(self) -> None:
        self._acts: list[Action] = []
        super().__init__()
        self.on_msg(self._on_message)
        self.add_class("chatglm-sidebar")

    def on_action(self, act: Action) -> None:
        """Call ``act`` with whatever a reader does."""
        self._acts.append(act)

    def _on_message(self, widget: Any, content: Any, buffers: Any) -> None:
        if not isinstance(content, dict):
            return
        action, id, values = content.get("action"), content.get("id"), content.get("values")
        if isinstance(action, str) and isinstance(id, str) and isinstance(values, dict):
            for act in tuple(self._acts):
                act(action, id, values)
