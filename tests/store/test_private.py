"""Files that nobody else may read, and links that are not followed (rules S28 and S32)."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest

from chatglm_magic.store import Query
from chatglm_magic.store.database import Database
from chatglm_magic.values import Turn

from ..support.stores import fill_store, list_prompts, make_turn, open_store, start_code


def modes(folder: Path) -> dict[str, int]:
    """Return the permissions of a folder and of what is in it."""
    return {path.name: path.stat().st_mode & 0o777 for path in (folder, *folder.rglob("*"))}


@pytest.fixture
def no_umask() -> object:
    """Files are made with all the permissions that are asked for."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.row("S28")
@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_files_and_folders_are_their_owners_alone(tmp_path: Path, no_umask: object) -> None:
    """Without a umask SQLite's own files can be read by all (the control); ours, its WAL and its folders not."""
    db = sqlite3.connect(tmp_path / "plain.sqlite")
    db.execute("CREATE TABLE t (a)")
    db.close()
    assert (tmp_path / "plain.sqlite").stat().st_mode & 0o077
    folder = tmp_path / "a"
    with open_store(folder / "b" / "c" / "h.sqlite") as store:
        store.put(make_turn(), 0)
        found = modes(folder)
        assert {"a", "b", "c", "h.sqlite", "h.sqlite-wal", "h.sqlite-shm"} == set(found)
        assert all(mode == (0o700 if len(name) == 1 else 0o600) for name, mode in found.items())
    database = Database(folder / "b" / "c" / "h.sqlite", "delete")
    with database.writing() as db:
        db.execute("DELETE FROM turns")
        assert modes(folder)["h.sqlite-journal"] == 0o600
    database.close()


@pytest.mark.row("S28")
@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path, no_umask: object) -> None:
    """An older file with wide permissions gets narrow ones when it is opened; a folder that was there stays."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn(), 0)
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    with open_store(path) as store:
        assert store.count(Query()) == 1
        assert modes(tmp_path) == {tmp_path.name: 0o755} | dict.fromkeys(
            ("h.sqlite", "h.sqlite-wal", "h.sqlite-shm"), 0o600
        )


def put_and_tell(path: Path) -> list[str]:
    """Put a turn into a store of that file; return what people are told."""
    with open_store(path) as store:
        store.put(make_turn("mine"), 0)
        return store.take_notices()


@pytest.mark.row("X8")
@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
@pytest.mark.parametrize("name", ["h.sqlite", "h.sqlite-wal", "h.sqlite-journal", "h.sqlite-shm"])
@pytest.mark.parametrize("strange", ["open to all", "another user's"])
def test_a_file_that_others_could_have_written_is_refused(
    name: str, strange: str, tmp_path: Path, no_umask: object
) -> None:
    """Nothing is written to it and nothing read; people are told whose it is and what to do. The control is a file
    of one's own."""
    path = tmp_path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn("before"), 0)
    assert "kept in memory" not in " ".join(put_and_tell(path))  # the control
    placed = tmp_path / name
    placed.touch()
    if strange == "open to all":
        placed.chmod(0o666)
    elif os.geteuid() == 0:
        os.chown(placed, 65534, 65534)
    else:
        pytest.skip("only root can give a file away")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    told = " ".join(put_and_tell(path))
    assert f"{placed}" in told and "kept in memory" in told
    assert "chmod 600" in told if strange == "open to all" else "belongs to another user" in told
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.row("S28")
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_temporary_copy_of_forgetting_is_its_owners_alone(tmp_path: Path, no_umask: object) -> None:
    """What SQLite writes elsewhere while it forgets can be read by nobody else, and has no name."""
    path = tmp_path / "h.sqlite"
    fill_store(path, 60_000)
    code = (
        "import os, sys\n"
        "os.umask(0)\n"
        "from pathlib import Path\n"
        "from chatglm_magic.store import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "from tests.support.stores import make_turn\n"
        "store.put(make_turn('x', conversation='0' * 12), 0)\n"
        "print('begin', flush=True)\n"
        "print(store.forget('0' * 12), flush=True)\n"
    )
    seen: dict[str, int] = {}
    with start_code(code, path) as process:
        assert process.stdout is not None and process.stdout.readline() == "begin\n"
        while process.poll() is None:
            for number in Path(f"/proc/{process.pid}/fd").glob("*"):
                try:
                    name, found = os.readlink(number), number.stat()
                except OSError:
                    continue
                if "etilqs" in name:
                    seen[name] = found.st_mode & 0o777
        assert process.stdout.read() == "1\n"
    assert seen and all(name.endswith("(deleted)") and mode == 0o600 for name, mode in seen.items())


@pytest.mark.row("S32")
@pytest.mark.parametrize("name", ["h.sqlite", "h.sqlite-wal", "h.sqlite-shm", "h.sqlite-journal"])
def test_links_are_not_followed(name: str, tmp_path: Path) -> None:
    """SQLite writes through a link (the control); the store leaves it and what it leads to as they are."""
    elsewhere = tmp_path / "elsewhere"
    control = tmp_path / "control.sqlite"
    control.symlink_to(elsewhere)
    db = sqlite3.connect(control)
    db.execute("CREATE TABLE t (a)")
    db.close()
    assert elsewhere.stat().st_size > 0
    path = tmp_path / "h.sqlite"
    if name != "h.sqlite":
        with open_store(path) as store:
            store.put(make_turn("before"), 0)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.with_name(name).symlink_to(victim)
    with open_store(path) as store:
        store.put(make_turn("after"), 1)
        (told,) = store.take_notices()
        assert "symbolic link" in told and store.unsaved == 1 and list_prompts(store)[-1] == "after"
        assert victim.read_text() == "precious" and path.with_name(name).is_symlink()
        path.with_name(name).unlink()


@pytest.mark.row("S32")
def test_a_folder_or_a_device_is_no_store(tmp_path: Path) -> None:
    """What isn't a regular file is told, and not opened."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with open_store(path) as store:
            store.put(Turn("x"), 0)
            assert "can't be saved" in store.take_notices()[0] and store.unsaved == 1
