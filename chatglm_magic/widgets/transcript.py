"""A conversation in a page: messages as they are and as they grow, and under them, if wanted, a box to write in.

The page's part is ``transcript.js``. It shows HTML that ``render/`` has made, and makes none of text.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from typing import Any

import anywidget
import traitlets as t

from .messages import Message as Message
from .messages import Notice as Notice

Action = Callable[[str, str, dict[str, Any]], None]
"""Takes what a reader does: the action, the message's id (empty for the composer's), and further values."""


def _file(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


class Transcript(anywidget.AnyWidget):
    """An ordered list of messages; read-only unless it has a composer.

    Every method may be called in any thread. What goes to the page is what has changed: of a text that grows, its
    end. The view follows the end unless its reader has scrolled up.

    .. code-block:: python

        shown = Transcript()
        shown.on_action(lambda action, id, values: print(action, id, values))
        shown.show([
            Message("1", "user", "You", plain_blocks("Hi"), "Hi", actions=("edit", "copy")),
            Message("2", label="GLM", blocks=Blocks().update("**Hello**"), source="**Hello**", actions=("copy",)),
        ])
        shown.put(replace(shown["2"], meta="2 tokens"))

    A composer sends these actions, with an empty id: ``send`` with ``{"text": …}``, which is to be answered with
    :meth:`accept` or :meth:`refuse`; ``stop``; ``live`` with ``{"on": …}``; and those of ``menu``, with the text.
    """

    _esm = _file("transcript.js")
    _css = _file("transcript.css")

    messages: Any = t.List().tag(sync=True, to_json=lambda value, widget: widget._page_state())
    """What a page that opens asks for. Read :attr:`shown`, and use the methods to change them."""
    revision = t.Int(0).tag(sync=True, to_json=lambda value, widget: widget._number)
    composer = t.Bool(False).tag(sync=True)
    empty = t.Unicode("").tag(sync=True)
    """What stands there while there is no message."""
    draft = t.Unicode("").tag(sync=True)
    """The text in the box, a moment after it was typed."""
    busy = t.Bool(False).tag(sync=True)
    """Whether the box's button is *Stop*."""
    live = t.Bool(False).tag(sync=True)
    notice = t.Dict().tag(sync=True)
    """A line under the box, as a notice's values."""
    announced = t.Unicode("").tag(sync=True)
    """What a screen reader says: the beginning and the end of an answer."""
    room = t.Int(0).tag(sync=True)
    """How many tokens the model's context holds; 0 where it isn't known."""
    menu = t.List(t.List(t.Unicode())).tag(sync=True)
    """The entries of *Code*: (action, label)."""

    def __init__(self, **traits: Any) -> None:
        self._lock = threading.RLock()
        self._messages: dict[str, Message] = {}
        self._number = 0
        self._acts: list[Action] = []
        super().__init__(**traits)
        self.on_msg(self._on_message)
        self.add_class("chatglm-transcript")

    def __getitem__(self, id: str) -> Message:
        """Return a message by its id.

        :raises KeyError: if there is none.
        """
        return self._messages[id]

    def __contains__(self, id: object) -> bool:
        return id in self._messages

    @property
    def shown(self) -> tuple[Message, ...]:
        """All messages, in their order."""
        with self._lock:
            return tuple(self._messages.values())

    def on_action(self, act: Action) -> None:
        """Call ``act`` with whatever a reader does."""
        self._acts.append(act)

    def show(self, messages: Sequence[Message], *, reveal: str = "") -> None:
        """Show these messages and no others; those that are there already stay as they are.

        :param reveal: the id of the message to scroll to.
        """
        with self._lock:
            order = [message.id for message in messages]
            kept = [id for id in self._messages if id in order]
            changes: list[list[Any]] = []
            if kept != order[: len(kept)]:
                self._messages = {message.id: message for message in messages}
                changes = [["all", [_values(message) for message in messages]]]
            else:
                changes = [["cut", id] for id in self._messages if id not in order]
                self._messages = {id: self._messages[id] for id in kept}
                changes += [change for message in messages for change in self._changes(message)]
            if reveal:
                changes.append(["reveal", reveal])
            self._send_changes(changes)

    def put(self, message: Message) -> int:
        """Show a message, in the place of the one with the same id or else at the end.

        :returns: the size of what was sent to the page, in characters.
        """
        with self._lock:
            return self._send_changes(self._changes(message))

    def remove(self, *ids: str) -> None:
        """Take messages out."""
        with self._lock:
            gone = [id for id in ids if self._messages.pop(id, None) is not None]
            self._send_changes([["cut", id] for id in gone])

    def copy(self, text: str) -> None:
        """Put a text on the page's clipboard, or where that isn't allowed show it to be copied by hand."""
        self.send({"do": "copy", "text": text})

    def toast(self, text: str) -> None:
        """Say something for a moment."""
        self.send({"do": "toast", "text": text})

    def accept(self, text: str, *, keep: bool = False) -> None:
        """Tell the box that what it sent is taken; it is emptied, unless ``keep``."""
        if not keep:
            self.draft = ""
        self.send({"do": "accept", "text": text, "keep": keep})

    def refuse(self, notice: Notice | None = None) -> None:
        """Tell the box that what it sent isn't taken: the text stays, and ``notice`` says why."""
        if notice is not None:
            self.say(notice)
        self.send({"do": "refuse"})

    def restore(self, text: str) -> None:
        """Put a text that couldn't be asked back into the box, if it is empty."""
        if not self.draft:
            self.draft = text
        self.send({"do": "restore", "text": text})

    def say(self, notice: Notice | None) -> None:
        """Show a line under the box, or none."""
        self.notice = asdict(notice) if notice is not None else {}

    def _changes(self, message: Message) -> list[list[Any]]:
        """Take a message over; return what the page has to change."""
        message = replace(message, blocks=tuple(message.blocks))
        old = self._messages.get(message.id)
        self._messages[message.id] = message
        new = _values(message)
        if old is None:
            return [["put", new]]
        before = _values(old)
        fields = {name: value for name, value in new.items() if name != "blocks" and value != before[name]}
        changes: list[list[Any]] = [["set", message.id, fields]] if fields else []
        return changes + _grown(message.id, old.blocks, message.blocks)

    def _send_changes(self, changes: list[list[Any]]) -> int:
        """Send what has changed, with a number by which the page notices if it has missed something."""
        if not changes:
            return 0
        self._number += 1
        self.send({"do": "change", "number": self._number, "changes": changes})
        return sum(len(part) for change in changes for part in _texts(change))

    def _page_state(self) -> list[dict[str, Any]]:
        with self._lock:
            return [_values(message) for message in self._messages.values()]

    def _on_message(self, widget: Any, content: Any, buffers: Any) -> None:
        """Take what the page sends; nothing of it is trusted."""
        if not isinstance(content, dict):
            return
        action, id, values = content.get("action"), content.get("id"), content.get("values")
        if not (isinstance(action, str) and isinstance(id, str) and isinstance(values, dict)):
            return
        if action == "sync":
            with self._lock:
                if values.get("number") != self._number:
                    self.send({"do": "all", "number": self._number, "messages": self._page_state()})
        elif action == "copy":
            message = self._messages.get(id)
            if message is not None:
                self.copy(message.source)
        else:
            for act in tuple(self._acts):
                act(action, id, values)


def _values(message: Message) -> dict[str, Any]:
    """Return a message as the page has it."""
    values = asdict(message)
    values["blocks"] = list(message.blocks)
    if message.role != "user":
        del values["source"]
    return values


def _grown(id: str, old: Sequence[str], new: Sequence[str]) -> list[list[Any]]:
    """Return how one list of blocks becomes another: which stay, what stays of the next, and what follows."""
    if old == new:
        return []
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    if same == len(new):
        return [["grow", id, same, 0, []]]
    first, begun = new[same], 0
    if same < len(old):
        begun = _common(old[same], first)
    places = len(first[:begun].encode("utf-16-le", "surrogatepass")) // 2  # a page counts in these
    return [["grow", id, same, places, [first[begun:], *new[same + 1 :]]]]


def _common(one: str, other: str) -> int:
    """Return with how many same characters two texts begin."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in _texts(part)]
    return [text for part in value for text in _texts(part)] if isinstance(value, list | tuple) else []
