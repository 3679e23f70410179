"""Reading files that anybody may have written (row F8): strict, all or nothing, and nothing in them is run."""

from __future__ import annotations

import json
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic.errors import ChatGLMError, CommandError
from chatglm_magic.store import Query, imports
from chatglm_magic.store.imports import read_turns
from chatglm_magic.values import Turn

from ..support.clock import assert_within
from ..support.stores import make_turn, open_store
from .test_store import FULL


def write(folder: Path, *lines: Any, name: str = "in.jsonl", end: str = "\n") -> Path:
    """Write values, one a line."""
    path = folder / name
    path.write_bytes("".join(json.dumps(line, ensure_ascii=False) + end for line in lines).encode())
    return path


def test_turns_come_back_with_their_places(tmp_path: Path) -> None:
    """Each conversation's turns are numbered in the file's order, by themselves."""
    other = make_turn("other", conversation="0" * 12)
    path = write(tmp_path, FULL.to_json(), other.to_json(), make_turn("next").to_json())
    found = read_turns(path)
    assert [place for _, place in found] == [0, 0, 1]
    assert found[0][0] == FULL and found[1][0] == other


def test_what_has_no_id_gets_one(tmp_path: Path) -> None:
    """Nameless turns of one file are one new conversation; each import is another."""
    path = write(tmp_path, {"prompt": "a"}, {"prompt": "b", "id": "", "conversation": ""})
    (first, _), (second, place) = read_turns(path)
    assert first.conversation == second.conversation != "" and place == 1
    assert len(first.id) == 32 and first.id != second.id
    assert read_turns(path)[0][0].conversation != first.conversation


def test_message_lists_become_conversations(tmp_path: Path) -> None:
    """System messages hold for what follows; a question without an answer is an incomplete turn."""
    messages = [
        {"role": "system", "content": "简短"},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "你好！", "reasoning_content": "想", "tool_calls": None, "refusal": None},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "developer", "content": "be long"},
        {"role": "user", "content": "c", "name": "me"},
        {"role": "assistant", "content": ""},
    ]
    whole = tmp_path / "in.json"
    whole.write_text(json.dumps(messages, indent=2, ensure_ascii=False), encoding="utf-8")
    found = [turn for turn, _ in read_turns(whole)]
    assert [(t.prompt, t.answer, t.status, t.system) for t in found] == [
        ("你好", "你好！", "complete", "简短"),
        ("ab", "", "incomplete", "简短"),
        ("c", "", "complete", "be long"),
    ]
    assert found[0].reasoning == "想" and len({t.conversation for t in found}) == 1 and found[0].created
    lines = write(tmp_path, {"messages": messages}, {"messages": messages[:3]})
    assert [place for _, place in read_turns(lines)] == [0, 1, 2, 0]
    assert len({t.conversation for t, _ in read_turns(lines)}) == 2


@pytest.mark.row("F8")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n \n", "\n \t\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_bom_line_ends_and_blank_lines_do_no_harm(bom: bytes, end: str, tmp_path: Path) -> None:
    """A file from Windows, or one with empty lines, is read like any other; also as one list."""
    path = write(tmp_path, {"prompt": "爱\u2028情"}, {"prompt": "b"}, end=end)
    path.write_bytes(bom + path.read_bytes())
    assert [turn.prompt for turn, _ in read_turns(path)] == ["爱\u2028情", "b"]
    messages = json.dumps([{"role": "user", "content": "爱"}], ensure_ascii=False)
    path.write_bytes(bom + f" {end}{messages}{end}".encode())
    assert [turn.prompt for turn, _ in read_turns(path)] == ["爱"]


GOOD = FULL.to_json()

