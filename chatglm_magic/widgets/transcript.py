"""A conversation in a page: its messages, also while they stream, and optionally a composer, the prompt box.

The page's part is ``transcript.js``. It displays HTML from ``render/`` and never turns text into HTML.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.resources import files
from typing import Any

import anywidget
import traitlets as t

from .messages import ActionListener
from .messages import Message as Message
from .messages import MessageNotice as MessageNotice


class Transcript(anywidget.AnyWidget):
    """An ordered list of messages; read-only unless it has a composer.

    Every method may be called in any thread. Only changes are sent to the page; of a growing text, only its new
    end. The view follows the end unless the user has scrolled up.

    .. code-block:: python

        transcript = Transcript()
        transcript.on_action(lambda action, id, values: print(action, id, values))
        transcript.show([
            Message("1", "user", "You", plain_blocks("Hi"), "Hi", actions=("edit", "copy")),
            Message("2", label="GLM", blocks=Blocks().update("**Hello**"), source="**Hello**", actions=("copy",)),
        ])
        transcript.put(replace(transcript["2"], meta="2 tokens"))

    A composer sends these actions with an empty id: ``send`` with ``{"text": …}``, to which the listener responds
    with :meth:`accept` or :meth:`refuse`; ``stop``; ``live`` with ``{"on": …}``; those of ``menu``, with the text.
    """

    _esm = (files(__package__) / "transcript.js").read_text(encoding="utf-8")
    _css = (files(__package__) / "transcript.css").read_text(encoding="utf-8")

    messages: Any = t.List().tag(sync=True, to_json=lambda value, widget: widget._page_state())
    """The state for a page that opens. Read :attr:`all_messages` instead, and use the methods to change it."""
    revision = t.Int(0).tag(sync=True, to_json=lambda value, widget: widget._revision)
    composer = t.Bool(False).tag(sync=True)
    empty = t.Unicode("").tag(sync=True)
    """The text displayed while there is no message."""
    draft = t.Unicode("").tag(sync=True)
    """The text in the composer, a moment after it was typed."""
    busy = t.Bool(False).tag(sync=True)
    """Whether the composer's button is *Stop*."""
    live = t.Bool(False).tag(sync=True)
    notice = t.Dict().tag(sync=True)
    """The fields of the notice below the composer."""
    announced = t.Unicode("").tag(sync=True)
    """The text that a screen reader announces: the start and the end of an answer."""
    room = t.Int(0).tag(sync=True)
    """Size of the model's context in tokens; 0 if unknown."""
    menu = t.List(t.List(t.Unicode())).tag(sync=True)
    """The entries of the menu *Code*: action and label."""

    def __init__(self, **traits: Any) -> None:
        self._lock = threading.RLock()
        self._messages: dict[str, Message] = {}
        self._revision = 0
        self._listeners: list[ActionListener] = []
        super().__init__(**traits)
        self.on_msg(self._on_message)
        self.add_class("chatglm-transcript")

    def __getitem__(self, id: str) -> Message:
        """Return a message by its id.

        :raises KeyError: if there is no such message.
        """
        return self._messages[id]

    def __contains__(self, id: object) -> bool:
        return id in self._messages

    @property
    def all_messages(self) -> tuple[Message, ...]:
        """All messages, in order."""
        with self._lock:
            return tuple(self._messages.values())

    def on_action(self, listener: ActionListener) -> None:
        """Call ``listener`` with every action of a user."""
        self._listeners.append(listener)

    def show(self, messages: Sequence[Message], *, reveal: str = "") -> None:
        """Show exactly these messages; parts of the page that don't change stay as they are.

        :param reveal: the id of the message to scroll to.
        """
        with self._lock:
            order = [message.id for message in messages]
            staying = [id for id in self._messages if id in order]
            changes: list[list[Any]] = []
            if staying != order[: len(staying)]:
                self._messages = {message.id: message for message in messages}
                changes = [["all", [_page_values(message) for message in messages]]]
            else:
                changes = [["cut", id] for id in self._messages if id not in order]
                self._messages = {id: self._messages[id] for id in staying}
                changes += [change for message in messages for change in self._changes(message)]
            if reveal:
                changes.append(["reveal", reveal])
            self._send_changes(changes)

    def put(self, message: Message) -> int:
        """Replace the message with the same id, or append it.

        :returns: the number of characters sent to the page.
        """
        with self._lock:
            return self._send_changes(self._changes(message))

    def remove(self, *ids: str) -> None:
        """Remove messages."""
        with self._lock:
            removed = [id for id in ids if self._messages.pop(id, None) is not None]
            self._send_changes([["cut", id] for id in removed])

    def copy(self, text: str) -> None:
        """Copy a text to the page's clipboard; where that isn't allowed, display it to be copied manually."""
        self.send({"do": "copy", "text": text})

    def toast(self, text: str) -> None:
        """Display a text for a moment."""
        self.send({"do": "toast", "text": text})

    def accept(self, text: str, *, keep: bool = False) -> None:
        """Confirm a prompt that the composer sent, and clear it unless ``keep`` is set."""
        if not keep:
            self.draft = ""
        self.send({"do": "accept", "text": text, "keep": keep})

    def refuse(self, notice: MessageNotice | None = None) -> None:
        """Refuse a prompt that the composer sent: its text stays, and ``notice`` gives the reason."""
        if notice is not None:
            self.show_notice(notice)
        self.send({"do": "refuse"})

    def restore(self, text: str) -> None:
        """Put a prompt that couldn't be sent back into the composer, if that is empty."""
        if not self.draft:
            self.draft = text
        self.send({"do": "restore", "text": text})

    def show_notice(self, notice: MessageNotice | None) -> None:
        """Show a notice below the composer; None removes it."""
        self.notice = asdict(notice) if notice is not None else {}

    def _changes(self, message: Message) -> list[list[Any]]:
        """Store a message; return the changes that the page has to make."""
        message = replace(message, blocks=tuple(message.blocks))
        old = self._messages.get(message.id)
        self._messages[message.id] = message
        new = _page_values(message)
        if old is None:
            return [["put", new]]
        before = _page_values(old)
        fields = {name: value for name, value in new.items() if name != "blocks" and value != before[name]}
        changes: list[list[Any]] = [["set", message.id, fields]] if fields else []
        return changes + _block_changes(message.id, old.blocks, message.blocks)

    def _send_changes(self, changes: list[list[Any]]) -> int:
        """Send changes with a revision number, by which the page notices if it has missed any."""
        if not changes:
            return 0
        self._revision += 1
        self.send({"do": "change", "number": self._revision, "changes": changes})
        return sum(len(part) for change in changes for part in _all_texts(change))

    def _page_state(self) -> list[dict[str, Any]]:
        with self._lock:
            return [_page_values(message) for message in self._messages.values()]

    def _on_message(self, widget: Any, content: Any, buffers: Any) -> None:
        """Handle a message from the page, which isn't trusted."""
        if not isinstance(content, dict):
            return
        action, id, values = content.get("action"), content.get("id"), content.get("values")
        if not (isinstance(action, str) and isinstance(id, str) and isinstance(values, dict)):
            return
        if action == "sync":
            with self._lock:
                if values.get("number") != self._revision:
                    self.send({"do": "all", "number": self._revision, "messages": self._page_state()})
        elif action == "copy":
            message = self._messages.get(id)
            if message is not None:
                self.copy(message.source)
        else:
            for listener in tuple(self._listeners):
                listener(action, id, values)


def _page_values(message: Message) -> dict[str, Any]:
    """Return a message as it is sent to the page."""
    values = asdict(message)
    values["blocks"] = list(message.blocks)
    if message.role != "user":
        del values["source"]
    return values


def _block_changes(id: str, old: Sequence[str], new: Sequence[str]) -> list[list[Any]]:
    """Return the change between two lists of blocks: how many stay, how much of the next one, and the rest."""
    if old == new:
        return []
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    if same == len(new):
        return [["grow", id, same, 0, []]]
    first, length = new[same], 0
    if same < len(old):
        length = _common_prefix_length(old[same], first)
    units = len(first[:length].encode("utf-16-le", "surrogatepass")) // 2  # JavaScript counts UTF-16 code units
    return [["grow", id, same, units, [first[length:], *new[same + 1 :]]]]


def _common_prefix_length(one: str, other: str) -> int:
    """Return the length of the common prefix of two texts."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _all_texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in _all_texts(part)]
    return [text for part in value for text in _all_texts(part)] if isinstance(value, list | tuple) else []
