"""What the panel asks when Send is clicked: nothing for blanks, and never in another prompt's place."""

from __future__ import annotations

import pytest

from chatglm_magic import Session

from .support.panels import ask_and_wait, click, open_panel, send_prompt, visible_text, wait_idle, wait_until
from .support.servers import ScriptedServer, answer, legacy


@pytest.mark.parametrize("blank", ["", " ", "\n", " \n\t", "\u3000"])
def test_a_blank_prompt_is_not_asked(blank: str) -> None:
    """The panel says what to do."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        send_prompt(panel, blank)
        assert visible_text(panel.status) == "Type a prompt first."
        assert server.posts == [] and panel.dialogue.controls.stop.disabled


def test_a_prompt_whose_turn_was_taken_back_is_asked_at_the_end() -> None:
    """It takes no other turn's place: what was asked meanwhile stays part of the conversation."""
    session = Session()
    session.settings.store = "off"
    upper = legacy(lambda body: body["prompt"].upper())
    with ScriptedServer(upper) as server, open_panel(server, "", session) as panel:
        ask_and_wait(panel, "a")
        assert session.undo() is not None
        session.ask("b")
        click(panel.controls.again)  # another button: a second click on Send could be half of a double click
        wait_until(lambda: len(server.posts) == 3)
        wait_idle(panel)
        assert server.posts[-1].body["history"] == [["b", "B"]]
        assert [(turn.prompt, turn.status) for turn in session.turns] == [("b", "complete"), ("a", "complete")]
    session.close()
