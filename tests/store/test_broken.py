"""A file that is broken, newer, somebody else's, gone, or on a network (FAULTS.md, rows F3 and F4)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic.errors import ChatGLMError
from chatglm_magic.store import Query, Store, schema
from chatglm_magic.store.database import Database
from chatglm_magic.store.places import file_identity, journal_mode_for, move_aside

from ..support.stores import is_sound, list_prompts, make_turn, open_store, run_code, start_code

BAD = {
    "text": b"this is no database\n" * 1000,
    "short": b"x",
    "short text": b"my notes, of less than a page",
    "zeros": bytes(4096),
    "a header without a body": b"SQLite format 3\0" + bytes(84),
}


@pytest.mark.row("F3")
@pytest.mark.parametrize("name", BAD)
def test_a_file_that_is_none_of_sqlites_is_moved_aside(name: str, tmp_path: Path) -> None:
    """Its bytes are kept under a name that did not exist, people are told both, and a new file takes the turn."""
    path = tmp_path / "h.sqlite"
    path.write_bytes(BAD[name])
    (tmp_path / "h.sqlite.corrupt-1").write_text("an older one")
    with open_store(path) as store:
        store.put(make_turn("new"), 0)
        moved, kept = store.take_notices()
        assert "h.sqlite.corrupt-2" in moved and str(path) in kept
        assert list_prompts(store) == ["new"] and store.unsaved == 0
    assert (tmp_path / "h.sqlite.corrupt-2").read_bytes() == BAD[name]
    assert (tmp_path / "h.sqlite.corrupt-1").read_text() == "an older one"
    assert is_sound(path)
    with open_store(path) as store:
        assert list_prompts(store) == ["new"] and store.take_notices() == []


def broken(path: Path, store: Store) -> None:
    """Fill a store, then write noise over all of its file but the header, while it is closed."""
    store.add([(make_turn(f"爱情 {at}", "answer " * 100), at) for at in range(300)])
    store.close()
    size = path.stat().st_size
    noise = bytes((at * 7) % 251 for at in range(size - 4096))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(noise)


@pytest.mark.row("F3")
def test_damage_in_the_middle_is_moved_aside_when_it_is_met(tmp_path: Path) -> None:
    """A database whose pages are noise is kept under another name, its WAL with it, and a new one is begun."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        broken(path, store)
        damaged = path.read_bytes()
        store.take_notices()
        store.put(make_turn("new"), 0)
        assert any("corrupt-1" in told for told in store.take_notices())
        assert list_prompts(store) == ["new"] and store.unsaved == 0
    assert (tmp_path / "h.sqlite.corrupt-1").read_bytes() == damaged


@pytest.mark.row("F3")
def test_reading_meets_damage_too(tmp_path: Path) -> None:
    """A list of turns that meets a damaged page moves the file aside, and is empty."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        broken(path, store)
    with open_store(path) as store:
        assert store.find(Query(text="爱情")) == [] and store.count(Query()) == 0
        assert any("corrupt-1" in told for told in store.take_notices())


@pytest.mark.row("F3")
def test_a_file_that_breaks_again_and_again_is_no_loop(tmp_path: Path) -> None:
    """One store moves one file aside; after that its turns wait in memory, and people are told."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        for seed in range(3):
            store.close()
            path.write_bytes(b"no database " * 1000)
            store.put(make_turn(f"new {seed}"), seed)
        assert [file.name for file in tmp_path.glob("*corrupt*")] == ["h.sqlite.corrupt-1"]
        assert store.unsaved == 2 and any("can't be saved" in told for told in store.take_notices())
        assert list_prompts(store)[-2:] == ["new 1", "new 2"]


@pytest.mark.row("F3")
def test_of_two_kernels_one_moves_the_file(tmp_path: Path) -> None:
    """Who comes second finds another file there, and leaves that one in its place."""
    path = tmp_path / "h.sqlite"
    path.write_bytes(BAD["text"])
    which = file_identity(path)
    assert which is not None
    assert move_aside(path, which) == tmp_path / "h.sqlite.corrupt-1"
    path.write_bytes(b"a new one, made by the first")
    assert move_aside(path, which) is None
    assert path.read_bytes() == b"a new one, made by the first"


