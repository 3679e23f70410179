"""Ticks in the history viewer over several pages: they stay, and what is done is done to all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatglm_magic.store import Query

from .support.panels import click, set_value, wait_until
from .support.viewers import make_turn, open_viewer


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a store and a folder of its own."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_ticking_a_page_adds_to_what_is_ticked_on_others(tmp_path: Path) -> None:
    """Single ticks and whole pages add up; export and delete are for all of them, and for nothing else."""
    with open_viewer(None, *(make_turn(n) for n in range(45))) as shown:
        set_value(shown.named("#45"), True)
        shown.click("Next")
        shown.click("Select page")
        assert "21 turns selected" in shown.text
        shown.click("Next")
        shown.click("Select page")
        assert "26 turns selected" in shown.text
        shown.click("Select page")
        set_value(shown.named("#1"), False)
        assert "25 turns selected" in shown.text
        shown.click("Previous")
        assert shown.named("#25").value and shown.named("#6").value
        shown.click("Delete…")
        shown.click("Delete 25 turns for good")
        left = {row.turn.prompt for row in shown.session.store.find(Query())}
        assert left == {"question 0", *(f"question {n}" for n in range(25, 44))}
        assert "selected" not in shown.text and "Clear selection" not in shown.names


def test_a_last_page_that_was_emptied_gives_way_to_the_one_before() -> None:
    """Not an empty page is shown, but the last one that has turns."""
    with open_viewer(None, *(make_turn(n) for n in range(41))) as shown:
        shown.click("Last")
        assert shown.count == "41–41 of 41 turns"
        set_value(shown.named("#1"), True)
        shown.click("Delete…")
        shown.click("Delete 1 turn for good")
        assert shown.count == "21–40 of 40 turns" and "#2" in shown.names


def test_there_is_no_page_before_the_first_and_none_after_the_last() -> None:
    """In a conversation too: clicks that come late stay on the last page, and at a page that was emptied."""
    with open_viewer(None, *(make_turn(n) for n in range(41))) as shown:
        shown.open("question 40")
        assert shown.prompts == ["question 40"]
        earlier, later = shown.box.reader.earlier, shown.box.reader.later
        for _ in range(4):
            click(earlier)
        assert shown.prompts[0] == "question 0" and len(shown.prompts) == 20
        for _ in range(4):
            click(later)
        assert shown.prompts == ["question 40"]
        shown.session.delete([make_turn(40).id])
        wait_until(lambda: shown.prompts == [f"question {n}" for n in range(20, 40)])
