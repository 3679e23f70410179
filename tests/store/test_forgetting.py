"""What is forgotten leaves no trace, or people are told (FAULTS.md, row F12)."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatglm_magic.errors import ChatGLMError
from chatglm_magic.store import Query

from ..support.stores import CONVERSATION, hold_lock, is_sound, make_turn, open_store, start_code

SECRET = "绝密的爱情 topsecretword"


def traces(path: Path) -> dict[str, list[str]]:
    """Return which files hold which words of the secret, as UTF-8 bytes."""
    words = ("绝密的爱情", "topsecretword", "绝", "密")
    files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    return {name: found for name, data in files.items() if (found := [w for w in words if w.encode() in data])}


@pytest.mark.row("F12")
@pytest.mark.parametrize("how", ["one conversation", "everything", "delete"])
def test_forgotten_turns_leave_no_trace(how: str, tmp_path: Path) -> None:
    """Their text and their words are in no file: not in free pages, not in the index, not in the WAL."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        other = [make_turn(f"kept {at}", "some answer " * 50, conversation="0" * 12) for at in range(200)]
        store.add([(one, at) for at, one in enumerate(other)])
        secret = [make_turn(SECRET, SECRET * 200) for _ in range(20)]
        for at, one in enumerate(secret):
            store.put(one, at)
        assert traces(path)  # the control: it can be read in the files
        if how == "delete":
            assert store.delete([one.id for one in secret]) == 20
        else:
            assert store.forget(CONVERSATION if how == "one conversation" else None) in (20, 220)
        assert traces(path) == {} and store.take_notices()[1:] == []
        assert store.count(Query(text="绝密")) == 0
        left = 0 if how == "everything" else 200
        assert store.count(Query()) == left and store.count(Query(text="kept")) == left
        if how == "everything":
            assert path.stat().st_size < 100_000
    assert is_sound(path)


READS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN")
print(db.execute("SELECT count(*) FROM turns").fetchone()[0], flush=True)
sys.stdin.readline()
"""


@pytest.mark.row("F12")
def test_who_keeps_the_log_alive_is_told(tmp_path: Path) -> None:
    """If another program reads the file, the rows are gone but the WAL can't be emptied: that is said, and a
    second try after it has ended empties it."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn(SECRET, SECRET), 0)
        store.take_notices()
        with start_code(READS, path) as reader:
            assert reader.stdout is not None and reader.stdout.readline() == "1\n"
            assert store.forget() == 1 and store.count(Query()) == 0
            (told,) = store.take_notices()
            assert "--forget" in told and "another" in told.lower()
        assert store.forget() == 0 and store.take_notices() == [] and traces(path) == {}


@pytest.mark.row("F12")
def test_forgetting_that_fails_says_so(tmp_path: Path) -> None:
    """Nobody is told that turns are forgotten when another process holds the file."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        made = make_turn(SECRET)
        store.put(made, 0)
        with hold_lock(path):
            for act in (store.forget, lambda: store.delete([made.id])):
                with pytest.raises(ChatGLMError, match="can't be changed now"):
                    act()
        assert store.count(Query()) == 1 and store.forget() == 1