@pytest.mark.row("F3")
@pytest.mark.skipif(sys.platform == "win32", reason="nobody moves a file there that is open")
def test_moving_aside_is_done_by_one_at_a_time(tmp_path: Path) -> None:
    """While another holds the folder for that, a file stays where it is; who waited then looks again."""
    import fcntl

    path = tmp_path / "h.sqlite"
    path.write_bytes(BAD["text"])
    which = file_identity(path)
    assert which is not None
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    moved: list[Path | None] = []
    waiting = threading.Thread(target=lambda: moved.append(move_aside(path, which)))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive() and path.exists()
    path.rename(tmp_path / "h.sqlite.corrupt-1")
    path.write_bytes(b"a new one")
    os.close(folder)
    waiting.join(10)
    assert moved == [None] and path.read_bytes() == b"a new one"


CORRUPT_AT_ONCE = """
import sys
from pathlib import Path
from chatglm_magic.store import Store
from tests.support.stores import make_turn as turn

store = Store(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
store.put(turn(sys.argv[2]), 0)
store.close()
print(store.unsaved)
"""


@pytest.mark.row("F3")
def test_five_kernels_meet_a_broken_file_at_once(tmp_path: Path) -> None:
    """The broken file is kept once, and all five turns are in the one new file."""
    path = tmp_path / "h.sqlite"
    path.write_bytes(BAD["text"])
    with ExitStack() as stack:
        kernels = [stack.enter_context(start_code(CORRUPT_AT_ONCE, path, name)) for name in "abcde"]
        for kernel in kernels:
            assert kernel.stdout is not None and kernel.stdout.readline() == "ready\n"
        for kernel in kernels:
            assert kernel.stdin is not None
            kernel.stdin.write("go\n")
            kernel.stdin.flush()
        assert [kernel.communicate(timeout=30)[0] for kernel in kernels] == ["0\n"] * 5
    assert [file.name for file in tmp_path.glob("*corrupt*")] == ["h.sqlite.corrupt-1"]
    assert (tmp_path / "h.sqlite.corrupt-1").read_bytes() == BAD["text"]
    with open_store(path) as store:
        assert sorted(list_prompts(store)) == list("abcde")


@pytest.mark.row("F3")
def test_a_file_that_is_being_made_is_not_another_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kernel makes the tables between two looks at a new file: it is ours all the same."""
    path = tmp_path / "h.sqlite"
    path.touch()
    with start_code(CORRUPT_AT_ONCE, path, "other") as other:
        assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == "ready\n"

        class Slow(sqlite3.Connection):
            """A connection that lets the other kernel go on once it has read whose file this is."""

            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                found = super().execute(sql, *values)
                if sql == "PRAGMA application_id" and not other.stdin.closed:
                    other.stdin.write("go\n")
                    other.stdin.close()
                    with suppress(subprocess.TimeoutExpired):
                        other.wait(1)
                return found

        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Slow))
        with open_store(path) as store:
            store.put(make_turn("ours"), 0)
            assert other.stdin.closed and other.stdout.readline() == "0\n"
            assert store.flush() and sorted(list_prompts(store)) == ["other", "ours"] and store.unsaved == 0


def refused(path: Path) -> str:
    """Put a turn into a store that must not touch its file; return what people are told."""
    before = path.read_bytes()
    with open_store(path) as store:
        store.put(make_turn("in memory"), 0)
        (told,) = store.take_notices()
        assert not store.flush() and store.take_notices() == []
        assert list_prompts(store) == ["in memory"] and store.unsaved == 1
        with pytest.raises(ChatGLMError):
            store.add([(make_turn(), 0)])
        assert store.forget() == 1
    assert path.read_bytes() == before and "\n" not in told
    assert [file.name for file in path.parent.glob("*corrupt*")] == []
    return told


@pytest.mark.row("F3")
def test_a_newer_file_is_left_as_it_is(tmp_path: Path) -> None:
    """Turns stay in memory, not a byte of the file changes, and the message says how to get the newer version."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn("newer"), 0)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    assert "newer" in refused(path) and schema.SCHEMA_VERSION < 99


