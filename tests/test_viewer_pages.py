"""Ticks in the history viewer over several pages: they stay, and what is done is done to all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatglm_magic.store import Query

from .support.panels import set_value
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
        assert "26 turns selected" in shown.text and "Export 26 turns" in shown.names
        shown.click("Select page")
        set_value(shown.named("#1"), False)
        assert "25 turns selected" in shown.text
        shown.click("Previous")
        assert shown.named("#25").value and shown.named("#6").value
        shown.click("Delete…")
        shown.click("Delete 25 turns for good")
        left = {row.turn.prompt for row in shown.session.store.find(Query())}
        assert left == {"question 0", *(f"question {n}" for n in range(25, 44))}
        assert "Nothing selected" in shown.text


def test_a_last_page_that_was_emptied_gives_way_to_the_one_before() -> None:
    """Not an empty page is shown, but the last one that has turns."""
    with open_viewer(None, *(make_turn(n) for n in range(41))) as shown:
        shown.click("Last")
        assert "41–41 of 41 turns" in shown.text
        set_value(shown.named("#1"), True)
        shown.click("Delete…")
        shown.click("Delete 1 turn for good")
        assert "21–40 of 40 turns" in shown.text and "#2" in shown.names


def test_there_is_no_turn_before_the_first_and_none_after_the_last() -> None:
    """At either end the opened turn stays, and so does the page; in between the page follows."""
    with open_viewer(None, *(make_turn(n) for n in range(21))) as shown:
        shown.open("question 20")
        shown.click("Previous turn")
        assert "#21 question 20" in shown.text and "1–20 of 21 turns" in shown.text
        for _ in range(20):
            shown.click("Next turn")
        assert "#1 question 0" in shown.text and "21–21 of 21 turns" in shown.text
        shown.click("Next turn")
        assert "#1 question 0" in shown.text and "21–21 of 21 turns" in shown.text
        shown.click("Previous turn")
        assert "#2 question 1" in shown.text and "1–20 of 21 turns" in shown.text
