"""No key ever gets onto a tape: not by a header, not by an address, not by a server that repeats it."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
import requests

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ParameterError, TapeError

from ..support.canary import KEY, PLACES, PROMPT, has_leaked, make_model_with_key
from ..support.servers import Asked, ScriptedServer, answer, chunk, legacy, sse
from ..support.tapes import both, count_pieces, make_model, make_offline_model, read_lines


@pytest.mark.parametrize("place", PLACES)
def test_a_key_gets_onto_no_tape(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever a key comes from, the tape of what was asked with it holds no part of it, nor the address."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(legacy("said")) as server:
        llm = make_model_with_key(place, monkeypatch)
        key, headers = llm.api_key, llm.headers
        monkeypatch.setenv("CHATGLM_ENDPOINT_URL", server.url)
        llm.endpoint_url, llm.tape = server.url, tape
        llm.api_key, llm.headers = key, headers  # a change of the address takes them away
        assert llm.invoke(PROMPT) == "said"
        asyncio.run(llm.ainvoke(PROMPT, sample=1))
        assert has_leaked(server.posts[-1].headers)  # the control: it was asked with the key
        assert not has_leaked(tape.read_bytes()) and str(server.port).encode() not in tape.read_bytes()
    assert len(read_lines(tape)) == 2 and PROMPT in tape.read_text(encoding="utf-8")


def repeating(way: str) -> Any:
    """Return a server that repeats the key it was asked with, in one of many ways."""

    def script(connection: socket.socket, asked: Asked) -> None:
        key = asked.headers["authorization"].removeprefix("Bearer ")
        if "messages" not in asked.body:
            legacy(f"Your key is {key}.")(connection, asked)
        elif way == "whole":
            answer("Your key ", f"is {key}", ".")(connection, asked)
        elif way == "in pieces":
            answer("Your key is ", key[:9], key[9:17], key[17:], ".")(connection, asked)
        elif way == "thought":
            events = [chunk(None, reasoning_content=part) for part in ("Hm, ", key[:12], key[12:])]
            sse([*events, chunk("yes"), chunk(None, finish_reason="stop")])(connection, asked)
        else:
            event = chunk("yes") | {"model": f"glm-{key}", "usage": {"prompt_tokens": 1, key: 2}}
            event["choices"][0]["logprobs"] = {"content": [{"token": key, "logprob": -1.0}]}
            sse([event, chunk(None, finish_reason="stop")])(connection, asked)

    return script


@both
@pytest.mark.parametrize("way", ["whole", "in pieces", "thought", "elsewhere"])
def test_a_server_that_repeats_the_key_does_not_get_it_onto_the_tape(
    way: str, dialect: str, tmp_path: Path
) -> None:
    """The answer is recorded without it, also where it came in pieces, and the rest is given again."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(repeating(way)) as server:
        found = make_model(server, dialect, tape, api_key=KEY).generate(["q"])
        body = {"messages": []} if dialect == "openai" else {"prompt": "q"}
        control = requests.post(server.url, json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=10)
    assert has_leaked(control.text)  # the server does repeat it
    assert way == "elsewhere" or not has_leaked(found)
    assert not has_leaked(tape.read_bytes())
    again = make_offline_model(dialect, tape).generate(["q"])
    assert not has_leaked(again)
    if way in ("whole", "in pieces") or dialect == "chatglm":
        assert again.generations[0][0].text == "Your key is …."


def test_a_question_that_holds_the_key_is_not_asked(tmp_path: Path) -> None:
    """It would stand on the tape: refused before anything is sent, and not repeated; without a tape it goes."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        llm = make_model(server, "openai", tape, api_key=KEY)
        for ask in (llm.invoke, lambda prompt: asyncio.run(llm.ainvoke(prompt))):
            with pytest.raises(TapeError) as caught:
                ask(f"why is {KEY} refused?")
            assert caught.value.kind == "secret" and not has_leaked(caught.value, caught.value.args)
        assert server.posts == [] and not tape.exists()
        llm.tape = None
        assert llm.invoke(f"why is {KEY} refused?") and len(server.posts) == 1


def test_short_header_values_leave_answers_alone(tmp_path: Path) -> None:
    """A key such as EMPTY, which servers without keys are given, may stand in a question and in an answer."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(answer("The list is EMPTY.")) as server:
        llm = make_model(server, "openai", tape, api_key="EMPTY", headers={"X-Team": "blue"})
        assert llm.invoke("What does EMPTY mean?") == "The list is EMPTY."
    assert make_offline_model("openai", tape).invoke("What does EMPTY mean?") == "The list is EMPTY."


def test_a_model_with_a_tape_is_saved_and_sent_without_secrets(tmp_path: Path) -> None:
    """The tape is one of the fields that are saved, copied and pickled; it holds nothing that is not."""
    import pickle

    from langchain_core.load import dumps

    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        llm = make_model(server, "openai", tape, api_key=KEY, tape_mode="auto")
        said = llm.invoke("q")
        llm.save(tmp_path / "model.json")
        copies = [pickle.loads(pickle.dumps(llm)), llm.model_copy(), llm.model_copy(deep=True)]  # noqa: S301
        assert all(isinstance(copy, ChatGLM) and copy.invoke("q") == said for copy in copies)
        assert len(server.posts) == 1
    assert not has_leaked((tmp_path / "model.json").read_bytes(), pickle.dumps(llm), dumps(llm))
    assert str(tape) in (tmp_path / "model.json").read_text(encoding="utf-8")


@both
@pytest.mark.parametrize(
    "further",
    [
        {"api_key": KEY},
        {"token": KEY},
        {"zhipuai_api_key": KEY},
        {"headers": {"Authorization": f"Bearer {KEY}"}},
        {"extra_headers": [{"x": {"X-Api-Key": KEY}}]},
    ],
    ids=lambda further: next(iter(further)),
)
def test_a_key_among_the_further_parameters_is_refused(
    further: dict[str, Any], dialect: str, tmp_path: Path
) -> None:
    """It would be sent and kept with the question; the refusal says where a key goes, and does not repeat it."""
    tape = tmp_path / "t.jsonl"
    with ScriptedServer(count_pieces()) as server:
        with pytest.raises(ParameterError, match=r"looks like a key.*api_key=") as caught:
            make_model(server, dialect, tape, model_kwargs=further).invoke("q")
        assert not has_leaked(str(caught.value))
        with pytest.raises(ParameterError):
            make_model(server, dialect, tape).invoke("q", **further)
        assert server.posts == [] and not tape.exists()
        harmless = {"tools": [{"parameters": {"api_key": {"type": "string"}, "key": "a"}}], "key_count": 3}
        assert make_model(server, dialect, tape, model_kwargs=harmless).invoke("q")
