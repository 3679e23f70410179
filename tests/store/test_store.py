"""Turns go into the store and come out as they were, in the order that was asked for."""

from __future__ import annotations

import os
import sqlite3
import threading
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chatglm_magic.errors import ChatGLMError, ParameterError
from chatglm_magic.store import Query, Store, schema
from chatglm_magic.store.query import ORDERS
from chatglm_magic.values import Turn

from ..support.stores import CONVERSATION, list_prompts, make_turn, open_store, run_code

FULL = Turn(
    prompt="爱情是什么？\0\x1b[31m",
    answer="一个问题。\r\n\u2028𠀀😀",
    reasoning="让我想想",
    status="interrupted",
    endpoint="http://127.0.0.1:8000",
    dialect="openai",
    model="glm-4.5",
    system="你是诗人",
    asked={"temperature": 0.3, "top_p": 0.8, "max_token": 99, "stop": ["。"], "extra": {"深": [1, None, True]}},
    sent={"temperature": 0.3, "max_tokens": 99},
    changed=("temperature 0 was sent as 0.01",),
    turns_sent=3,
    turns_left_out=1,
    finish_reason="length",
    usage={"completion_tokens": 12, "prompt_tokens": 7},
    first_token=0.25,
    first_answer=0.75,
    duration=1.5,
    reasoning_tokens=5,
    created="2025-06-01T12:00:00+08:00",
    error="broke off",
    kind="live",
    cell_id="cell-1",
    cell_run=4,
    outside=True,
    version="9.9",
    id="0" * 31 + "f",
    conversation=CONVERSATION,
)


def test_a_turn_comes_back_as_it_was(tmp_path: Path) -> None:
    """Every field, none of them at its default, survives a closed file."""
    plain = Turn("")
    assert all(getattr(FULL, field.name) != getattr(plain, field.name) for field in fields(Turn))
    with open_store(tmp_path / "h.sqlite") as store:
        store.put(FULL, 7)
    with open_store(tmp_path / "h.sqlite") as store:
        (row,) = store.find(Query())
    assert row.turn == FULL and row.position == 7 and row.number == 1


def test_a_lone_surrogate_is_kept_readable(tmp_path: Path) -> None:
    """Half a character, for which UTF-8 has no bytes, is spelt out in texts and exact in JSON values."""
    with open_store(tmp_path / "h.sqlite") as store:
        store.put(make_turn("a\ud83d!", "\udc00", asked={"stop": ["\ud83d"]}), 0)
        (row,) = store.find(Query(text="a"))
        assert store.unsaved == 0
    assert row.turn.prompt == "a\\ud83d!" and row.turn.answer == "\\udc00"
    assert row.turn.asked == {"stop": ["\ud83d"]}


def test_what_json_has_no_word_for_is_kept_as_text(tmp_path: Path) -> None:
    """An option of an unusual type costs nobody a turn."""
    with open_store(tmp_path / "h.sqlite") as store:
        store.put(make_turn(asked={"path": Path("a/b"), "temperature": "warm", "top_p": 10**400}), 0)
        (row,) = store.find(Query())
        assert store.take_notices()[1:] == [] and row.turn.asked["path"] == "a/b"


def test_putting_a_turn_again_brings_it_up_to_date(tmp_path: Path) -> None:
    """A turn has one row however often it is put, with its number and the newest text."""
    growing = make_turn("first", "", status="incomplete")
    with open_store(tmp_path / "h.sqlite") as store:
        store.put(growing, 0)
        store.put(make_turn("second"), 1)
        for length in range(1, 50):
            store.put(replace(growing, answer="字" * length), 0)
        store.put(replace(growing, answer="字" * 50, status="complete"), 0)
        first, second = store.find(Query())
        assert (first.number, second.number) == (1, 2) and store.count(Query()) == 2
        assert first.turn.answer == "字" * 50 and first.turn.status == "complete"


def test_numbers_are_never_given_twice(tmp_path: Path) -> None:
    """A new turn has a greater number than any before it, also after the last one was deleted."""
    with open_store(tmp_path / "h.sqlite") as store:
        last = make_turn("two")
        store.put(make_turn("one"), 0)
        store.put(last, 1)
        store.delete([last.id])
        store.put(make_turn("three"), 1)
        assert [row.number for row in store.find(Query())] == [1, 3]


