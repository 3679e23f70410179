"""Rows G7 to G9: what callers hand over as history, stop strings and batches."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from itertools import pairwise
from typing import Any

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError, ParameterError

from ..support.fault_requests import both, make_model, read_whole, send_many, send_with
from ..support.fault_scripts import dumped, good, whole
from ..support.servers import Asked, Script, ScriptedServer, chunk, legacy, reply, sse


def turns(asked: Asked) -> list[list[str]]:
    """Return the conversation that a request carries."""
    if "history" in asked.body:
        return list(asked.body["history"])
    said = [message["content"] for message in asked.body["messages"][:-1]]
    return [list(pair) for pair in zip(said[::2], said[1::2], strict=True)]


@pytest.mark.row("G7")
@both
def test_the_history_a_caller_hands_over(dialect: str, road: str) -> None:
    """Wrong pairs are refused, ten thousand are sent, and a caller's list is the caller's."""
    with ScriptedServer(good(dialect)) as server:
        wrong: list[Any] = [
            None,
            "ab",
            7,
            [["a"]],
            [["a", "b", "c"]],
            ["ab"],
            [["a", None]],
            [("a", 1)],
            {"a": "b"},
        ]
        for history in wrong:
            with pytest.raises(ParameterError, match="history"):
                make_model(server, dialect, history=history)
            with pytest.raises(ParameterError, match="history"):
                setattr(make_model(server, dialect), "history", history)  # noqa: B010
            with pytest.raises(ParameterError, match="history"):
                make_model(server, dialect).invoke("x", history=history)
        assert server.asked == []

        for own in ([("a", "b")], [["a", "b"]]):
            before = copy.deepcopy(own)
            llm = make_model(server, dialect, history=own, with_history=True)
            send_with(llm, road, "c").ok("你好")
            assert own == before and llm.history == [["a", "b"], ["c", "你好"]]
            own.append(["later", "on"])
            send_with(llm, road, "d").ok("你好")
            assert turns(server.posts[-1]) == [["a", "b"], ["c", "你好"]]
        assert len(server.posts) == 4

        fresh = make_model(server, dialect, with_history=True)
        send_with(fresh, road, "first").ok("你好")
        assert turns(server.posts[-1]) == [] and ChatGLM().history == []  # no default is shared

        long = [[f"问{number}", "答"] for number in range(10_000)]
        send_with(make_model(server, dialect, history=long), road).ok("你好")
        assert turns(server.posts[-1]) == long and len(server.posts) == 6


TEXT = "a.AI)<|u|>停止词aabEND"
SIMPLE: list[list[str] | None] = [None, [], [""], ["absent"], ["."], ["D"], ["a"], [TEXT]]
TRICKY: list[list[str] | None] = [
    ["AI)"],  # a pattern that would not compile
    ["|u|", "<|u|>"],  # a pattern of alternatives; one inside the other
    ["ab", "aab", ""],  # overlapping
    ["止词", "停止"],
    ["END!", "ND"],  # the first is never whole
    [TEXT + "?"],
]


def cut(text: str, stop: list[str] | None) -> str:
    """Return a text up to the first place where a stop string stands."""
    return text[: min((text.find(mark) for mark in stop or [] if mark and mark in text), default=len(text))]


@pytest.mark.row("G8")
@both
def test_stop_strings_streamed_and_not(dialect: str, road: str) -> None:
    """The answer ends before the first stop string, in one piece or in many, whatever the pieces are."""

    def script(connection: Any, asked: Asked) -> None:
        if dialect == "chatglm":
            return legacy(TEXT)(connection, asked)
        places = json.loads(asked.body["messages"][-1]["content"])
        pieces = [chunk(TEXT[start:over]) for start, over in pairwise(places)]
        streamed = sse([*pieces, chunk(None, finish_reason="stop")])
        return (streamed if places else reply(dumped(whole(dialect, TEXT))))(connection, asked)

    length, number = len(TEXT), 0
    forms = [[], [0, length], [*range(length + 1)], [*range(0, length, 3), length]]
    splits = [[0, at, length] for at in range(1, length)]
    with ScriptedServer(script) as server:
        for stop in SIMPLE + TRICKY:
            llm, expected = make_model(server, dialect, stop=stop), cut(TEXT, stop)
            asks = [*map(json.dumps, forms + splits if stop in TRICKY and dialect == "openai" else forms)]
            for places, outcome in zip(asks, send_many(llm, road, asks), strict=True):
                outcome.ok(expected, of=(stop, places))
            for places in asks[:3]:
                read_whole(llm, road, places).ok(expected, of=(stop, places))
            number += len(asks) + 3
        assert len(server.posts) == number


def failing(dialect: str) -> Script:
    """Answer each question with itself, but fail for every tenth."""

    def script(connection: Any, asked: Asked) -> None:
        prompt = asked.body.get("prompt") or asked.body["messages"][-1]["content"]
        if int(prompt) % 10 == 7:
            return reply({"error": f"no {prompt}"}, status=500)(connection, asked)
        return reply(dumped(whole(dialect, prompt)))(connection, asked)

    return script


def batch(llm: ChatGLM, road: str, prompts: list[str], **options: Any) -> list[Any]:
    """Ask them all in one call."""
    if road == "sync":
        return llm.batch(prompts, **options)
    return asyncio.run(llm.abatch(prompts, **options))


@pytest.mark.row("G9")
@both
def test_batches_with_failures(dialect: str, road: str) -> None:
    """Of none, one and a thousand questions, each is asked once, and the good answers stand in their places."""
    for number in (0, 1, 1000 if dialect == "openai" else 200):  # a batch is the same for both dialects
        prompts = [str(at) for at in range(number)]
        with ScriptedServer(failing(dialect)) as server:
            llm = make_model(server, dialect, with_history=True)
            found = batch(llm, road, prompts, return_exceptions=True)
            assert len(found) == number == len(server.posts)
            for prompt, answer in zip(prompts, found, strict=True):
                if int(prompt) % 10 == 7:
                    assert isinstance(answer, ChatGLMError) and answer.kind == "server_error", prompt
                    assert re.search(rf"\bno {prompt}\b", str(answer)) and answer.partial == ""
                else:
                    assert answer == prompt
            assert llm.history == [] and all(turns(post) == [] for post in server.posts)
    with ScriptedServer(failing(dialect)) as server:
        with pytest.raises(ChatGLMError) as caught:
            batch(make_model(server, dialect), road, prompts)
        assert caught.value.kind == "server_error" and 1 <= len(server.posts) < 100  # the rest was not asked
