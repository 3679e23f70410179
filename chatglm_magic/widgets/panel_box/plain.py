"""The panel without anywidget: the same conversation and settings in plain ipywidgets."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets as w
import traitlets as t

from ..look import Html, Typeset, button, column, label_above, row, small_html, with_class
from ..messages import ActionListener, Message, MessageNotice
from .code import CODE_MENU
from .settings import SECTIONS

MAX_MESSAGES = 6
"""Messages that are displayed; each change sends all of them again."""


class _ActionSource(w.VBox):  # type: ignore[misc]
    """Notifies listeners of a user's actions."""

    def __init__(self, children: Sequence[Any]) -> None:
        self._listeners: list[ActionListener] = []
        super().__init__(children)

    def on_action(self, listener: ActionListener) -> None:
        """Call ``listener`` with every action of a user."""
        self._listeners.append(listener)

    def _notify(self, action: str, id: str = "", **values: Any) -> None:
        for listener in tuple(self._listeners):
            listener(action, id, values)


class PlainTranscript(_ActionSource):
    """The end of a conversation as HTML, a prompt box and buttons; the interface is that of ``Transcript``."""

    busy, live, room = t.Bool(False), t.Bool(False), t.Int(0)
    draft, announced = t.Unicode(""), t.Unicode("")
    notice: Any = t.Dict()

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._messages: dict[str, Message] = {}
        self._messages_html, self._notice_line = Typeset(), Html()
        self.box = label_above(w.Textarea(description="Prompt", rows=3, continuous_update=False))
        self.send_button = button("Send", primary=True)
        self.stop_button, self.again_button = button("Stop", disabled=True), button("Again")
        self.live_box = w.Checkbox(description="Live", indent=False)
        self.code = w.Textarea(description="Code", rows=6, layout=w.Layout(display="none"))
        copies = {button(label): action for action, label in CODE_MENU}
        bar = row(self.send_button, self.stop_button, self.again_button, self.live_box, *copies)
        super().__init__([column(self.box, bar, self._notice_line, label_above(self.code), self._messages_html)])
        self.send_button.on_click(lambda clicked: self._notify("send", text=self.box.value))
        self.stop_button.on_click(lambda clicked: self._notify("stop"))
        self.again_button.on_click(lambda clicked: self._notify("again"))
        for copy_button, action in copies.items():
            copy_button.on_click(lambda clicked, action=action: self._notify(action, text=self.box.value))
        self.live_box.observe(self._on_live, names="value")
        self.box.observe(lambda change: self.set_trait("draft", change["new"]), names="value")
        self.observe(lambda change: self._update_controls(), names=["busy", "notice", "draft", "live"])
        self.add_class("chatglm-transcript-plain")

    def __contains__(self, id: object) -> bool:
        return id in self._messages

    @property
    def all_messages(self) -> tuple[Message, ...]:
        """All messages, in order."""
        return tuple(self._messages.values())

    def show(self, messages: Sequence[Message], *, reveal: str = "") -> None:
        """Show exactly these messages."""
        with self._lock:
            self._messages = {message.id: message for message in messages}
            self._draw()

    def put(self, message: Message) -> int:
        """Replace the message with the same id, or append it; return the number of characters sent to the page."""
        with self._lock:
            self._messages[message.id] = message
            return self._draw()

    def show_notice(self, notice: MessageNotice | None) -> None:
        """Show a notice below the prompt box; None removes it."""
        self.notice = {} if notice is None else {"text": notice.text, "tone": notice.tone}

    def accept(self, text: str, *, keep: bool = False) -> None:
        """Clear the prompt box, unless ``keep`` is set."""
        if not keep and self.box.value == text:
            self.box.value = ""

    def refuse(self, notice: MessageNotice | None = None) -> None:
        """Show why a prompt was refused."""
        if notice is not None:
            self.show_notice(notice)

    def restore(self, text: str) -> None:
        """Put a prompt that couldn't be sent back into the box, if that is empty."""
        self.box.value = self.box.value or text

    def copy(self, text: str) -> None:
        """Display a text to be copied manually."""
        self.code.value, self.code.layout.display = text, None

    def toast(self, text: str) -> None:
        """Show a text below the prompt box."""
        self.show_notice(MessageNotice(text))

    def _on_live(self, change: Any) -> None:
        if change["new"] != self.live:
            self._notify("live", on=change["new"], text=self.box.value)

    def _update_controls(self) -> None:
        self.send_button.disabled = self.again_button.disabled = self.busy
        self.stop_button.disabled = not self.busy
        self.live_box.value = self.live
        if self.draft != self.box.value:
            self.box.value = self.draft
        failed = ' role="alert" class="chatglm-failed"' if self.notice.get("tone") == "failed" else ""
        text = self.notice.get("text", "")
        self._notice_line.value = f"<div{failed}>{escape(text)}</div>" if text else ""

    def _draw(self) -> int:
        parts = []
        for message in self.all_messages[-MAX_MESSAGES:]:
            head = f'<div class="chatglm-heading">{escape(message.label)}</div>' if message.label else ""
            notice = f"<div>{escape(message.notice.text)}</div>" if message.notice else ""
            parts.append(
                f"{head}{''.join(message.blocks)}{notice}{small_html(message.meta) if message.meta else ''}"
            )
        self._messages_html.value = "".join(parts)
        return len(self._messages_html.value)


