"""What can change an answer is part of a question's key, and an error says what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from chatglm_magic import ChatGLM
from chatglm_magic.errors import TapeError
from chatglm_magic.tape.entry import TapeEntry, request_key

from ..support.servers import ScriptedServer
from ..support.tapes import count_pieces, make_model, make_offline_model, read_miss

ASKED: dict[str, Any] = {"temperature": 0.5, "top_p": 0.8, "max_token": 50, "seed": 7, "model": "glm"}
FURTHER: dict[str, Any] = {"system": "Be brief.", "stop": ["END"], "history": [["a", "b"]], "top_k": 20}

CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "temperature": ({"temperature": 0.7}, "temperature: recorded 0.5, requested 0.7"),
    "top_p": ({"top_p": 0.9}, "top_p: recorded 0.8, requested 0.9"),
    "max_token": ({"max_token": 51}, "max_token: recorded 50, requested 51"),
    "max_token unset": ({"max_token": None}, "max_token: recorded 50, requested not set"),
    "seed": ({"seed": 8}, "seed: recorded 7, requested 8"),
    "model": ({"model": "glm-4"}, 'model: recorded "glm", requested "glm-4"'),
    "system": ({"system": "Be long."}, 'system: recorded "Be brief.", requested "Be long."'),
    "stop": ({"stop": ["FIN"]}, 'stop: recorded ["END"], requested ["FIN"]'),
    "history": (
        {"history": [["a", "c"]]},
        "conversation before it: recorded 2 messages, requested 2, in other words",
    ),
    "history longer": ({"history": []}, "conversation before it: recorded 2 messages, requested 0"),
    "another key": ({"top_k": 21}, "top_k: recorded 20, requested 21"),
    "a further key": ({"min_p": 0.1}, "min_p: recorded not set, requested 0.1"),
    "thinking": ({"thinking": "off"}, "thinking"),
    "sample": ({"sample": 1}, "sample: recorded 0, requested 1"),
    "dialect": ({"dialect": "chatglm"}, 'dialect: recorded "openai", requested "chatglm"'),
}


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    with ScriptedServer(count_pieces()) as server:
        llm = make_model(server, "openai", path)
        llm.invoke("Name a colour.", **ASKED, **FURTHER)
        llm.invoke("Something quite different, 与此无关的问题", temperature=1.5)
    return path


@pytest.mark.parametrize("name", CHANGED)
def test_each_part_of_a_question_is_part_of_its_key(name: str, tape: Path) -> None:
    """One change, whatever it is, is a miss that names it with both values, and nothing else."""
    change, told = CHANGED[name]
    llm = make_offline_model("openai", tape)
    assert llm.invoke("Name a colour.", **ASKED, **FURTHER) == "Name a colour. 答 1"  # the control
    words = read_miss(lambda: llm.invoke("Name a colour.", **{**ASKED, **FURTHER, **change}))
    assert told in words and "\n" not in words
    assert "tape_mode=auto" in words
    if name not in ("dialect", "thinking"):  # these change several keys of a body
        assert words.count(": recorded") + words.count("it: recorded") <= 2 and ";" not in words


def test_a_changed_prompt_is_shown_with_both_beginnings(tape: Path) -> None:
    """Texts that begin alike are shown from where they part."""
    llm = make_offline_model("openai", tape)
    words = read_miss(lambda: llm.invoke("Name a fruit.", **ASKED, **FURTHER))
    assert 'prompt: recorded "Name a colour.", requested "Name a fruit."' in words
    words = read_miss(lambda: llm.invoke("Something quite different, 与此无关的难题", temperature=1.5))
    assert 'recorded "…ent, 与此无关的问题", requested "…ent, 与此无关的难题"' in words
    words = read_miss(lambda: llm.invoke("Name a\ncolour.\u202e", **ASKED, **FURTHER))
    assert r'requested "Name a\ncolour.\u202e"' in words and "\u202e" not in words


def test_the_nearest_question_is_the_one_that_is_named(tmp_path: Path) -> None:
    """Among many, the one with the same words and the nearest value is compared with."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        llm = make_model(server, "openai", tape)
        llm.batch([f"question {n} of others" for n in range(40)], temperature=1.9)
        for prompt in ("Name a colour.", "Name a city.", "写一首诗"):
            for temperature in (0.1, 0.5, 1.0):
                llm.invoke(prompt, temperature=temperature, max_token=9)
    llm = make_offline_model("openai", tape)
    words = read_miss(lambda: llm.invoke("Name a city.", temperature=0.9, max_token=9))
    assert "differs in temperature: recorded 1.0, requested 0.9." in words
    words = read_miss(lambda: llm.invoke("写一首短诗", temperature=0.5, max_token=9))
    assert 'differs in prompt: recorded "写一首诗", requested "写一首短诗".' in words


