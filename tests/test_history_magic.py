"""``%chatglm_history`` as it is typed, over a store of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from chatglm_magic import get_session
from chatglm_magic.errors import ChatGLMError, CommandError
from chatglm_magic.magics.history import read_history_options

from .support.servers import ScriptedServer, legacy

Say = Any


@pytest.fixture
def say(shared_shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """Run a line as a cell; return what it printed, or the error it ended in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path / "home"))
    shared_shell.run_line_magic("load_ext", "chatglm_magic")

    def run(line: str) -> Any:
        with capture_output() as caught:
            result = shared_shell.run_cell(line)
        errors.append(caught.stderr)
        return result.error_in_exec or caught.stdout

    errors: list[str] = []
    run.errors = errors  # type: ignore[attr-defined]
    with ScriptedServer(legacy(lambda body: f"Re: {body['prompt']}")) as server:
        run(f"%config ChatGLMSettings.endpoint_url = '{server.url}'")
        run.server = server  # type: ignore[attr-defined]
        yield run
        shared_shell.run_line_magic("unload_ext", "chatglm_magic")
        shared_shell.reset(new_session=False)


def test_the_first_question_says_where_turns_are_kept(say: Say, tmp_path: Path) -> None:
    """Once, on stderr, with the way to keep none; an unrecorded question makes no file and says nothing."""
    say("%chatglm --no-log unrecorded")
    assert not (tmp_path / "home").exists() and "saved to" not in "".join(say.errors)
    say("%chatglm first")
    told = [text for text in say.errors if "saved to" in text]
    assert len(told) == 1 and str(tmp_path / "home" / "history.sqlite") in told[0] and "store=off" in told[0]
    say("%chatglm second")
    assert len([text for text in say.errors if "saved to" in text]) == 1


def test_a_notebook_under_test_is_not_told(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    """CHATGLM_MAGIC_RENDER=final, which nbval runs with, keeps a path that differs everywhere out of its cells."""
    monkeypatch.setenv("CHATGLM_MAGIC_RENDER", "final")
    say("%chatglm first")
    assert "saved to" not in "".join(say.errors)


def test_turns_are_listed_newest_first_and_by_pages(say: Say) -> None:
    """Twenty a page; each number is the turn's place in the conversation."""
    assert "Ask: %chatglm PROMPT" in say("%chatglm_history")
    for number in range(1, 46):
        get_session().ask(f"question {number}")
    first, second, third = (say(f"%chatglm_history --page {page}") for page in (1, 2, 3))
    assert first.splitlines()[0].split() == ["45", "question", "45"]
    assert first.splitlines()[1].strip() == "→ Re: question 45"
    assert "Page 1 of 3, 45 turns; --page 2 has older ones." in first
    assert second.splitlines()[0].split()[0] == "25" and third.splitlines()[-3].split()[0] == "1"
    assert "Page 3 of 3, 45 turns." in third
    assert "Page 4 doesn't exist" in say("%chatglm_history --page 4")


def test_search_finds_chinese_words_of_any_length(say: Say) -> None:
    """One character, two, four, mixed with English, and one that is absent; --all looks in every conversation."""
    for prompt in ("什么是爱？", "人工智能改变世界", "GLM 模型的 temperature 是什么", "plain words"):
        say(f"%chatglm {prompt}")
    for word, numbers in {
        "爱": ["1"],
        "什么": ["3", "1"],
        "人工智能": ["2"],
        "glm 模型": ["3"],
        "temp": ["3"],
        "模型的 temperature": ["3"],
    }.items():
        found = say(f"%chatglm_history --search {word}").splitlines()
        assert [line.split()[0] for line in found[::2]] == numbers, word
    assert say("%chatglm_history --search 温度").startswith("No turns match '温度'. (--all")
    say("%chatglm_history --reset")
    assert "No turn" in say("%chatglm_history --search 爱")
    assert say("%chatglm_history --all --search 爱").split()[0] == "#1"


def test_one_turn_is_shown_whole(say: Say) -> None:
    """By its place, or by the number that --all gives; another number says what to type."""
    say("%chatglm -t 0.5 first")
    say("%chatglm_history --reset")
    say("%chatglm second")
    shown = say("%chatglm_history --show 1")
    assert "second" in shown and "Re: second" in shown and "Status:   complete" in shown
    assert "Re: first" in say("%chatglm_history --all --show #1") and "temperature 0.5" in say(
        "%chatglm_history --all --show 1"
    )
    error = say("%chatglm_history --show 7")
    assert isinstance(error, ChatGLMError) and "%chatglm_history lists them" in str(error)


def test_resume_and_fork_change_what_is_sent(say: Say) -> None:
    """The next question sees the conversation that was gone back to, or as much of it as the fork has."""
    for prompt in "abc":
        say(f"%chatglm {prompt}")
    say("%chatglm_history --fork 2")
    say("%chatglm d")
    assert [q for q, _ in say.server.posts[-1].body["history"]] == ["a", "b"]
    assert "3 turns" in say("%chatglm_history --resume")
    say("%chatglm e")
    assert [q for q, _ in say.server.posts[-1].body["history"]] == ["a", "b", "c"]
    assert "no conversation nowhere" in str(say("%chatglm_history --resume nowhere"))


@pytest.mark.parametrize("ending", ["jsonl", "md", "html", "csv"])
def test_an_export_is_whole_and_never_over_a_file(say: Say, tmp_path: Path, ending: str) -> None:
    """Each form holds question and answer; an existing file is left alone without --force."""
    say("%chatglm 你好吗")
    assert say(f"%chatglm_history --export out.{ending}") == f"1 turn written to out.{ending}.\n"
    text = (tmp_path / f"out.{ending}").read_text(encoding="utf-8")
    assert "你好吗" in text and "Re: 你好吗" in text
    error = say(f"%chatglm_history --export out.{ending}")
    assert isinstance(error, ChatGLMError) and "--force" in str(error)
    assert (tmp_path / f"out.{ending}").read_text(encoding="utf-8") == text
    assert "1 turn written" in say(f"%chatglm_history --force --export out.{ending}")


def test_what_was_exported_can_be_imported(say: Say, tmp_path: Path) -> None:
    """Elsewhere, and twice: the second time nothing is new; messages in OpenAI's form become a conversation."""
    say("%chatglm a")
    say("%chatglm b")
    say("%chatglm_history --export turns.jsonl")
    say("%chatglm_history --all --forget")
    assert "2 turns imported" in say("%chatglm_history --import turns.jsonl")
    assert "0 turns imported (2 turns already there)" in say("%chatglm_history --import turns.jsonl")
    say("%chatglm_history --resume")
    assert [q for q, _ in get_session().llm.history] == ["a", "b"]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    messages.append({"role": "assistant", "content": "hello"})
    (tmp_path / "chat.json").write_text(json.dumps(messages))
    found = say("%chatglm_history --import chat.json")
    assert "1 turn imported" in found
    say(found.split(": ")[-1].strip())
    assert get_session().llm.history == [["hi", "hello"]]


def test_forgetting_reaches_the_file(say: Say, tmp_path: Path) -> None:
    """The words of a forgotten conversation are in no file of the store; others stay unless --all is said."""
    say("%chatglm zebra-secret")
    say("%chatglm_history --reset")
    say("%chatglm kept-word")

    def inside(word: str) -> bool:
        return any(word.encode() in path.read_bytes() for path in (tmp_path / "home").iterdir())

    assert inside("zebra-secret")
    say("%chatglm_history --resume")
    assert "1 turn of the conversation" in say("%chatglm_history --forget")
    assert not inside("zebra-secret") and inside("kept-word")
    assert "1 turn of every conversation" in say("%chatglm_history --all --forget")
    assert not inside("kept-word") and get_session().turns == ()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--serach x", "Did you mean --search?"),
        ("--search", "needs a value"),
        ("--show x", "expected a positive whole number"),
        ("--page 0", "expected a positive whole number"),
        ("--page", "needs a value"),
        ("--undo --reset", "use either --undo or --reset, not both"),
        ("--undo now", "unexpected 'now'"),
        ("words alone", "unexpected 'words'"),
        ("--show ²", "expected a positive whole number"),
    ],
)
def test_a_line_that_cant_be_understood_says_why(line: str, words: str) -> None:
    """One line, with what to type instead."""
    with pytest.raises(CommandError, match=words.replace("?", r"\?")) as caught:
        read_history_options(line)
    assert "\n" not in str(caught.value)


