"""Many turns and large ones cost no more than the page that is looked at (FAULTS.md, row F6)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chatglm_magic.store import Query
from chatglm_magic.store.database import Database

from ..support.clock import assert_within
from ..support.stores import CONVERSATION, fill_store, make_turn, open_store


def steps(path: Path, query: Query) -> int:
    """Return how many steps of SQLite's machine a page of 20 turns takes."""
    database, count = Database(path), 0

    def step() -> None:
        nonlocal count
        count += 1

    try:
        database._db.set_progress_handler(step, 1)
        assert len(database.rows([number for number, _ in database.find_numbers(query, 0, 20)])) == 20
    finally:
        database.close()
    return count


PAGES = [
    *(Query(order=order, reverse=back) for order in ("newest", "position", "created") for back in (False, True)),
    *(Query(order=order, reverse=True) for order in ("duration", "tokens", "temperature", "top_p")),
    *(Query(order=order) for order in ("duration", "tokens", "temperature", "top_p")),
    *(Query(conversation=CONVERSATION, reverse=back) for back in (False, True)),
    *(Query(text=text, order="newest", reverse=back) for text in ("爱情", "ques") for back in (False, True)),
    Query(order="newest", model="m", status="complete", temperature=(0, None)),
]


@pytest.mark.row("F6")
def test_a_page_costs_the_same_among_many(tmp_path: Path) -> None:
    """In every order, in a conversation and in a search, 20 of 50 000 turns take the steps that 20 of 500 take."""
    few, lots = tmp_path / "few.sqlite", tmp_path / "lots.sqlite"
    fill_store(few, 500)
    fill_store(lots, 50_000)
    assert steps(lots, Query(order="duration", conversation=CONVERSATION)) > 50_000  # the control: it is sorted
    for query in PAGES:
        assert steps(lots, query) <= 1.5 * steps(few, query), query


@pytest.mark.row("F6")
def test_a_turn_of_ten_mebibytes(tmp_path: Path) -> None:
    """A very long answer is stored, found, and weighs on nobody who lists other turns."""
    with open_store(tmp_path / "h.sqlite") as store:
        huge = "爱情 word " * (10 * 2**20 // 12)
        store.put(make_turn("huge", huge), 0)
        store.add([(make_turn(f"{at}"), at) for at in range(1, 30)])
        began = time.monotonic()
        assert len(store.find(Query(order="newest"), limit=20)) == 20 and store.conversations()[0].turns == 30
        took = time.monotonic() - began
        (row,) = store.find(Query(text="爱情"))
        assert row.turn.answer == huge and store.delete([row.turn.id]) == 1
        assert_within(took, 0.5)
