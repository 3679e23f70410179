"""What the panel asks when Send is clicked: nothing for blanks, and never in another prompt's place."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import chatglm_magic
from chatglm_magic import Session
from chatglm_magic.errors import ChatGLMError
from chatglm_magic.widgets.words import reword_for_widgets

from .support.panels import ask_and_wait, open_panel, read_notices, send_prompt, wait_idle, wait_until
from .support.servers import ScriptedServer, answer, legacy

PACKAGE = Path(chatglm_magic.__file__).parent


@pytest.mark.parametrize("blank", ["", " ", "\n", " \n\t", "\u3000"])
def test_a_blank_prompt_is_not_asked(blank: str) -> None:
    """The panel says what to do."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        send_prompt(panel, blank)
        assert read_notices(panel) == ["Type a prompt first."]
        assert server.posts == [] and not panel.transcript.busy


def test_a_prompt_whose_turn_was_taken_back_is_asked_at_the_end() -> None:
    """It takes no other turn's place: what was asked meanwhile stays part of the conversation."""
    session = Session()
    session.settings.store = "off"
    upper = legacy(lambda body: body["prompt"].upper())
    with ScriptedServer(upper) as server, open_panel(server, "", session) as panel:
        ask_and_wait(panel, "a")
        assert session.undo() is not None
        session.ask("b")
        send_prompt(panel, "a")
        wait_until(lambda: len(server.posts) == 3)
        wait_idle(panel)
        assert server.posts[-1].body["history"] == [["b", "B"]]
        assert [(turn.prompt, turn.status) for turn in session.turns] == [("b", "complete"), ("a", "complete")]
    session.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://no-such-host.invalid/v1", "Unknown host: no-such-host.invalid."),
        ("http://127.0.0.1:9/v1", "nothing listens there"),
        ("http://255.255.255.255/v1", "No route leads to"),
    ],
)
def test_hosts_that_cannot_be_reached_are_told_apart(url: str, said: str) -> None:
    """One that doesn't exist, one that refuses, one to which no way leads; in words for a panel."""
    session = Session()
    session.settings.store, session.settings.endpoint_url = "off", url
    with open_panel(session=session) as panel:
        ask_and_wait(panel, "hi")
        (notice,) = read_notices(panel)
        assert said in notice and "%" not in notice and "Error" not in notice
        with pytest.raises(ChatGLMError) as raised:
            session.llm.invoke("hi")
        assert said in str(raised.value) and raised.value.kind == "connect"
    session.close()


MAGICS = re.compile(r"%chatglm\w*")


def test_a_panel_names_no_magic() -> None:
    """Whatever an error says to type in a cell, a panel says what to do in it, or leaves the sentence out."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "magics" in path.parts or "widgets" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and MAGICS.search(node.value):
                said = reword_for_widgets(node.value.replace("\n", " "))
                assert not MAGICS.search(said), (path.name, said)
