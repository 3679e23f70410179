"""Files that an earlier version wrote are read as they were meant: a history, a sweep, tapes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chatglm_magic import ChatGLM, Sweep
from chatglm_magic.store import History, Store
from chatglm_magic.values import Change

OLD = Path(__file__).parent / "old_files"
"""Written by the version of commit 77d07c8."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Copies of the files, which their owner alone may read."""
    for path in OLD.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
        (tmp_path / path.name).chmod(0o600)
    return tmp_path


def test_an_old_history_is_read_searched_and_continued(files: Path) -> None:
    """Its turns, what was asked and changed, and its search index."""
    store = Store(files / "history.sqlite")
    history = History(store)
    prompts = [turn.prompt for turn in history.filter(kind="chat").sort("created")]
    assert prompts == ["What is love?", "什么是爱？"] and len(history) == 6
    first = history.filter(kind="chat").sort("created")[0]
    assert first.asked["temperature"] == 0.0 and first.sent["temperature"] == 0.01
    assert [change.name for change in first.changed] == ["temperature"]
    assert [turn.prompt for turn in history.search("爱")] == ["什么是爱？"]
    assert [turn.asked["seed"] for turn in history.filter(top_p=(0.5, 0.5))] == [7]
    store.close()


def test_an_old_sweep_is_loaded(files: Path) -> None:
    """Whole, with its grid and its answers."""
    sweep = Sweep.load(files / "sweep.jsonl")
    assert sweep.complete and sweep.grid.axes == {"temperature": (0.1, 0.5)} and len(sweep) == 4
    assert {str(answer) for answer in sweep.sel(temperature=0.5).answers} == {"Re: Name a colour. 0.5"}


def test_old_tapes_replay(files: Path) -> None:
    """The requests of today have the keys of then, and what a server changed is told again, note by note."""
    tape = files / "tape-chatglm.jsonl"
    llm = ChatGLM(temperature=0.0, tape=str(tape), tape_mode="replay")
    assert llm.invoke("What is love?") == "Re: What is love? 0.01"
    found = llm.generate(["What changed?"]).generations[0][0]
    assert found.text == "Re: changed" and found.generation_info is not None
    changes = [Change(note) for note in found.generation_info["changed"]]
    assert [change.name for change in changes] == ["temperature", "top_k", "seed"]
    tape = files / "tape-openai.jsonl"
    openai = ChatGLM(endpoint_url="http://127.0.0.1:1/v1", top_p=0.0, tape=str(tape), tape_mode="replay")
    assert openai.invoke("What is love?") == "Re: love" == "".join(openai.stream("什么是爱？"))
