"""A panel in this process, driven by the messages that a page sends, beside a scripted server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

from chatglm_magic import Session
from chatglm_magic.widgets import panel
from chatglm_magic.widgets.messages import Message
from chatglm_magic.widgets.panel_box import Panel

from .servers import ScriptedServer
from .timers import HeldSleep
from .transcripts import action


@contextmanager
def open_panel(
    server: ScriptedServer | None = None,
    path: str = "v1",
    session: Session | None = None,
    sleep: HeldSleep | None = None,
) -> Iterator[Panel]:
    """Yield a panel over a session, a new one that asks a server unless one is given.

    :param sleep: how the panel waits until a slider has settled.
    """
    session = session or Session()
    if server is not None:
        session.settings.endpoint_url = server.url + path
    made = panel(session) if sleep is None else Panel(session, sleep=sleep)
    try:
        yield made
    finally:
        made.close()


def wait_until(true: Callable[[], object], what: str = "it", seconds: float = 10.0) -> None:
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.005)


def click(button: Any) -> None:
    """Click a button, as the page tells the kernel; a disabled one can't be clicked."""
    if not button.disabled:
        button._handle_msg(_message({"method": "custom", "content": {"event": "click"}}))


def send_to(widget: Any, **content: Any) -> None:
    """Tell the kernel what a page's module tells it."""
    widget._handle_msg(_message({"method": "custom", "content": content}))


def set_traits(widget: Any, **state: Any) -> None:
    """Change a widget's traits as a page's module does."""
    widget._handle_msg(_message({"method": "update", "state": state, "buffer_paths": []}))


def set_value(widget: Any, value: Any) -> None:
    """Type or drag a value, as the page tells the kernel."""
    state = {"index": [*widget._options_values].index(value)} if hasattr(widget, "index") else {"value": value}
    widget._handle_msg(_message({"method": "update", "state": state, "buffer_paths": []}))


def _message(data: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"data": data}, "buffers": []}


def press(shown: Panel, name: str, id: str = "", **values: Any) -> None:
    """Do what the page does when a reader of the conversation presses something."""
    shown.transcript._handle_msg(_message(action(name, id, **values)))


def choose(shown: Panel, name: str, value: Any) -> None:
    """Give a setting a value, as the page tells the kernel; None or an empty text is the server's default."""
    shown.sidebar._handle_msg(_message(action("set", name, value=value)))


def press_beside(shown: Panel, name: str, id: str = "") -> None:
    """Do what the page does when a reader presses something in the panel's head or among its settings."""
    shown.sidebar._handle_msg(_message(action(name, id)))


def record_copies(shown: Panel) -> list[str]:
    """Return a list that fills with the texts that go to the page's clipboard."""
    copied: list[str] = []

    def take(data: Any = None, **other: Any) -> None:
        if data.get("content", {}).get("do") == "copy":
            copied.append(data["content"]["text"])

    shown.transcript.comm.send = take
    return copied


def send_prompt(shown: Panel, prompt: str) -> None:
    """Type a prompt and press Enter."""
    type_prompt(shown, prompt)
    press(shown, "send", text=prompt)


def type_prompt(shown: Panel, prompt: str) -> None:
    """Type a prompt."""
    data = {"method": "update", "state": {"draft": prompt}, "buffer_paths": []}
    shown.transcript._handle_msg(_message(data))


def wait_idle(shown: Panel, seconds: float = 10.0) -> None:
    """Wait until no prompt is under way, and the panel says how the last one ended."""

    def is_idle() -> bool:
        waiting = shown.transcript.announced in ("Waiting for the first token…", "Answering…")
        return not (shown.transcript.busy or waiting)

    wait_until(is_idle, "the end of the answer", seconds)


def ask_and_wait(shown: Panel, prompt: str) -> None:
    """Type a prompt, press Enter, and wait for the end of the answer."""
    send_prompt(shown, prompt)
    wait_idle(shown)


def read_answers(shown: Panel) -> list[Message]:
    """Return the answers that are shown, in order."""
    return [
        message for message in shown.transcript.all_messages if message.role == "assistant" and not message.lane
    ]


def read_lanes(shown: Panel) -> list[Message]:
    """Return the answers that stand side by side."""
    return [message for message in shown.transcript.all_messages if message.lane]


def read_text(message: Message) -> str:
    """Return what a reader sees of a message's text."""
    return _seen("".join(message.blocks))


def read_answer(shown: Panel) -> str:
    """Return what a reader sees of the last answer; nothing before there is one."""
    answers = read_answers(shown)
    return read_text(answers[-1]) if answers else ""


def read_notices(shown: Panel) -> list[str]:
    """Return what stands under the messages and under the box, the box's last."""
    notices = [message.notice.text for message in shown.transcript.all_messages if message.notice is not None]
    return [*notices, *([shown.transcript.notice["text"]] if shown.transcript.notice else [])]


def visible_text(widget: Any) -> str:
    """Return what a reader sees of an HTML widget."""
    return _seen(widget.value)


def _seen(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def walk_widgets(widget: Any) -> Iterator[Any]:
    """Yield a widget and all that stands in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk_widgets(child)
