"""Files from elsewhere that are larger than any of ours: refused by their size, before they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import CommandError, TapeError
from chatglm_magic.store.imports import read_turns
from chatglm_magic.sweeps import Sweep

MIB = 1 << 20


def make_sparse(path: Path, size: int) -> Path:
    """Write a file that takes no room on the disk, whatever its size."""
    with path.open("wb") as file:
        file.write(b'{"key"')
        file.truncate(size)
    return path


@pytest.mark.parametrize("mode", ["auto", "replay"])
def test_a_tape_of_more_than_512_mib_is_refused(tmp_path: Path, mode: str) -> None:
    """The error says what to do."""
    path = make_sparse(tmp_path / "t.jsonl", 512 * MIB + 1)
    with pytest.raises(TapeError, match="larger than 512 MiB") as raised:
        ChatGLM(endpoint_url="http://127.0.0.1:1/", tape=path, tape_mode=mode).invoke("q")
    assert raised.value.kind == "tape_file"


def test_a_history_of_more_than_256_mib_is_not_imported(tmp_path: Path) -> None:
    """It is to be split."""
    with pytest.raises(CommandError, match="larger than 256 MiB: split it"):
        read_turns(make_sparse(tmp_path / "h.jsonl", 256 * MIB + 1))


def test_a_sweep_of_more_than_256_mib_is_not_loaded(tmp_path: Path) -> None:
    """None of ours is."""
    with pytest.raises(CommandError, match="larger than 256 MiB"):
        Sweep.load(make_sparse(tmp_path / "s.jsonl", 256 * MIB + 1))
