"""A history viewer in this process, as a reader meets it, over turns made for the test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any
from uuid import UUID

import ipywidgets as w

from chatglm_magic import Session
from chatglm_magic.values import Turn
from chatglm_magic.widgets import history_viewer
from chatglm_magic.widgets.transcript import Message, Transcript
from chatglm_magic.widgets.trouble import StatusWidget
from chatglm_magic.widgets.viewer import HistoryViewer

from .panels import click, set_value, visible_text, wait_until, walk_widgets
from .servers import ScriptedServer
from .timers import HeldSleep

OTHER = "0123456789ab"
"""A conversation that is not the session's own."""


def make_turn(number: int, **values: Any) -> Turn:
    """Return a turn of the other conversation, with a prompt of its own."""
    made = {
        "prompt": f"question {number}",
        "answer": f"answer {number}",
        "model": "test-glm",
        "created": f"2026-01-{1 + number % 28:02}T12:00:00+00:00",
        "id": UUID(int=number + 1).hex,
        "conversation": OTHER,
    }
    return Turn(**{**made, **values})


class Viewer:
    """A viewer as a reader meets it: by the names of its buttons and boxes."""

    def __init__(self, session: Session, sleep: HeldSleep | None = None) -> None:
        self.session = session
        self.box = history_viewer(session) if sleep is None else HistoryViewer(session, sleep=sleep)

    def named(self, name: str) -> Any:
        """Return the button or box of a name that can be seen, the first one if there are several."""
        found = [widget for widget in self.seen() if getattr(widget, "description", None) == name]
        assert found, f"there is no {name!r} among {self.names}"
        return found[0]

    @property
    def names(self) -> list[str]:
        """The names of all buttons and boxes that can be seen."""
        found = (getattr(widget, "description", "") for widget in self.seen() if not isinstance(widget, w.HTML))
        return [name for name in found if name]

    def seen(self, widget: Any = None) -> Iterator[Any]:
        """Yield what is not hidden."""
        widget = widget or self.box
        if widget.layout.display != "none":
            yield widget
            for child in getattr(widget, "children", ()):
                yield from self.seen(child)

    def act(self, action: str, prompt: str | None = None, **values: Any) -> None:
        """Press what a message offers: of the turn with a prompt, the last one, or else of the opened turn."""
        shown = self.box.reader.transcript
        name = f"q{self.box.reader.turn}"
        if prompt is not None:
            name = [one.id for one in shown.all_messages if one.role == "user" and one.source == prompt][-1]
        message = name if action in ("edit", "select") else f"a{name[1:]}"
        self.press(message, action, **values)

    def press(self, message: str, action: str, **values: Any) -> None:
        """Press what the message of an id offers, as the page tells the kernel."""
        content = {"action": action, "id": message, "values": values}
        data = {"method": "custom", "content": content}
        self.box.reader.transcript._handle_msg({"content": {"data": data}, "buffers": []})

    @property
    def prompts(self) -> list[str]:
        """The prompts of the transcript."""
        return [message.source for message in self.box.reader.transcript.all_messages if message.role == "user"]

    def click(self, name: str) -> None:
        """Press a button."""
        button = self.named(name)
        assert not button.disabled, f"{name!r} can't be pressed"
        click(button)

    def type(self, name: str, value: Any) -> None:
        """Type or choose a value."""
        set_value(self.named(name), value)

    def find(self, text: str, count: str) -> None:
        """Type a search and wait for what the list says of it."""
        self.type("Search", text)
        wait_until(lambda: count in self.count, f"{count!r} in {self.count!r}")

    @property
    def count(self) -> str:
        """What stands above the list: how much there is of what."""
        return visible_text(self.box.listing.count)

    @property
    def text(self) -> str:
        """All that is written, apart from the names of buttons."""
        parts: list[str] = []
        for widget in self.seen():
            if isinstance(widget, w.HTML | w.HTMLMath):
                parts.append(visible_text(widget))
            elif isinstance(widget, Transcript):
                parts += [part for message in widget.all_messages for part in read_message(message)]
        return " ".join(part for part in parts if part)

    @property
    def lines(self) -> list[str]:
        """The prompts, or titles, of the list."""
        return [line.button.description for line in self.list_lines]

    @property
    def list_lines(self) -> tuple[Any, ...]:
        """The lines of the list."""
        lines: tuple[Any, ...] = self.box.listing.lines.children
        return lines

    def open(self, prompt: str) -> None:
        """Open the first line that begins with a prompt."""
        click(next(line.button for line in self.list_lines if line.button.description == prompt))

    def says(self, text: str, seconds: float = 10.0) -> None:
        """Wait until something is written."""
        wait_until(lambda: text in self.text, f"{text!r}; it says {self.text[:400]!r}", seconds)

    def told(self, text: str, seconds: float = 10.0) -> None:
        """Wait until a status line says something, which a turn that is shown may say too."""
        lines = [widget for widget in self.widgets() if isinstance(widget, StatusWidget)]
        wait_until(lambda: any(text in visible_text(line) for line in lines), f"{text!r}", seconds)

    def settled(self) -> None:
        """Wait until no question is under way."""
        wait_until(lambda: "Stop" not in self.names, "the end of the answer")

    def widgets(self) -> list[Any]:
        """Return every widget, hidden ones too."""
        return list(walk_widgets(self.box))


def read_message(message: Message) -> Iterator[str]:
    """Yield what a reader sees of a message."""
    yield message.label
    yield from (" ".join(unescape(re.sub(r"<[^>]+>", " ", block)).split()) for block in message.blocks)
    yield message.notice.text if message.notice else ""
    yield message.meta
    yield from (f"{name} {value}" for name, value in message.facts)


@contextmanager
def open_viewer(
    server: ScriptedServer | None = None,
    *turns: Turn,
    session: Session | None = None,
    sleep: HeldSleep | None = None,
    show: str = "all turns",
) -> Iterator[Viewer]:
    """Yield a viewer over a session, whose store has turns.

    :param show: what the list is to show; it begins with the conversations.
    :param sleep: how the viewer waits until its next look into the store.
    """
    session = session or Session()
    if server is not None:
        session.settings.endpoint_url = f"{server.url}v1"
    if turns:
        session.store.add([(made, position) for position, made in enumerate(turns)])
    shown = Viewer(session, sleep)
    if show != "all conversations":
        shown.type("Show", show)
    try:
        yield shown
    finally:
        shown.box.close()
        session.close()