def test_nothing_touches_the_disk_before_the_first_turn(tmp_path: Path) -> None:
    """A store that is made, asked and closed leaves no file behind."""
    with open_store(tmp_path / "folder" / "h.sqlite") as store:
        assert store.find(Query()) == [] and store.count(Query()) == 0
        assert store.conversations() == [] and store.models() == [] and store.take_notices() == []
    assert list(tmp_path.iterdir()) == []


def test_without_a_file_turns_are_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``Store(None)`` answers like any store and writes nothing."""
    monkeypatch.chdir(tmp_path)
    with open_store(None) as store:
        store.put(make_turn("爱情"), 0)
        assert (
            list_prompts(store, Query(text="爱")) == ["爱情"] and store.unsaved == 0 and store.take_notices() == []
        )
        assert store.forget() == 1 and store.count(Query()) == 0
    assert list(tmp_path.iterdir()) == []


def test_where_turns_are_kept_is_told_once(tmp_path: Path) -> None:
    """The first turn in a new file says where it is and how to keep none; a second store says nothing."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn(), 0)
        (told,) = store.take_notices()
        assert str(path) in told and "store=off" in told
        store.put(make_turn(), 1)
        assert store.take_notices() == []
    with open_store(path) as store:
        store.put(make_turn(), 2)
        assert store.take_notices() == []


def test_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CHATGLM_MAGIC_HOME beats Jupyter's data directory."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path))
    assert Store.default_path() == tmp_path / "history.sqlite"
    monkeypatch.delenv("CHATGLM_MAGIC_HOME")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    assert Store.default_path() == tmp_path / "data" / "chatglm_magic" / "history.sqlite"


@pytest.mark.parametrize("name", ["JUPYTER_DATA_DIR", "XDG_DATA_HOME", "HOME"])
def test_the_default_place_is_the_same_without_jupyter(name: str, tmp_path: Path) -> None:
    """Where jupyter_core is not installed, its rule is followed."""
    code = (
        "import os, sys\n"
        "os.environ.pop('CHATGLM_MAGIC_HOME', None)\n"
        "for name in ('JUPYTER_DATA_DIR', 'XDG_DATA_HOME'): os.environ.pop(name, None)\n"
        "os.environ[sys.argv[1]] = sys.argv[2]\n"
        "from chatglm_magic.store import Store\n"
        "print(Store.default_path())\n"
        "sys.modules['jupyter_core.paths'] = None\n"
        "print(Store.default_path())\n"
    )
    with_jupyter, without = run_code(code, name, tmp_path).splitlines()
    assert with_jupyter == without and without.startswith(str(tmp_path))


def make_some(store: Store) -> None:
    """Five turns, each first in another order; the third has no figures."""
    figures = [(3, 0.5, 0.9, 30), (1, 0.2, 0.7, 10), (None,) * 4, (2, 0.9, 0.1, 50), (5, 0.1, 0.5, 20)]
    for at, (duration, temperature, top_p, tokens) in enumerate(figures):
        asked = {"temperature": temperature, "top_p": top_p} if duration else {}
        created = f"2025-06-0{5 - at}T12:00:00+00:00"
        usage = {"completion_tokens": tokens} if tokens else {}
        made = make_turn(str(at), asked=asked, usage=usage, duration=duration, created=created)
        store.put(replace(made, conversation=f"{at % 2:012x}"), 10 - at)


ORDERED = {
    "position": "01234",
    "newest": "43210",
    "created": "43210",
    "duration": "13042",
    "tokens": "14032",
    "temperature": "41032",
    "top_p": "34102",
}


