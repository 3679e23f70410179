"""The panel in plain widgets, as where anywidget is missing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from chatglm_magic import Session
from chatglm_magic.widgets.panel_box import Panel
from chatglm_magic.widgets.panel_box.plain import PlainSidebar, PlainTranscript

from .support.panels import click, set_value, visible_text, wait_until, walk_widgets
from .support.servers import ScriptedServer, answer, hang

WITHOUT = """
import sys
sys.modules["anywidget"] = None
from chatglm_magic import panel
print(type(panel().transcript).__name__)
"""


def open_plain(server: ScriptedServer) -> tuple[Panel, PlainTranscript, PlainSidebar]:
    """Return a plain panel over a server, and its two parts."""
    session = Session()
    session.settings.store, session.settings.endpoint_url = "off", f"{server.url}v1"
    shown = Panel(session, plain=True)
    return shown, shown.transcript, shown.sidebar


def test_a_panel_without_anywidget_is_a_plain_one() -> None:
    """Python has no such package: the panel opens all the same."""
    ran = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "PlainTranscript", ran.stderr


def test_it_asks_and_stops() -> None:
    """Typed, sent, shown and emptied; the next one is stopped, and the box says what it refuses."""
    with ScriptedServer(answer("**whole**"), hang()) as server:
        shown, talk, _ = open_plain(server)
        click(talk.send_button)
        assert talk.notice["text"] == "Type a prompt first."
        set_value(talk.box, "hi")
        click(talk.send_button)
        wait_until(lambda: talk.announced == "Answered.")
        page = "".join(each.value for each in walk_widgets(talk) if type(each).__name__ == "Typeset")
        assert "<strong>whole</strong>" in page and talk.box.value == "" and talk.stop_button.disabled
        set_value(talk.box, "and now?")
        click(talk.send_button)
        wait_until(lambda: len(server.posts) == 2)
        assert talk.send_button.disabled
        click(talk.stop_button)
        server.wait_closed(server.posts[1], 1.0)
        wait_until(lambda: talk.announced == "Stopped.")
        shown.close()


def test_its_settings_are_the_sessions() -> None:
    """A number, an emptied box, a refused one, a choice: as in the panel with sliders."""
    with ScriptedServer(answer("ok")) as server:
        shown, talk, beside = open_plain(server)
        settings: Any = shown._session.settings
        set_value(beside.boxes["temperature"], "0.5")
        assert settings.temperature == 0.5
        set_value(beside.boxes["temperature"], "50")
        assert settings.temperature == 0.5 and beside.boxes["temperature"].value == "50"
        assert "must be a number from 0 to 10" in visible_text(beside.notes)
        set_value(beside.boxes["temperature"], "")
        assert settings.temperature is None and visible_text(beside.notes) == ""
        settings.top_p = 0.25
        assert beside.boxes["top_p"].value == "0.25"
        set_value(beside.boxes["dialect"], "openai")
        assert settings.dialect == "openai"
        set_value(talk.box, "hi")
        click(talk.send_button)
        wait_until(lambda: talk.announced == "Answered.")
        assert server.posts[0].body["top_p"] == 0.25 and "temperature" not in server.posts[0].body
        shown.close()
