"""The history viewer: what belongs to one turn is never used for another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic.store import Query
from chatglm_magic.widgets.trouble import Status

from .support.panels import ask_and_wait, click, open_panel, press, set_value, wait_idle, wait_until
from .support.servers import ScriptedServer, answer
from .support.viewers import OTHER, Viewer, make_turn, open_viewer

MINE = "abcdefabcdef"
"""A second conversation."""


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a store of its own."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer("fresh words")) as started:
        yield started


def prompts(shown: Viewer) -> list[str]:
    """Return the prompts of all stored turns."""
    return sorted(row.turn.prompt for row in shown.session.store.find(Query()))


def open_by_line(shown: Viewer) -> None:
    shown.open("question 2")


def open_by_step(shown: Viewer) -> None:
    shown.click("Previous turn")


def reopen_another(shown: Viewer) -> None:
    shown.click("Close")
    shown.open("question 2")


OPENINGS = [open_by_line, open_by_step, reopen_another]


@pytest.mark.parametrize("open_another", OPENINGS)
def test_delete_for_good_of_one_turn_never_deletes_another(open_another: Any) -> None:
    """Opening another turn takes the question back; a click that comes late deletes neither."""
    with open_viewer(None, make_turn(1), make_turn(2)) as shown:
        shown.open("question 1")
        shown.click("Delete…")
        late = shown.named("Delete 1 turn for good")
        open_another(shown)
        assert "Delete 1 turn for good" not in shown.names and "#2 question 2" in shown.text
        click(late)
        assert prompts(shown) == ["question 1", "question 2"]
        shown.click("Delete…")
        shown.click("Delete 1 turn for good")
        assert prompts(shown) == ["question 1"]


def test_delete_of_the_opened_turn_and_of_the_ticked_ones_are_two_things() -> None:
    """Each asks for itself and deletes its own."""
    with open_viewer(None, *(make_turn(n) for n in range(4))) as shown:
        set_value(shown.named("#1"), True)
        shown.open("question 2")
        opened, ticked = (box for box in shown.widgets() if getattr(box, "description", "") == "Delete…")
        click(ticked)
        assert shown.names.count("Delete 1 turn for good") == 1
        click(opened)
        assert shown.names.count("Delete 1 turn for good") == 2
        shown.click("Delete 1 turn for good")
        assert prompts(shown) == ["question 0", "question 1", "question 3"]
        click(ticked)
        shown.click("Delete 1 turn for good")
        assert prompts(shown) == ["question 1", "question 3"]


def tick_another(shown: Viewer) -> None:
    set_value(shown.named("#2"), True)


def untick_it(shown: Viewer) -> None:
    set_value(shown.named("#1"), False)


def tick_page(shown: Viewer) -> None:
    shown.click("Select page")


def untick_all(shown: Viewer) -> None:
    shown.click("Clear selection")


def delete_it_elsewhere(shown: Viewer) -> None:
    shown.open("question 0")
    click(next(box for box in shown.widgets() if getattr(box, "description", "") == "Delete…"))
    click(next(box for box in shown.widgets() if getattr(box, "description", "") == "Delete 1 turn for good"))


@pytest.mark.parametrize("change", [tick_another, untick_it, tick_page, untick_all, delete_it_elsewhere])
def test_delete_for_good_is_for_the_turns_that_were_ticked_when_it_was_asked(change: Any) -> None:
    """Any change of the ticks takes the question back; a click that comes late deletes nothing."""
    with open_viewer(None, *(make_turn(n) for n in range(3))) as shown:
        set_value(shown.named("#1"), True)
        shown.click("Delete…")
        late = shown.named("Delete 1 turn for good")
        change(shown)
        assert "Delete 1 turn for good" not in shown.names
        there = prompts(shown)
        click(late)
        assert prompts(shown) == there


def test_a_ticked_turn_that_is_deleted_is_counted_no_more() -> None:
    """Deleted where it is open, it is ticked no longer: the count and the buttons are those of the rest."""
    with open_viewer(None, make_turn(1), make_turn(2)) as shown:
        set_value(shown.named("#1"), True)
        shown.open("question 1")
        shown.click("Delete…")
        shown.click("Delete 1 turn for good")
        assert "Nothing selected" in shown.text and "Export all that are listed" in shown.names
        assert shown.named("Clear selection").disabled and shown.named("Delete…").disabled
        set_value(shown.named("#2"), True)
        assert "1 turn selected" in shown.text


@pytest.mark.parametrize("open_another", OPENINGS)
def test_an_edited_prompt_never_forks_another_turn(open_another: Any, server: ScriptedServer) -> None:
    """Opening another turn closes the box; a click on Fork and ask that comes late asks nothing."""
    with open_viewer(server, make_turn(1), make_turn(2)) as shown:
        shown.open("question 1")
        shown.click("Edit and fork")
        shown.type("New prompt", "about question 1")
        late, before = shown.named("Fork and ask"), shown.session.conversation
        open_another(shown)
        assert "New prompt" not in shown.names
        click(late)
        assert not server.posts and shown.session.conversation == before
        shown.click("Edit and fork")
        assert shown.named("New prompt").value == "question 2"


@pytest.mark.parametrize("open_another", OPENINGS)
def test_a_copied_answer_does_not_stand_beside_another_turn(open_another: Any) -> None:
    """The box with the text is gone when another turn is open; what is copied then is the other's."""
    with open_viewer(None, make_turn(1), make_turn(2)) as shown:
        shown.open("question 1")
        shown.click("Copy answer")
        assert shown.named("Copied text").value == "answer 1"
        open_another(shown)
        assert "Copied text" not in shown.names
        shown.click("Copy answer")
        assert shown.named("Copied text").value == "answer 2"