def test_roles_and_pictures_are_part_of_a_question(tmp_path: Path) -> None:
    """Messages with roles, and messages that are no plain text, are keyed and named like others."""
    tape = tmp_path / "t.jsonl"
    pictured = HumanMessage([{"type": "text", "text": "what is it"}])
    with ScriptedServer(count_pieces()) as server:
        llm = make_model(server, "openai", tape)
        first = llm.invoke([SystemMessage("s"), HumanMessage("q")])
        llm.invoke([pictured])
    llm = make_offline_model("openai", tape)
    assert llm.invoke([SystemMessage("s"), HumanMessage("q")]) == first
    words = read_miss(lambda: llm.invoke([SystemMessage("t"), HumanMessage("q")]))
    assert 'system: recorded "s", requested "t"' in words
    assert "what is it" in read_miss(
        lambda: llm.invoke([HumanMessage([{"type": "text", "text": "what is that"}])])
    )


def test_an_empty_tape_and_none_at_all_say_so(tmp_path: Path) -> None:
    """Replaying what was never recorded says what to type, and makes no file."""
    words = read_miss(lambda: make_offline_model("openai", tmp_path / "none.jsonl").invoke("q"))
    assert words.startswith("There is no tape ") and not (tmp_path / "none.jsonl").exists()
    (tmp_path / "empty.jsonl").touch()
    assert "holds no answer" in read_miss(
        lambda: make_offline_model("openai", tmp_path / "empty.jsonl").invoke("q")
    )


def test_a_cache_of_langchain_does_not_hide_the_tape(tmp_path: Path) -> None:
    """Another tape, and another sample, are other identities to a cache."""

    def known(**fields: Any) -> Any:
        return ChatGLM(**fields)._identifying_params

    assert known(tape=tmp_path / "a") != known(tape=tmp_path / "b") != known()
    assert known(tape=tmp_path / "a", tape_mode="record") != known(tape=tmp_path / "a")


ODD: dict[str, tuple[str, dict[str, Any], int]] = {
    "a history that is none": ("chatglm", {"prompt": "hi", "history": 5}, 0),
    "a key called conversation": ("openai", {"messages": [], "conversation": 5, "sample": "x", "prompt": 1}, 0),
    "a sample beyond all numbers": ("openai", {"messages": []}, 10**400),
    "a parameter beyond all numbers": ("openai", {"messages": [], "temperature": 10**400}, 0),
    "a name that a terminal would obey": ("openai", {"messages": [], "a\x1b[31m\nError: x" + "y" * 5000: 1}, 0),
}


@pytest.mark.parametrize("what", ODD)
def test_whatever_stands_on_a_tape_a_miss_is_told_in_one_line(what: str, tmp_path: Path) -> None:
    """A tape may come from somebody else: its questions are compared, and never end in another error."""
    dialect, body, sample = ODD[what]
    request = {"dialect": dialect, "body": body}
    turn = {"prompt": "", "answer": "x", "status": "complete"}
    tape = tmp_path / "t.jsonl"
    tape.write_bytes(TapeEntry(request_key(request, sample), sample, request, turn, []).to_line())
    words = read_miss(lambda: make_offline_model("openai", tape).invoke("hello", temperature=0.5))
    assert words.isprintable() and len(words) < 1000 and "differs in" in words


def test_a_name_that_no_file_can_have_is_told(tmp_path: Path) -> None:
    """Half a character is part of none."""
    with pytest.raises(TapeError, match="can't be found"):
        make_offline_model("openai", tmp_path / "a\ud800b").invoke("x")
