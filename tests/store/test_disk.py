"""A disk that several write to, that is locked, full, or not there (FAULTS.md, rows F1 and F2)."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from chatglm_magic.errors import ChatGLMError
from chatglm_magic.store import Query, pending

from ..support.clock import assert_within
from ..support.disks import mount_disk
from ..support.scale import choose_count
from ..support.stores import (
    CONVERSATION,
    hold_lock,
    is_sound,
    list_prompts,
    make_turn,
    open_store,
    run_code,
    start_code,
)

TURNS = choose_count(500, 5000)
"""So many turns each of two processes writes."""

WRITES = """
import sys
from pathlib import Path
from chatglm_magic.store import Store
from tests.support.stores import make_turn as turn

store = Store(Path(sys.argv[1]))
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    store.put(turn(f"{sys.argv[2]} {number}", conversation=sys.argv[2] * 12), number)
store.close()
print(store.unsaved)
"""


@pytest.mark.row("F1")
def test_two_processes_write_into_one_store(tmp_path: Path) -> None:
    """Two kernels that write into one store at full speed lose no turn, and none of their order."""
    path = tmp_path / "h.sqlite"
    with start_code(WRITES, path, "a", TURNS) as one, start_code(WRITES, path, "b", TURNS) as other:
        for writer in (one, other):
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        assert [writer.communicate(timeout=100)[0] for writer in (one, other)] == ["0\n", "0\n"]
    assert is_sound(path)
    with open_store(path) as store:
        assert store.count(Query()) == 2 * TURNS
        for name in "ab":
            assert list_prompts(store, Query(conversation=name * 12)) == [
                f"{name} {number}" for number in range(TURNS)
            ]


@pytest.mark.row("F2")
def test_a_locked_file_holds_no_answer_up(tmp_path: Path) -> None:
    """While another process holds the file, putting returns within a second, and not each time after that; the
    turns are found meanwhile, people are told once, and a later turn saves them all in their order."""
    path = tmp_path / "h.sqlite"
    with open_store(path, retry_after=600) as store:
        store.put(make_turn("0"), 0)
        store.take_notices()
        with hold_lock(path) as release:
            began = time.monotonic()
            store.put(make_turn("1"), 1)
            first = time.monotonic() - began
            for number in range(2, 20):
                store.put(make_turn(str(number)), number)
            assert_within(first, 1)
            assert_within(time.monotonic() - began, 1.5)
            assert store.unsaved == 19 and list_prompts(store) == [str(number) for number in range(20)]
            (told,) = store.take_notices()
            assert "locked" in told and str(path) in told and "memory" in told
            store.retry_after = 0
            store.put(make_turn("20"), 20)  # it is still held: tried again, in vain, and nobody is told twice
            assert store.unsaved == 20 and store.take_notices() == []
            release()
        store.put(make_turn("21"), 21)
        assert store.unsaved == 0 and store.take_notices() == []
        rows = store.find(Query())
        assert [row.turn.prompt for row in rows] == [str(number) for number in range(22)]
        assert [row.number for row in rows] == list(range(1, 23))


@pytest.mark.row("F2")
def test_a_place_that_can_not_be_written_keeps_turns_in_memory(tmp_path: Path) -> None:
    """Where the folder can't be made, everything is found, searched, sorted and deleted in memory alone; once it
    can, all of it is saved."""
    place = tmp_path / "place"
    place.write_text("a file is in the way")
    with open_store(place / "h.sqlite") as store:
        made = [make_turn(f"爱情 {at}", duration=-float(at), model=f"m{at}") for at in range(5)]
        for at, one in enumerate(made):
            store.put(one, at)
        (told,) = store.take_notices()
        assert "can't be saved" in told and "Not a directory" in told and "\n" not in told
        assert list_prompts(store) == [one.prompt for one in made] and store.count(Query(text="爱情")) == 5
        assert list_prompts(store, Query(order="duration")) == [one.prompt for one in reversed(made)]
        assert store.models() == ["m4", "m3", "m2", "m1", "m0"] and len(store.conversations()) == 1
        assert store.delete([made[0].id]) == 1 and not store.flush() and store.unsaved == 4
        with pytest.raises(ChatGLMError, match="Not a directory"):
            store.add([(make_turn(), 0)])
        place.unlink()
        assert store.flush() and store.unsaved == 0
        assert list_prompts(store, Query(text="爱情")) == [one.prompt for one in made[1:]]


@pytest.mark.row("F2")
def test_what_waits_and_what_is_saved_are_found_as_one(tmp_path: Path) -> None:
    """Pages, counts, conversations and deletions go over both, and a turn that stands in both counts once."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        old = [make_turn(f"old {at}", model="m", duration=float(at)) for at in range(10)]
        store.add([(one, at) for at, one in enumerate(old)])
        with hold_lock(path):
            new = [make_turn(f"new {at}", model="n", duration=at + 0.5) for at in range(10)]
            for at, one in enumerate(new):
                store.put(one, 10 + at)
            changed = make_turn("changed", model="n", duration=99.0, id=old[3].id)
            store.put(changed, 3)
            names = [one.prompt for one in (*old[:3], changed, *old[4:], *new)]
            in_place = Query(conversation=CONVERSATION)
            assert list_prompts(store, in_place) == names and store.count(in_place) == len(names)
            pages = [store.find(in_place, offset=at, limit=7) for at in (0, 7, 14, 21)]
            assert [row.turn.prompt for page in pages for row in page] == names
            by_duration = list_prompts(store, Query(order="duration", reverse=True))
            assert by_duration[:4] == ["changed", "new 9", "old 9", "new 8"] and len(by_duration) == 20
            assert list_prompts(store, Query(text="old 3")) == [] and store.count(Query(model="n")) == 11
            (summary,) = store.conversations()
            assert summary.turns == 20 and summary.title == "old 0" and store.models() == ["n", "m"]
            assert (
                store.rows([row.number for row in store.find(Query(order="newest"))])[0].turn.prompt == "changed"
            )
        assert store.delete([old[0].id, old[3].id, new[0].id]) == 3 and store.count(Query()) == 17
        assert store.forget(CONVERSATION) == 17 and store.count(Query()) == store.unsaved == 0