@pytest.mark.parametrize("open_another", OPENINGS)
def test_pin_is_about_the_opened_turn(open_another: Any) -> None:
    """Beside another turn the button pins, although the first one is pinned; back at that one it unpins."""
    with open_viewer(None, make_turn(1), make_turn(2)) as shown:
        shown.open("question 1")
        shown.click("Pin")
        assert shown.named("Unpin")
        open_another(shown)
        shown.click("Pin")
        assert "#1 and #2 are compared below." in shown.text
        shown.click("Next turn")
        shown.click("Unpin")
        assert "#1 · test-glm" not in shown.text and "#2 · test-glm" in shown.text


def test_continue_is_about_the_opened_turns_conversation(server: ScriptedServer) -> None:
    """It can be pressed beside a turn of another conversation, and continues that one."""
    turns = [make_turn(1), make_turn(2, conversation=MINE)]
    with open_viewer(server, *turns) as shown:
        shown.open("question 1")
        shown.click("Continue conversation")
        assert shown.session.conversation == OTHER and shown.named("Continue conversation").disabled
        shown.click("Previous turn")
        assert not shown.named("Continue conversation").disabled
        shown.click("Continue conversation")
        assert shown.session.conversation == MINE


def test_an_observer_of_the_opened_turn_acts_on_that_turn(server: ScriptedServer) -> None:
    """As soon as another turn's heading stands there, Ask again asks that one."""
    with open_viewer(server, make_turn(1), make_turn(2)) as shown:
        shown.open("question 1")
        again, asked = shown.named("Ask again"), []
        heading = next(
            widget for widget in shown.widgets() if "#1 question 1" in str(getattr(widget, "value", ""))
        )

        def ask(change: Any) -> None:
            if not asked:
                asked.append(change["new"])
                click(again)

        heading.observe(ask, names="value")
        shown.open("question 2")
        shown.says("Answered.")
        assert [post.body["messages"][-1]["content"] for post in server.posts] == ["question 2"]


def test_a_click_on_a_line_that_has_gone_does_nothing() -> None:
    """A list that became shorter: the line's turn is not opened or ticked, and there is no error."""
    with open_viewer(None, make_turn(1), make_turn(2)) as shown:
        line = next(box for box in shown.widgets() if getattr(box, "description", "") == "question 1")
        tick = shown.named("#1")
        shown.session.delete([make_turn(1).id])
        wait_until(lambda: shown.lines == ["question 2"])
        set_value(tick, True)
        click(line)
        assert "Nothing selected" in shown.text and "Ask again" not in shown.names
        shown.type("Show", "conversations")
        click(line)
        lines = [widget.value for widget in shown.widgets() if isinstance(widget, Status)]
        assert not any("chatglm-failed" in html for html in lines)
        assert shown.lines == ["question 2"]


@pytest.mark.parametrize(("pages", "left"), [(2, 20), (3, 5)])
def test_an_emptied_page_of_conversations_gives_way_to_one_that_exists(pages: int, left: int) -> None:
    """When all of a later page is deleted, the last page there is shown, with buttons that fit."""
    turns = [make_turn(n, conversation=f"{n:012x}") for n in range(20 * (pages - 1) + 1)]
    with open_viewer(None, *turns) as shown:
        shown.type("Show", "conversations")
        for _ in range(pages - 1):
            shown.click("Next")
        assert shown.lines == ["question 0"]
        shown.session.delete([turn.id for turn in turns[: len(turns) - left]])
        wait_until(lambda: shown.lines != ["question 0"])
        last = len(turns) - left
        assert shown.lines == [f"question {n}" for n in range(len(turns) - 1, last - 1, -1)]
        assert "No conversations yet" not in shown.text
        assert "Next" not in shown.names or shown.named("Next").disabled
        shown.open(f"question {last}")
        shown.says("1 turn")


def test_the_page_before_an_emptied_page_of_conversations_is_shown() -> None:
    """Of three pages the third one is emptied: the second is shown, not the first."""
    turns = [make_turn(n, conversation=f"{n:012x}") for n in range(41)]
    with open_viewer(None, *turns) as shown:
        shown.type("Show", "conversations")
        shown.click("Next")
        shown.click("Next")
        assert shown.lines == ["question 0"]
        shown.session.delete([turns[0].id])
        wait_until(lambda: len(shown.lines) == 20)
        assert shown.lines[0] == "question 20" and shown.named("Page").value == 2
        shown.click("Previous")
        assert shown.lines[0] == "question 40"


def test_a_panel_regenerates_its_own_answer(server: ScriptedServer) -> None:
    """A cell has asked the same since: the panel's turn is the one that is replaced, and the cell's stays."""
    with open_panel(server) as panel:
        session = panel._session
        ask_and_wait(panel, "hi")
        own = session.turns[0].id
        other = session.ask("hi").turn.id
        press(panel, "again", own)
        wait_until(lambda: len(server.posts) == 3)
        wait_idle(panel)
        statuses = {turn.id: turn.status for turn in session.turns}
        assert statuses[own] == "superseded" and statuses[other] == "complete"
