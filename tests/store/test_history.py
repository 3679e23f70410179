"""Stored turns as a sequence: lazily read, filtered, sorted, sliced, shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from IPython.lib.pretty import pretty

from chatglm_magic.errors import ChatGLMError, ParameterError
from chatglm_magic.store import History, Query

from ..support.hostile import ANSWERS
from ..support.markup import Page
from ..support.stores import CONVERSATION, make_turn, open_store, run_code


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """Ten turns of a conversation, and one of another."""
    with open_store(tmp_path / "h.sqlite") as store:
        for at in range(10):
            made = make_turn(f"{at}", f"answer {at % 3}", duration=float(at % 4), model=f"m{at % 2}")
            store.put(made, at)
        store.put(make_turn("other", conversation="0" * 12), 0)
        yield History(store, Query(conversation=CONVERSATION))


def test_it_is_a_sequence_of_turns(history: History) -> None:
    """Length, iteration, indexes from both ends and slices do what they do with a list."""
    whole = list(history)
    names = [turn.prompt for turn in whole]
    assert names == [str(at) for at in range(10)] and len(history) == 10
    for at in (0, 3, 9, -1, -10):
        assert history[at] == whole[at]
    for cut in (slice(2, 5), slice(None), slice(-3, None), slice(8, 20), slice(None, None, -2), slice(5, 2)):
        assert history[cut] == whole[cut]
    for at in (10, -11, 99):
        with pytest.raises(IndexError, match=f"Turn {at} doesn't exist: there are 10"):
            history[at]
    assert [row.turn.prompt for row in history.rows(4, 2)] == ["4", "5"]


def test_it_is_read_where_one_looks(history: History) -> None:
    """What is stored after a history was made is in it; what is deleted while one walks over it is left out."""
    walk = iter(history)
    next(walk)
    history.store.put(make_turn("late"), 10)
    assert len(history) == 11 and history[-1].prompt == "late"
    long = History(history.store, Query())
    history.store.add([(make_turn(f"more {at}"), at) for at in range(400)])
    walk = iter(long)
    for _ in range(200):
        next(walk)
    gone = [row.turn.id for row in long.rows(300, 11)]
    history.store.delete(gone)
    assert len(list(walk)) == 411 + 1 - 200 - 11


def test_filter_sort_search_and_all(history: History) -> None:
    """Each gives another history and leaves this one as it is; together they add up."""
    assert [turn.prompt for turn in history.filter(model="m1").filter(since="2025-01-01")] == [
        "1",
        "3",
        "5",
        "7",
        "9",
    ]
    assert [turn.prompt for turn in history.sort("duration", reverse=True)][:2] == ["7", "3"]
    assert [turn.prompt for turn in history.search("answer 2")] == ["8", "5", "2"]
    assert [turn.prompt for turn in history.search("answer 2").filter(model="m0")] == ["8", "2"]
    assert len(history.all) == 11 and history.all[-1].prompt == "other"
    assert len(history) == 10


@pytest.mark.parametrize("wrong", [{"modle": "m1"}, {"order": "size"}, {"since": "soon"}])
def test_a_condition_that_does_not_exist_is_told(wrong: dict[str, str], history: History) -> None:
    """The message names those there are, or how to write a value."""
    with pytest.raises(ParameterError, match=r"Expected one of|write it as"):
        history.filter(**wrong)


def test_pairs_are_the_complete_exchanges(history: History) -> None:
    """Superseded, failed, empty and outside turns, sweeps and live comparisons are no part of them."""
    store = history.store
    for at, fields in enumerate(
        (
            {"status": "superseded"},
            {"status": "error"},
            {"status": "incomplete"},
            {"answer": ""},
            {"outside": True},
            {"kind": "sweep"},
            {"kind": "live"},
        ),
        10,
    ):
        store.put(make_turn(f"no {at}", **fields), at)  # type: ignore[arg-type]
    store.put(make_turn("first", "yes"), -1)
    pairs = history.sort("newest").pairs()
    assert pairs == [("first", "yes"), *((f"{at}", f"answer {at % 3}") for at in range(10))]


def test_a_short_table_is_shown(history: History) -> None:
    """As text and as HTML: at most 20 turns, and how many there are."""
    text = pretty(history)
    assert len(text.splitlines()) == 11 and "answer 2" in text and "complete" in text
    history.store.add([(make_turn(f"more {at}"), at) for at in range(30)])
    assert "41 turns, the first 20 are shown." in pretty(history.all)
    assert history.all._repr_html_().count("<tr>") == 21
    assert repr(history) == "<History of 40 turns>" and "No turns." in pretty(history.filter(ids=()))


def test_what_a_table_shows_is_text(history: History) -> None:
    """Hostile texts make no tag, no attribute and no formula in it, and no control character in the plain form."""
    store = history.store
    for at, answer in enumerate(ANSWERS):
        store.put(make_turn(answer.text, answer.text, model=answer.text, conversation=f"{at // 20 + 1:012x}"), at)
    for at in range(len(ANSWERS) // 20 + 1):
        shown = history.filter(conversation=f"{at + 1:012x}")
        page = Page(shown._repr_html_().replace("vertical-align:top", "text-align:left"))
        allowed = ("<thead>", "th style", "td style", "table", "div class")
        assert [wrong for wrong in page.wrong if not wrong.startswith(allowed)] == [] and page.links == []
        assert not [c for c in pretty(shown) if (c < " " and c != "\n") or c in "\x7f\x9b\u202e"]


def test_without_pandas_a_table_says_what_to_install(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, with the command."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ChatGLMError, match="pip install pandas"):
        history.to_dataframe()


def test_a_table_of_pandas_has_a_row_a_turn(history: History) -> None:
    """Fields of the turn and the figures of what was asked are its columns, whatever the number of turns."""
    pytest.importorskip("pandas")
    history.store.put(make_turn("爱", asked={"temperature": 0.5}, usage={"completion_tokens": 7}), 10)
    table = history.to_dataframe()
    assert len(table) == 11 and list(table["position"]) == list(range(11))
    last = table.iloc[-1]
    assert (last["prompt"], last["temperature"], last["tokens"], last["status"]) == ("爱", 0.5, 7, "complete")
    history.store.put(make_turn("half a character \ud83d"), 11)
    assert r"half a character \ud83d" in history.to_dataframe().to_csv().encode().decode()
    empty = history.filter(ids=()).to_dataframe()
    assert len(empty) == 0 and list(empty.columns) == list(table.columns)


def test_importing_the_store_loads_nothing_heavy() -> None:
    """Neither HTML's tools nor pandas, langchain or ipywidgets come with it."""
    code = (
        "import sys, chatglm_magic.store\n"
        "print([name for name in ('nh3', 'markdown_it', 'pygments', 'pandas', 'langchain_core', 'ipywidgets')"
        " if name in sys.modules])\n"
    )
    assert run_code(code) == "[]\n"
