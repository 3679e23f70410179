"""A disk that is full or may not be written to, as a store, a tape, an export and an import meet it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatglm_magic import Session
from chatglm_magic.errors import ChatGLMError, CommandError, TapeError
from chatglm_magic.store import History, Query, Store
from chatglm_magic.store.imports import read_turns

from .support.disks import mount_disk
from .support.servers import ScriptedServer, legacy
from .support.stores import is_sound, list_prompts, make_turn, open_store
from .support.tapes import make_model


class Disk:
    """A tmpfs of its own, of a quarter of a megabyte."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Take all the room that is left."""
        with pytest.raises(OSError, match="No space left"), (self.path / "filler").open("wb") as filler:
            while True:
                filler.write(b"x" * 4096)
                filler.flush()

    def free(self) -> None:
        """Give the room back."""
        (self.path / "filler").unlink()

    def protect(self) -> None:
        """Let nobody write, not even root."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (self.path / "control").write_text("x")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk of the test's own."""
    with mount_disk(tmp_path / "disk", "256k") as path:
        yield Disk(path)


def make_history(count: int = 3, size: int = 100_000) -> History:
    """Return a history in memory of turns with long answers."""
    store = Store(None)
    store.add([(make_turn(f"{at}", "爱" * size), at) for at in range(count)])
    return History(store)


@pytest.mark.parametrize("ending", ["jsonl", "md", "html", "csv"])
def test_an_export_to_a_full_disk_leaves_nothing(disk: Disk, ending: str) -> None:
    """One line says why; neither half a file nor a temporary one stays, and an older file stays as it was."""
    old = disk.path / f"out.{ending}"
    old.write_text("mine")
    with pytest.raises(CommandError, match="can't be written: No space left") as caught:
        make_history().export(old, force=True)
    assert "\n" not in str(caught.value)
    assert [file.name for file in disk.path.iterdir()] == [old.name] and old.read_text() == "mine"


def test_an_import_that_finds_no_room_takes_nothing(disk: Disk, tmp_path: Path) -> None:
    """The store says so and stays sound; with room again the same file is imported."""
    exported = make_history().export(tmp_path / "in.jsonl")
    with open_store(disk.path / "h.sqlite") as store:
        store.put(make_turn("mine"), 0)
        with pytest.raises(ChatGLMError, match="full"):
            store.add(read_turns(exported))
        assert list_prompts(store) == ["mine"]
        small = make_history(1, 10).export(tmp_path / "small.jsonl")
        assert store.add(read_turns(small)) == 1
    assert is_sound(disk.path / "h.sqlite")


def test_a_tape_on_a_full_disk_stays_whole(disk: Disk) -> None:
    """The error holds the answer's text; with room again answers are recorded as before."""
    tape = disk.path / "t.jsonl"
    with ScriptedServer(legacy(lambda body: f"answer to {body['prompt']}" + "x" * 9000)) as server:
        llm = make_model(server, "chatglm", tape)
        llm.invoke("one")
        whole = tape.read_bytes()
        disk.fill()
        with pytest.raises(TapeError, match="No space left") as caught:
            llm.invoke("two")
        assert caught.value.partial.startswith("answer to two")
        assert tape.read_bytes() == whole
        disk.free()
        assert llm.invoke("two").startswith("answer to two")
        assert len(tape.read_text().splitlines()) == 2


def test_nothing_is_lost_where_nothing_may_be_written(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a read-only disk turns stay in memory and people are told; a tape is replayed, an export refused."""
    tape = disk.path / "t.jsonl"
    with ScriptedServer(legacy("yes")) as server:
        assert make_model(server, "chatglm", tape).invoke("one") == "yes"
        disk.protect()
        assert make_model(server, "chatglm", tape).invoke("one") == "yes" and len(server.posts) == 1
        with pytest.raises(TapeError, match="Read-only"):
            make_model(server, "chatglm", tape).invoke("two")
        assert len(server.posts) == 1, "nothing is asked that can't be recorded"
        monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(disk.path / "home"))
        session = Session()
        session.settings.endpoint_url = server.url
        assert session.ask("three") == "yes"
        told = " ".join(session.store.take_notices())
        assert "Read-only" in told and "kept in memory" in told
        assert [turn.prompt for turn in session.turns] == ["three"]
        with pytest.raises(CommandError, match="can't be written: Read-only"):
            session.history.export(disk.path / "out.jsonl")
        session.close()


def test_a_history_on_a_read_only_disk_can_be_read(disk: Disk) -> None:
    """Earlier turns are there; a new one is kept in memory, and the file stays as it was."""
    path = disk.path / "h.sqlite"
    with open_store(path) as store:
        store.put(make_turn("before"), 0)
    before = path.read_bytes()
    disk.protect()
    with open_store(path) as store:
        assert list_prompts(store) == ["before"]
        store.put(make_turn("new"), 1)
        assert sorted(list_prompts(store)) == ["before", "new"] and store.count(Query()) == 2
        assert "kept in memory" in " ".join(store.take_notices())
    assert path.read_bytes() == before