@pytest.mark.parametrize("text", [None, "a question"])
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_and_its_reverse(order: str, text: str | None, tmp_path: Path) -> None:
    """All turns, a conversation's and a search's come in each order; what has no figure comes last both ways."""
    with open_store(tmp_path / "h.sqlite") as store:
        make_some(store)
        there = ORDERED[order]
        back = there[::-1] if order in ("position", "newest", "created") else there[:-1][::-1] + there[-1]
        even = [number for number in there if number in "024"]
        if order == "position":
            even.reverse()  # the places in the conversation were given backwards
        query = Query(text=text, order=order)  # type: ignore[arg-type]
        assert list_prompts(store, query) == list(there)
        assert list_prompts(store, replace(query, reverse=True)) == list(back)
        assert list_prompts(store, replace(query, conversation="0" * 12)) == even
        ids = tuple(row.turn.id for row in store.find(Query()))
        assert list_prompts(store, replace(query, ids=ids)) == list(there)
        pages = [store.find(query, offset=at, limit=2) for at in (0, 2, 4, 6)]
        assert [[row.turn.prompt for row in page] for page in pages] == [
            [*there[:2]],
            [*there[2:4]],
            [there[4]],
            [],
        ]


def test_what_has_no_time_comes_last(tmp_path: Path) -> None:
    """A turn whose time can't be read stands at the end of the order of times, both ways, in no span of them."""
    with open_store(tmp_path / "h.sqlite") as store:
        for at, created in enumerate(("soon", "2025-06-02", "2025-06-01", "")):
            store.put(make_turn(f"{at}", created=created), at)
        assert list_prompts(store, Query(order="created")) == ["2", "1", "0", "3"]
        assert list_prompts(store, Query(order="created", reverse=True)) == ["1", "2", "3", "0"]
        assert list_prompts(store, Query(since="1970-01-02")) == ["1", "2"]


def test_places_that_are_equal_are_ordered_by_number(tmp_path: Path) -> None:
    """Two turns of one place stand in the order of asking, backwards in the reverse."""
    with open_store(tmp_path / "h.sqlite") as store:
        for name in "abc":
            store.put(make_turn(name), 0)
        assert list_prompts(store, Query(conversation=CONVERSATION)) == ["a", "b", "c"]
        assert list_prompts(store, Query(conversation=CONVERSATION, reverse=True)) == ["c", "b", "a"]


@pytest.mark.row("F11")
def test_the_clock_decides_nothing(tmp_path: Path) -> None:
    """A clock that went back, equal times and another time zone leave the order of asking as it is."""
    times = ["2025-06-01T12:00:00+08:00", "2025-06-01T12:00:00+08:00", "2024-01-01T00:00:00+00:00", "", "no time"]
    with open_store(tmp_path / "h.sqlite") as store:
        for at, created in enumerate(times):
            store.put(make_turn(str(at), created=created), at)
        assert list_prompts(store) == list("01234")
        assert list_prompts(store, Query(order="newest")) == list("43210")
        assert list_prompts(store, Query(conversation=CONVERSATION)) == list("01234")
        assert list_prompts(store, Query(text="question", order="newest")) == list("43210")
        store.put(make_turn("other", conversation="0" * 12, created="1999-01-01"), 0)
        assert [found.id for found in store.conversations()] == ["0" * 12, CONVERSATION]


def test_filters(tmp_path: Path) -> None:
    """Each condition by itself, both ends of a range included, and several of them together."""
    with open_store(tmp_path / "h.sqlite") as store:
        make_some(store)
        store.put(make_turn("x", model="glm-4", status="error", kind="sweep", sent={"max_tokens": 7}), 9)

        def found(**conditions: object) -> str:
            return "".join(list_prompts(store, Query(**conditions)))  # type: ignore[arg-type]

        assert found(model="glm-4") == found(status="error") == found(kind="sweep") == "x"
        assert found(max_token=(7, 7)) == "x" and found(max_token=(8, None)) == ""
        assert found(temperature=(0.2, 0.5)) == "01" and found(temperature=(None, 0.2)) == "14"
        assert found(top_p=(0.7, None)) == "01" and found(top_p=(None, None)) == "01234x"
        assert found(since="2025-06-03", until="2025-06-04T12:00+00:00") == "12"
        assert found(since=datetime(2025, 6, 4, 13, tzinfo=UTC)) == "0"
        assert found(conversation="0" * 12, temperature=(0.4, None), status="complete") == "0"
        assert found(ids=()) == "" and found(ids=("no such id",)) == ""
        for conditions in ({"model": "glm-4"}, {"temperature": (0.2, 0.5)}, {"text": "question", "kind": "chat"}):
            query = Query(**conditions)  # type: ignore[arg-type]
            assert store.count(query) == len(store.find(query)) > 0