@pytest.mark.row("F3")
def test_a_newer_file_with_rows_in_its_wal_is_left_as_it_is(tmp_path: Path) -> None:
    """Not even the log that a killed kernel left is written into the file."""
    path = tmp_path / "h.sqlite"
    code = (
        "import os, sqlite3, sys\n"
        "from pathlib import Path\n"
        "from chatglm_magic.store import Store\n"
        "from tests.support.stores import make_turn as turn\n"
        "store = Store(Path(sys.argv[1]))\n"
        "store.put(turn(), 0)\n"
        "store.close()\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "db.execute('PRAGMA wal_autocheckpoint = 0')\n"
        "db.execute('PRAGMA user_version = 99')\n"
        "os._exit(0)\n"
    )
    run_code(code, path)
    log = path.with_name("h.sqlite-wal")
    before = log.read_bytes()
    assert before
    assert "newer" in refused(path) and log.read_bytes() == before


@pytest.mark.row("F3")
def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    """A file named by mistake is neither filled with our tables nor moved away."""
    path = tmp_path / "photos.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE photos (name TEXT)")
    db.commit()
    db.close()
    assert "another program" in refused(path)


@pytest.mark.row("F3")
def test_a_file_that_was_taken_away_is_made_anew(tmp_path: Path) -> None:
    """A user who deletes the file while a kernel runs loses what was in it, and not what comes after."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn("before"), 0)
        for file in tmp_path.iterdir():
            file.unlink()
        store.put(make_turn("after"), 1)
        assert list_prompts(store) == ["after"]
    with open_store(path) as store:
        assert list_prompts(store) == ["after"]


MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/me/local tmpfs rw 0 0
//server/share /mnt/with\\040blank cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
/dev/vdb /srv nfs rw 0 0
/dev/vdb /srv xfs rw 0 0
/dev/vdb /data/old xfs rw 0 0
server:/data /data nfs rw 0 0
broken
"""


@pytest.mark.row("F4")
@pytest.mark.parametrize(
    ("place", "journal"),
    [
        ("/home/me/.local/share/jupyter/h.sqlite", "delete"),
        ("/home", "delete"),
        ("/homes/h.sqlite", "wal"),
        ("/home/me/local/h.sqlite", "wal"),
        ("/mnt/with blank/h.sqlite", "delete"),
        ("/mnt/ssh/a/b/h.sqlite", "delete"),
        ("/srv/h.sqlite", "wal"),
        ("/data/old/h.sqlite", "delete"),
        ("/h.sqlite", "wal"),
    ],
)
def test_a_networks_disk_gets_no_wal(place: str, journal: str, tmp_path: Path) -> None:
    """The last mount that holds a place decides; a machine without the table of mounts has WAL."""
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)
    assert journal_mode_for(Path(place), table) == journal
    assert journal_mode_for(Path(place), tmp_path / "none") == "wal"


@pytest.mark.row("F4")
def test_without_wal_a_database_does_the_same(tmp_path: Path) -> None:
    """A file that had a WAL is turned to the other journal; nothing but the one file is left beside the turns."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn("爱情 1"), 0)
    database = Database(path, "delete")
    try:
        for at in range(2, 5):
            database.put(make_turn(f"爱情 {at}"), at)
        assert [file.name for file in tmp_path.iterdir()] == ["h.sqlite"]
        assert [number for number, _ in database.find_numbers(Query(text="爱情", order="newest"), 0, 2)] == [4, 3]
        assert database.forget(None) == (4, True)
    finally:
        database.close()