WRONG: dict[str, tuple[Any, str]] = {
    "unknown key": ({**GOOD, "extra": 1}, "no key 'extra'"),
    "lc": ({"lc": 1, "type": "secret", "id": ["HOME"]}, "no key 'lc'"),
    "lc beside": ({**GOOD, "lc": 1}, "no key 'lc'"),
    "class": ({**GOOD, "__class__": "os.system"}, "no key '__class__'"),
    "reduce": ({**GOOD, "__reduce__": ["os.system", ["id"]]}, "no key '__reduce__'"),
    "position": ({**GOOD, "position": 3}, "no key 'position'"),
    "no prompt": ({"answer": "x"}, "must have a prompt"),
    "empty": ({}, "must have a prompt"),
    "list in the middle": ([GOOD], "must be an object"),
    "text": ("x", "must be an object"),
    "null": (None, "must be an object"),
    "prompt null": ({"prompt": None}, "prompt must be a text"),
    "prompt number": ({"prompt": 1}, "prompt must be a text"),
    "answer list": ({**GOOD, "answer": ["a"]}, "answer must be a text"),
    "status": ({**GOOD, "status": "done"}, "status must be one of complete"),
    "status list": ({**GOOD, "status": ["complete"]}, "status must be one of"),
    "kind": ({**GOOD, "kind": "other"}, "kind must be one of chat"),
    "asked": ({**GOOD, "asked": []}, "asked must be an object"),
    "usage": ({**GOOD, "usage": "12"}, "usage must be an object"),
    "changed": ({**GOOD, "changed": ["a", 1]}, "changed must be a list of texts"),
    "changed text": ({**GOOD, "changed": "abc"}, "changed must be a list of texts"),
    "turns_sent": ({**GOOD, "turns_sent": -1}, "turns_sent must be a whole number"),
    "turns_sent bool": ({**GOOD, "turns_sent": True}, "turns_sent must be a whole number"),
    "turns_sent huge": ({**GOOD, "turns_sent": 10**30}, "turns_sent must be a whole number"),
    "cell_run": ({**GOOD, "cell_run": 1.5}, "cell_run must be a whole number"),
    "duration": ({**GOOD, "duration": "1"}, "duration must be a number of seconds"),
    "duration huge": ({**GOOD, "duration": 10**400}, "duration must be a number of seconds"),
    "outside": ({**GOOD, "outside": 1}, "outside must be true or false"),
    "created": ({**GOOD, "created": "yesterday"}, "created must be an ISO 8601 time"),
    "id": ({**GOOD, "id": "../../etc/passwd"}, "id must be 32 hex digits"),
    "conversation": ({**GOOD, "conversation": "C0FFEE000001"}, "conversation must be 12 hex digits"),
    "model": ({**GOOD, "model": {"lc": 1}}, "model must be a text or null"),
    "messages and more": ({"messages": [], "tools": []}, "no key 'messages'"),
    "messages no list": ({"messages": {}}, "messages must be a list"),
    "message text": ({"messages": ["hi"]}, "message 1 must be an object"),
    "role": ({"messages": [{"role": "tool", "content": "x"}]}, "message 1 has the role 'tool'"),
    "no role": ({"messages": [{"content": "x"}]}, "message 1 has the role None"),
    "content": ({"messages": [{"role": "user", "content": None}]}, "message 1 must have a text"),
    "image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "text": "x"}]}]},
        "must have a text",
    ),
    "part": ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "must have a text"),
    "tool call": ({"messages": [{"role": "assistant", "content": "", "tool_calls": [1]}]}, "no key 'tool_calls'"),
    "answer first": ({"messages": [{"role": "assistant", "content": "x"}]}, "message 1 answers nothing"),
    "message lc": ({"messages": [{"role": "user", "content": "x", "lc": 1}]}, "no key 'lc'"),
    "thought": (
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "", "reasoning_content": 1},
            ]
        },
        "reasoning_content of message 2",
    ),
}


@pytest.mark.row("F8")
@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_turn_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    """The message names line and key, in one line; of the good turns around it none is taken."""
    value, message = WRONG[name]
    path = write(tmp_path, GOOD, value, make_turn().to_json())
    with pytest.raises(CommandError) as caught:
        read_turns(path)
    assert message in str(caught.value) and "line 2" in str(caught.value) and "\n" not in str(caught.value)


RAW: dict[str, tuple[bytes, str]] = {
    "no json": (b'{"prompt": "a"}\n{"prompt": b}\n', "line 2 isn't JSON"),
    "cut": (b'{"prompt": "a"}\n{"prompt": "b', "line 2 isn't JSON"),
    "python": (b"{'prompt': 'a'}\n", "line 1 isn't JSON"),
    "two on a line": (b'{"prompt": "a"} {"prompt": "b"}\n', "line 1 isn't JSON"),
    "nan": (b'{"prompt": "a"}\n{"prompt": "a", "duration": NaN}\n', "line 2: NaN is not a JSON number"),
    "infinity": (b'{"prompt": "a", "asked": {"x": -Infinity}}\n', "line 1: -Infinity is not a JSON number"),
    "twice": (b'{"prompt": "a", "prompt": "b"}\n', "line 1: duplicate key 'prompt'"),
    "latin-1": (b'{"prompt": "a"}\n\n{"prompt": "\xe4"}\n', "line 3 isn't UTF-8"),
    "latin-1 in a list": (b'[{"role": "user",\n\n"content": "\xe4"}]\n', "line 3 isn't UTF-8"),
    "list cut": (b'[{"role": "user",\n "content": "a"\n', "line 3 isn't JSON"),
    "list of numbers": (b"[1]", "message 1 must be an object"),
    "utf-16": ('{"prompt": "a"}'.encode("utf-16"), "UTF-16"),
    "utf-16-le": ('{"prompt": "a"}'.encode("utf-16-le"), "UTF-16"),
    "utf-16-be": ('{"prompt": "a"}'.encode("utf-16-be"), "UTF-16"),
    "nothing": (b"", "has no turns"),
    "blank": (b" \n\n", "has no turns"),
    "empty list": (b"[]", "has no turns"),
    "a database": (b"SQLite format 3\0" + bytes(100), "isn't JSON"),
    "many digits": (b'{"prompt": "a", "asked": {"x": ' + b"9" * 10_000 + b"}}\n", "line 1"),
    "deep list": (b"[" * 100_000, "nested too deeply"),
    "deep object": (b'{"a":' * 100_000, "nested too deeply"),
    "deep and closed": (
        b'{"prompt": "a", "asked": {"x": ' + b"[" * 500 + b"]" * 500 + b"}}\n",
        "nested too deeply",
    ),
    "deep by one": (b'{"prompt": "a", "asked": {"x": ' + b"[" * 63 + b"]" * 63 + b"}}\n", "nested too deeply"),
}