def test_a_date_alone_is_the_whole_day_in_local_time(tmp_path: Path) -> None:
    """``until`` a date takes that day's last minute with it; a time without a zone is the local one."""
    with open_store(tmp_path / "h.sqlite") as store:
        late = datetime(2025, 6, 1, 23, 59).astimezone()
        store.put(make_turn("late", created=late.isoformat()), 0)
        store.put(make_turn("next", created=(late + timedelta(minutes=1)).isoformat()), 1)
        assert list_prompts(store, Query(until="2025-06-01")) == ["late"]
        assert list_prompts(store, Query(since="2025-06-02")) == ["next"]
        assert list_prompts(store, Query(until="2025-06-01T23:58")) == []


@pytest.mark.parametrize(
    "conditions", [{"since": "yesterday"}, {"until": "2025-13-01"}, {"order": "size"}, {"temperature": (1,)}]
)
def test_a_condition_that_makes_no_sense_is_one_line(conditions: dict[str, object]) -> None:
    """It is refused where it is written, with an example of what is right."""
    with pytest.raises(ParameterError) as caught:
        Query(**conditions)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_conversations_are_listed_newest_first(tmp_path: Path) -> None:
    """A conversation has its first prompt as a title of one line, its count and its times; models likewise."""
    with open_store(tmp_path / "h.sqlite") as store:
        for at in range(45):
            name = f"{at % 15:012x}"
            store.put(
                make_turn(f"第{at}问\n" + "长" * 99, conversation=name, model=f"m{at % 4}", created=str(at)),
                at // 15,
            )
        first, *others = store.conversations()
        assert first.id == f"{14:012x}" and first.turns == 3 and (first.created, first.last) == ("14", "44")
        assert first.title.startswith("第14问 长长") and len(first.title) == 80 and first.title.endswith("…")
        assert [other.id for other in others] == [f"{n:012x}" for n in range(13, -1, -1)]
        assert store.conversations(offset=13, limit=5) == others[12:]
        assert store.models() == ["m0", "m3", "m2", "m1"]


def test_at_most_fifty_models(tmp_path: Path) -> None:
    """Of many models the last used are told, without those that never had a name."""
    with open_store(tmp_path / "h.sqlite") as store:
        store.add([(make_turn(model=None if at % 2 else f"m{at:03}"), at) for at in range(200)])
        assert store.models() == [f"m{at:03}" for at in range(198, 98, -2)]


def test_deleting_takes_turns_out_everywhere(tmp_path: Path) -> None:
    """A deleted turn is in no list and no search; ids that do not exist change nothing."""
    with open_store(tmp_path / "h.sqlite") as store:
        gone, kept = make_turn("gone 爱情"), make_turn("kept 爱情")
        for at, one in enumerate((gone, kept)):
            store.put(one, at)
        assert store.delete([gone.id, "no such id"]) == 1
        assert list_prompts(store) == list_prompts(store, Query(text="爱情")) == ["kept 爱情"]
        assert store.delete([gone.id]) == 0 and store.delete([]) == 0
        store.put(gone, 0)
        assert list_prompts(store, Query(text="爱情", order="newest")) == ["gone 爱情", "kept 爱情"]


def test_import_is_all_or_nothing(tmp_path: Path) -> None:
    """Turns whose ids are there are skipped and left as they are; one bad turn leaves none of them behind."""
    with open_store(tmp_path / "h.sqlite") as store:
        old = make_turn("old")
        store.put(old, 0)
        new = make_turn("new")
        assert store.add([(replace(old, prompt="changed"), 5), (new, 1), (new, 2)]) == 1
        assert list_prompts(store) == ["old", "new"]
        with pytest.raises(ChatGLMError, match="can't be changed") as caught:
            store.add([(make_turn("good"), 2), (make_turn("bad", status=None), 3)])
        assert "\n" not in str(caught.value) and list_prompts(store) == ["old", "new"]


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    """SQLite's application_id and user_version are those of this package."""
    with open_store(tmp_path / "h.sqlite") as store:
        store.put(make_turn(), 0)
    db = sqlite3.connect(tmp_path / "h.sqlite")
    assert db.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    assert db.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    db.close()