def read_parts(line: str) -> tuple[Any, ...]:
    options = read_history_options(line)
    return options.action, options.value, options.all, options.page, options.force


def test_lines_are_read_as_people_type_them() -> None:
    """Options in any order, a value of several words, quotation marks where a word looks like an option."""
    assert read_parts("") == ("--list", None, False, 1, False)
    for line in ("--all --search 爱情 故事", "--search 爱情 故事 --all", "--search '爱情 故事' --all"):
        assert read_parts(line) == ("--search", "爱情 故事", True, 1, False)
    assert read_parts('--search "--all"')[:3] == ("--search", "--all", False)
    assert read_parts("--export 'my file.md' --force") == ("--export", "my file.md", False, 1, True)
    assert read_parts("--export my file.md --force")[1] == "my file.md"
    assert read_parts("--export --force my file.md")[1:] == ("my file.md", False, 1, True)
    assert read_parts("--resume")[:2] == ("--resume", None) and read_parts("--resume abc")[1] == "abc"
    assert read_parts("--resume --all")[:3] == ("--resume", None, True)
    assert read_parts("--show #12")[1] == read_parts("--show=12")[1] == 12


def test_the_place_of_the_store_can_be_set(say: Say, tmp_path: Path) -> None:
    """A folder, a file, or off; turns stay where they are, and the table says where they go now."""
    say("%chatglm one")
    say(f"%chatglm_config store={tmp_path / 'elsewhere'}")
    say("%chatglm two")
    assert (tmp_path / "elsewhere" / "history.sqlite").exists()
    assert "two" in say("%chatglm_history") and str(tmp_path / "elsewhere") in say("%chatglm_config")
    say(f"%chatglm_config store={tmp_path / 'mine.db'}")
    say("%chatglm three")
    assert (tmp_path / "mine.db").exists()
    say("%chatglm_config store=off")
    assert "There are no turns" in say("%chatglm_history --all")
    before = sorted(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    say("%chatglm four")
    assert "four" in say("%chatglm_history --all") and "two" not in say("%chatglm_history --all")
    assert sorted(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) == before
    assert "a folder, a .sqlite file, or off" in str(say("%chatglm_config store=''"))


def test_options_are_completed(say: Say, shared_shell: InteractiveShell) -> None:
    """Tab knows them."""
    with provisionalcompleter():
        found = [c.text for c in shared_shell.Completer.completions("%chatglm_history --ex", 21)]
    assert found == ["--export"]


def test_the_panel_and_the_viewer_need_a_notebook(say: Say) -> None:
    """In a terminal a line says what to use there."""
    assert "%chatglm_history lists" in say("%chatglm_history --view")
    assert "--search" in say("%chatglm_history --help")