@pytest.mark.row("F8")
@pytest.mark.parametrize("name", RAW)
def test_files_that_are_something_else(name: str, tmp_path: Path) -> None:
    """Broken, foreign and hostile files are refused in one line that says what they are."""
    data, message = RAW[name]
    path = tmp_path / "in.jsonl"
    path.write_bytes(data)
    with pytest.raises(CommandError) as caught:
        read_turns(path)
    assert message in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.row("F8")
def test_as_deep_as_is_allowed(tmp_path: Path) -> None:
    """64 levels are read: the control of the limit."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"prompt": "a", "asked": {"x": ' + b"[" * 62 + b"]" * 62 + b"}}\n")
    assert len(read_turns(path)) == 1


@pytest.mark.row("F8")
def test_a_file_of_a_gibibyte_is_not_read(tmp_path: Path) -> None:
    """It is refused by its size, at once and without taking memory."""
    path = tmp_path / "in.jsonl"
    with path.open("wb") as file:
        file.truncate(2**30)
    tracemalloc.start()
    try:
        began = time.monotonic()
        with pytest.raises(CommandError, match="256 MiB"):
            read_turns(path)
        took = time.monotonic() - began
        assert tracemalloc.get_traced_memory()[1] < 2**20
        assert_within(took, 0.5)
    finally:
        tracemalloc.stop()
    assert imports.MAX_FILE_BYTES == 256 * 2**20


@pytest.mark.row("F8")
def test_only_ordinary_files_of_a_known_ending(tmp_path: Path) -> None:
    """Links, pipes, folders, devices and other endings are refused; a pipe is not waited for."""
    good = write(tmp_path, {"prompt": "a"})
    assert len(read_turns(good)) == 1
    (tmp_path / "link.jsonl").symlink_to(good)
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "device.jsonl").symlink_to("/dev/zero")
    good.rename(tmp_path / "good.txt")
    for name, message in {
        "link.jsonl": "is a link",
        "device.jsonl": "is a link",
        "pipe.jsonl": "isn't a regular file",
        "folder.jsonl": "isn't a regular file",
        "missing.jsonl": "No such file",
        "good.txt": r"must end in \.jsonl or \.json",
        "nul\0.jsonl": "embedded null",
    }.items():
        with pytest.raises(CommandError, match=message) as caught:
            read_turns(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.row("F8")
def test_hostile_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    """HTML, control sequences, objects of LangChain and links to attributes inside a turn are text and values."""
    texts = ["<script>alert(1)</script>", "\x1b]52;c;x\x07\x1b[31m", "\u202ereversed", "{{x}}", "%s{0.__class__}"]
    secret = {"lc": 1, "type": "secret", "id": ["HOME"], "__class__": "os.system"}
    path = write(tmp_path, *({"prompt": text, "answer": text, "asked": {"x": secret}} for text in texts))
    with open_store(tmp_path / "h.sqlite") as store:
        assert store.add(read_turns(path)) == len(texts)
        found = [row.turn for row in store.find(Query())]
    assert [turn.prompt for turn in found] == texts and all(turn.asked == {"x": secret} for turn in found)


@pytest.mark.row("F8")
def test_a_lone_surrogate_costs_nothing(tmp_path: Path) -> None:
    """JSON can spell half a character; it is kept readable."""
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"prompt": "a\\ud83d"}\n')
    with open_store(tmp_path / "h.sqlite") as store:
        assert store.add(read_turns(path)) == 1
        assert store.find(Query())[0].turn.prompt == "a\\ud83d"


@pytest.mark.row("F8")
def test_an_import_that_can_not_be_saved_takes_nothing(tmp_path: Path) -> None:
    """A disk's fault is an error of one line, not a half import."""
    (tmp_path / "file").write_text("in the way")
    with open_store(tmp_path / "file" / "h.sqlite") as store:
        with pytest.raises(ChatGLMError) as caught:
            store.add(read_turns(write(tmp_path, GOOD)))
        assert "\n" not in str(caught.value) and store.count(Query()) == store.unsaved == 0


def test_every_field_of_a_turn_has_its_check() -> None:
    """A field that is added to ``Turn`` must be added to what an import knows."""
    from dataclasses import fields

    from chatglm_magic.store.columns import READ_ORDER
    from chatglm_magic.store.imports import CHECKS

    assert set(CHECKS) == set(READ_ORDER) == {field.name for field in fields(Turn)}
