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
from chatglm_magic.widgets.panel_box import Panel

from .servers import ScriptedServer
from .timers import HeldSleep


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


def set_value(widget: Any, value: Any) -> None:
    """Type or drag a value, as the page tells the kernel."""
    state = {"index": [*widget._options_values].index(value)} if hasattr(widget, "index") else {"value": value}
    widget._handle_msg(_message({"method": "update", "state": state, "buffer_paths": []}))


def _message(data: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"data": data}, "buffers": []}


def send_prompt(shown: Panel, prompt: str) -> None:
    """Type a prompt and click Send."""
    set_value(shown.controls.prompt, prompt)
    click(shown.controls.send)


def wait_idle(shown: Panel, seconds: float = 10.0) -> None:
    """Wait until no question is under way, and the status line says so."""

    def is_idle() -> bool:
        waiting = visible_text(shown.status) in ("Waiting for the first token…", "Answering…")
        return not (shown.controls.send.disabled or waiting)

    wait_until(is_idle, "the end of the answer", seconds)


def ask_and_wait(shown: Panel, prompt: str) -> None:
    """Type a prompt, click Send, and wait for the end of the answer."""
    send_prompt(shown, prompt)
    wait_idle(shown)


def visible_text(widget: Any) -> str:
    """Return what a reader sees of an HTML widget."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", widget.value)).split())


def walk_widgets(widget: Any) -> Iterator[Any]:
    """Yield a widget and all that stands in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk_widgets(child)