class PlainSidebar(_ActionSource):
    """Settings as input boxes; an empty one is the server's default. The traits are those of ``Sidebar``."""

    values: Any = t.Dict()
    errors: Any = t.Dict()
    ranges: Any = t.Dict()
    options: Any = t.Dict()
    head: Any = t.Dict()
    key, viewing = t.Bool(False), t.Bool(False)
    context = t.Int(0)

    def __init__(self) -> None:
        self._state, self.notes, self.boxes = Html(), Html(), dict[str, Any]()
        self._new, self._history, self._check = button("New chat"), button("History"), button("Check")
        for each, action in ((self._new, "new"), (self._history, "history"), (self._check, "check")):
            each.on_click(lambda clicked, action=action: self._notify(action))
        children = [self._state, row(self._new, self._history, self._check), self.notes]
        for section in SECTIONS:
            for field in section["fields"]:
                children.append(self._make_box(field))
        super().__init__([with_class(w.Box(children), "chatglm-column")])
        names = ["values", "errors", "options", "head", "context", "key"]
        self.observe(lambda change: self._draw(), names=names)

    def _make_box(self, field: dict[str, Any]) -> Any:
        kind, label = field["kind"], field["label"]
        hint = "server default" if kind == "number" else field["hint"]
        if kind == "check":
            box = w.Checkbox(description=label, indent=False)
        elif kind == "choice":
            box = label_above(w.Dropdown(description=label, options=[("", "")]))
        elif kind == "lines":
            box = label_above(w.Textarea(description=label, placeholder=hint, rows=2, continuous_update=False))
        elif kind == "secret":
            box = label_above(w.Text(description=label, disabled=True, placeholder="needs anywidget"))
        else:
            box = label_above(w.Text(description=label, placeholder=hint, continuous_update=False))
        self.boxes[field["name"]] = box
        if kind != "secret":
            box.observe(lambda change: self._on_input(field["name"], change["new"]), names="value")
        return box

    def _on_input(self, name: str, value: Any) -> None:
        if value != self._box_value(name):
            self._notify("set", name, value=value)
            self._draw()

    def _box_value(self, name: str) -> Any:
        value = self.errors[name]["typed"] if name in self.errors else self.values.get(name)
        if isinstance(value, bool):
            return value
        return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

    def _draw(self) -> None:
        for name, box in self.boxes.items():
            if isinstance(box, w.Dropdown):
                options = [(label, key) for key, label in self.options.get(name, [])]
                if options and list(box.options) != options:
                    box.options = options
            if name in self.values and box.value != self._box_value(name):
                box.value = self._box_value(name)
        head = self.head
        self._state.value = small_html(f"{head.get('name', '')} · {head.get('place', '')}: {head.get('text', '')}")
        texts = "".join(f"<div>{escape(error['text'])}</div>" for error in self.errors.values())
        self.notes.value = f'<div role="alert" class="chatglm-failed">{texts}</div>' if texts else ""