@pytest.mark.row("D8")
def test_many_threads_write_at_once(tmp_path: Path) -> None:
    """Eight threads with one store lose no turn, and each finds its own in the order it wrote them."""
    failed = []

    def write(store: Store, name: int) -> None:
        try:
            for at in range(50):
                store.put(make_turn(f"{at}", conversation=f"{name:012x}"), at)
                store.find(Query(conversation=f"{name:012x}", text=str(at)))
        except BaseException as error:
            failed.append(error)

    with open_store(tmp_path / "h.sqlite") as store:
        threads = [threading.Thread(target=write, args=(store, name)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == [] and store.count(Query()) == 400 and store.unsaved == 0
        for name in range(8):
            assert list_prompts(store, Query(conversation=f"{name:012x}")) == [str(at) for at in range(50)]


FORKS = """
import os, sys, threading
from pathlib import Path
from chatglm_magic.store import Query, Store
from tests.support.stores import make_turn as turn

store = Store(Path(sys.argv[1]))
store.put(turn("before"), 0)
stop = threading.Event()
def busy():
    while not stop.is_set():
        store.put(turn("busy"), 1)
worker = threading.Thread(target=busy, daemon=True)
worker.start()
for number in range(20):
    child = os.fork()
    if child == 0:
        right = False
        try:
            store.put(turn(f"child {number}"), 2)
            right = "before" in [row.turn.prompt for row in store.find(Query())]
            store.close()  # which waits for the parent's lock longer than a turn does
            right = right and store.unsaved == 0
        finally:
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.put(turn(f"parent {number}"), 3)
stop.set()
worker.join()
store.close()
print(store.unsaved)
"""


@pytest.mark.row("D21")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_opens_a_connection_of_its_own(tmp_path: Path) -> None:
    """Children forked while a thread writes add their turns; nothing of either side is lost or broken."""
    code = "import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n" + FORKS
    assert run_code(code, tmp_path / "h.sqlite") == "0\n"
    with open_store(tmp_path / "h.sqlite") as store:
        found = list_prompts(store)
        for number in range(20):
            assert found.count(f"child {number}") == found.count(f"parent {number}") == 1


LOSES = """
import os, sys
from pathlib import Path
from chatglm_magic.store import Store
from tests.support.stores import make_turn as turn

place = Path(sys.argv[1])
place.write_text("in the way")
store = Store(place / "h.sqlite")
store.put(turn("waits"), 0)
assert store.unsaved == 1
child = os.fork()
if child == 0:
    os._exit(store.unsaved)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), store.unsaved)
place.unlink()
"""


@pytest.mark.row("D21")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_what_waits_is_the_parents_alone(tmp_path: Path) -> None:
    """A child does not save its parent's waiting turns a second time; the parent does at its end."""
    assert run_code(LOSES, tmp_path / "place") == "0 1\n"
    with open_store(tmp_path / "place" / "h.sqlite") as store:
        assert list_prompts(store) == ["waits"]


def test_a_clock_that_is_set_back_changes_no_order(tmp_path: Path) -> None:
    """Turns stand in the order in which they were asked, and the conversation used last is first, whatever their
    times say; only who sorts by time sees them in that order."""
    with open_store(tmp_path / "h.sqlite") as store:
        for at, day in enumerate((9, 5, 7, 1)):
            created = f"2026-05-0{day}T12:00:00+00:00"
            store.put(make_turn(f"day {day}", created=created, conversation=f"{at // 2:012x}"), at)
        assert list_prompts(store, Query(order="newest")) == ["day 1", "day 7", "day 5", "day 9"]
        assert list_prompts(store, Query(conversation=f"{0:012x}")) == ["day 9", "day 5"]
        assert [summary.id for summary in store.conversations()] == [f"{1:012x}", f"{0:012x}"]
        assert list_prompts(store, Query(order="created")) == ["day 1", "day 5", "day 7", "day 9"]