@pytest.mark.row("F2")
def test_a_full_disk(tmp_path: Path) -> None:
    """On a real disk that is full, turns stay in memory, the file stays sound, and they are saved once there is
    room again."""
    with mount_disk(tmp_path / "disk", "4m") as disk:
        filler = disk / "filler"
        with open_store(disk / "h.sqlite") as store:
            store.put(make_turn("saved"), 0)
            store.take_notices()
            with pytest.raises(OSError, match="No space left"):  # the control
                filler.write_bytes(b"x" * 2**22)
            for at in range(1, 6):
                store.put(make_turn(f"{at}", "爱" * 20_000), at)
            (told,) = store.take_notices()
            assert "full" in told and store.unsaved > 0
            assert list_prompts(store) == ["saved", "1", "2", "3", "4", "5"]
            filler.unlink()
            assert store.flush() and store.unsaved == 0
            assert list_prompts(store) == ["saved", "1", "2", "3", "4", "5"]
        assert is_sound(disk / "h.sqlite")


QUOTA = """
import resource, sys
from pathlib import Path
from chatglm_magic.store import Query, Store
from tests.support.stores import make_turn as turn

store = Store(Path(sys.argv[1]))
store.put(turn("saved"), 0)
store.take_notices()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
for at in range(1, 6):
    store.put(turn(f"{at}", "爱" * 60_000), at)
assert store.unsaved and len(store.take_notices()) == 1 and store.count(Query()) == 6
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert store.flush()
store.close()
print(store.unsaved)
"""


@pytest.mark.row("F2")
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_quota(tmp_path: Path) -> None:
    """Where files may not grow any more, turns stay in memory until they may."""
    assert run_code(QUOTA, tmp_path / "h.sqlite") == "0\n"
    assert is_sound(tmp_path / "h.sqlite")
    with open_store(tmp_path / "h.sqlite") as store:
        assert list_prompts(store) == ["saved", "1", "2", "3", "4", "5"]


AT_EXIT = """
import sys
from pathlib import Path
from chatglm_magic.store import Store
from tests.support.stores import make_turn as turn

place = Path(sys.argv[1])
place.write_text("in the way")
store = Store(place / "h.sqlite")
store.put(turn("waits"), 0)
place.unlink()
"""


@pytest.mark.row("F2")
def test_what_waits_is_saved_when_python_ends(tmp_path: Path) -> None:
    """A process that never had another turn saves the waiting ones at its end."""
    run_code(AT_EXIT, tmp_path / "place")
    with open_store(tmp_path / "place" / "h.sqlite") as store:
        assert list_prompts(store) == ["waits"]


@pytest.mark.row("F2")
def test_what_waits_when_the_store_is_closed_is_saved_after_the_others(tmp_path: Path) -> None:
    """A kernel that ends while another process holds the file for a moment loses nothing."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn("0"), 0)
    with open_store(path) as store, hold_lock(path) as release:
        store.put(make_turn("1"), 1)
        assert store.unsaved == 1
        timer = threading.Timer(0.5, release)
        timer.start()
        store.close()
        timer.join()
        assert store.unsaved == 0
    with open_store(path) as store:
        assert list_prompts(store) == ["0", "1"]


@pytest.mark.row("F2")
def test_a_file_that_is_held_for_ever_does_not_hold_the_end_up(tmp_path: Path) -> None:
    """Closing waits five seconds for a lock, and not for a fault that will not pass."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn("0"), 0)
        with hold_lock(path):
            store.put(make_turn("1"), 1)
            began = time.monotonic()
            store.close()
            took = time.monotonic() - began
            assert took >= pending.CLOSE_TIMEOUT_SECONDS and store.unsaved == 1
            assert_within(took, pending.CLOSE_TIMEOUT_SECONDS + 2)
