"""The history viewer: what belongs to one turn is never used for another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic.store import Query
from chatglm_magic.widgets.trouble import StatusWidget

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


def open_another_conversation(shown: Viewer) -> None:
    shown.open("elsewhere")
    shown.open("question 2")


OPENINGS = [open_by_line, open_another_conversation]
ELSEWHERE = make_turn(9, prompt="elsewhere", conversation=MINE)


@pytest.mark.parametrize("open_another", OPENINGS)
def test_delete_for_good_of_one_turn_never_deletes_another(open_another: Any) -> None:
    """Opening another turn takes the question back; a click that comes late deletes neither."""
    with open_viewer(None, make_turn(1), make_turn(2), ELSEWHERE) as shown:
        shown.open("question 1")
        shown.act("delete")
        late = shown.named("Delete 1 turn for good")
        open_another(shown)
        assert "Delete 1 turn for good" not in shown.names
        click(late)
        assert prompts(shown) == ["elsewhere", "question 1", "question 2"]
        shown.act("delete")
        shown.click("Delete 1 turn for good")
        assert prompts(shown) == ["elsewhere", "question 1"]


def test_delete_of_one_turn_and_of_the_selected_ones_are_two_things() -> None:
    """Each asks for itself and deletes its own."""
    with open_viewer(None, *(make_turn(n) for n in range(4))) as shown:
        set_value(shown.named("#1"), True)
        shown.open("question 2")
        selected = shown.named("Delete…")
        click(selected)
        assert shown.names.count("Delete 1 turn for good") == 1
        shown.act("delete")
        assert shown.names.count("Delete 1 turn for good") == 2
        click(shown.box.reader.delete.confirm_button)
        assert prompts(shown) == ["question 0", "question 1", "question 3"]
        click(selected)
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
    shown.act("delete", "question 0")
    click(shown.box.reader.delete.confirm_button)


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


def test_a_selected_turn_that_is_deleted_is_counted_no_more() -> None:
    """Deleted where it is read, it is selected no longer; when none is left the bar is gone."""
    with open_viewer(None, make_turn(1), make_turn(2), make_turn(3)) as shown:
        for name in ("#1", "#2"):
            set_value(shown.named(name), True)
        for prompt, left in (("question 1", "1 turn selected"), ("question 2", "")):
            shown.act("delete", prompt)
            click(shown.box.reader.delete.confirm_button)
            assert left in shown.text and ("Clear selection" in shown.names) == bool(left)
        set_value(shown.named("#3"), True)
        assert "1 turn selected" in shown.text


def test_what_is_pressed_at_a_turn_that_is_no_longer_shown_does_nothing(server: ScriptedServer) -> None:
    """A click that comes late, when another conversation is open, asks, forks, selects and deletes nothing."""
    with open_viewer(server, make_turn(1), ELSEWHERE) as shown:
        shown.open("question 1")
        before, turn = shown.session.conversation, make_turn(1).id
        shown.open("elsewhere")
        late = {"edit": {"text": "late"}, "again": {}, "branch": {}, "delete": {}, "select": {"selected": True}}
        for action, values in late.items():
            shown.press(f"a{turn}", action, **values)
            shown.told("That turn is no longer shown: open it again.")
        assert not server.posts and shown.session.conversation == before
        assert "selected" not in shown.text and len(prompts(shown)) == 2


def test_a_branch_begins_after_its_turn(server: ScriptedServer) -> None:
    """It is the current conversation, and open, with that turn as its last one; the next prompt follows it."""
    with open_viewer(server, make_turn(1), make_turn(2), make_turn(3)) as shown:
        shown.act("branch", "question 2")
        shown.told("This branch is the current conversation now")
        assert shown.prompts == ["question 1", "question 2"] and shown.box.reader.conversation != OTHER
        shown.session.ask("and then?")
        assert [m["content"] for m in server.posts[0].body["messages"]][::2] == [
            "question 1",
            "question 2",
            "and then?",
        ]
        wait_until(lambda: shown.prompts == ["question 1", "question 2", "and then?"])


def test_a_comparison_is_of_the_turns_that_are_selected() -> None:
    """It is gone as soon as others are, or one of them is deleted; nothing stands there that is no longer true."""
    with open_viewer(None, make_turn(1), make_turn(2), make_turn(3)) as shown:
        for change in ("select another", "unselect one", "delete one", "open a turn"):
            for line in shown.list_lines[-2:]:
                set_value(line.checkbox, True)
            shown.click("Compare")
            assert "Comparison" in shown.text and shown.box.reader.layout.display == "none"
            if change == "select another":
                set_value(shown.list_lines[0].checkbox, True)
            elif change == "unselect one":
                set_value(shown.list_lines[-1].checkbox, False)
            elif change == "delete one":
                shown.session.delete([make_turn(1).id])
                wait_until(lambda: "Comparison" not in shown.text)
            else:
                shown.open("question 2")
            assert "Comparison" not in shown.text and shown.box.reader.layout.display is None, change
            shown.click("Clear selection")


def test_continue_is_about_the_conversation_that_is_read(server: ScriptedServer) -> None:
    """It is offered beside another conversation than the current one, and continues that one."""
    turns = [make_turn(1), make_turn(2, conversation=MINE)]
    with open_viewer(server, *turns) as shown:
        shown.open("question 1")
        shown.click("Continue this conversation")
        assert shown.session.conversation == OTHER and "Continue this conversation" not in shown.names
        shown.open("question 2")
        shown.click("Continue this conversation")
        assert shown.session.conversation == MINE


def test_a_click_on_a_line_that_has_gone_does_nothing() -> None:
    """A list that became shorter: the line's turn is not opened or ticked, and there is no error."""
    with open_viewer(None, make_turn(1), make_turn(2)) as shown:
        line = next(box for box in shown.widgets() if getattr(box, "description", "") == "question 1")
        tick = shown.named("#1")
        shown.session.delete([make_turn(1).id])
        wait_until(lambda: shown.lines == ["question 2"])
        set_value(tick, True)
        click(line)
        assert "selected" not in shown.text and shown.prompts == ["question 2"]
        shown.type("Show", "all conversations")
        click(line)
        lines = [widget.value for widget in shown.widgets() if isinstance(widget, StatusWidget)]
        assert not any("chatglm-failed" in html for html in lines)
        assert shown.lines == ["question 2"]


@pytest.mark.parametrize(("pages", "left"), [(2, 20), (3, 5)])
def test_an_emptied_page_of_conversations_gives_way_to_one_that_exists(pages: int, left: int) -> None:
    """When all of a later page is deleted, the last page there is shown, with buttons that fit."""
    turns = [make_turn(n, conversation=f"{n:012x}") for n in range(20 * (pages - 1) + 1)]
    with open_viewer(None, *turns) as shown:
        shown.type("Show", "all conversations")
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
        assert shown.prompts == [f"question {last}"]


def test_the_page_before_an_emptied_page_of_conversations_is_shown() -> None:
    """Of three pages the third one is emptied: the second is shown, not the first."""
    turns = [make_turn(n, conversation=f"{n:012x}") for n in range(41)]
    with open_viewer(None, *turns) as shown:
        shown.type("Show", "all conversations")
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
