"""``cache``: the same question is asked once, and no two questions are taken for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.messages import HumanMessage, SystemMessage

from chatglm_magic import ChatGLM, LocalServer

from ..support.models import both, make_local_model, make_model, read_history, reply_with
from ..support.servers import ScriptedServer

ASKS: dict[str, Callable[[ChatGLM], str]] = {
    "invoke": lambda llm: llm.invoke("x"),
    "ainvoke": lambda llm: asyncio.run(llm.ainvoke("x")),
    "batch": lambda llm: llm.batch(["x"])[0],
    "generate": lambda llm: llm.generate(["x"]).generations[0][0].text,
}


@both
@pytest.mark.parametrize("road", ASKS)
def test_field_cache(dialect: str, road: str) -> None:
    """What is asked again is answered without the server, on every road."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, cache=InMemoryCache())
        assert [ASKS[road](llm) for _ in range(3)] == ["ok"] * 3
        assert len(server.posts) == 1


@both
def test_field_cache__of_the_local_server(dialect: str, local: LocalServer) -> None:
    """A hit is the very answer that the model gave, though the model would now give another."""
    llm = make_local_model(local, dialect, cache=InMemoryCache(), temperature=10, top_p=1.0)
    assert len({llm.invoke("hi") for _ in range(4)}) == 1
    assert len({make_local_model(local, dialect, temperature=10, top_p=1.0).invoke("hi") for _ in range(4)}) > 1


@both
@pytest.mark.parametrize("cache", [None, True, False])
def test_field_cache__of_the_process(dialect: str, cache: bool | None) -> None:
    """LangChain's cache for all models is used unless the object says no."""
    set_llm_cache(InMemoryCache())
    try:
        with ScriptedServer(reply_with("ok")) as server:
            llm = make_model(server, dialect, cache=cache)
            llm.invoke("x")
            llm.invoke("x")
            assert len(server.posts) == (2 if cache is False else 1)
    finally:
        set_llm_cache(None)


DIFFERENT: dict[str, Any] = {
    "temperature": 0.9,
    "top_p": 0.1,
    "max_token": 7,
    "history": [["a", "b"]],
    "model_kwargs": {"k": 1},
    "system": "S",
    "stop": ["y"],
    "seed": 3,
    "model": "m",
    "thinking": "off",
}


@both
@pytest.mark.parametrize("name", DIFFERENT)
def test_field_cache__keeps_different_fields_apart(dialect: str, name: str) -> None:
    """A field that can change the answer makes another key, however it was set."""
    cache, value = InMemoryCache(), DIFFERENT[name]
    with ScriptedServer(reply_with("ok")) as server:
        plain, other = (
            make_model(server, dialect, cache=cache),
            make_model(server, dialect, cache=cache, **{name: value}),
        )
        for _ in range(2):
            plain.invoke("x")
            other.invoke("x")
        assert len(server.posts) == 2
        setattr(plain, name, value)  # now both would ask the same
        plain.invoke("x")
        assert len(server.posts) == 2


@both
@pytest.mark.parametrize("name", ["temperature", "top_p", "max_token", "history", "stop", "seed", "k"])
def test_field_cache__keeps_different_arguments_apart(dialect: str, name: str) -> None:
    """What a call sets for itself makes another key."""
    value = DIFFERENT.get(name, 1)
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, cache=InMemoryCache())
        for arguments in ({}, {name: value}) * 2:
            llm.invoke("x", **arguments)
        assert len(server.posts) == 2


@both
def test_field_cache__goes_on_with_the_conversation(dialect: str) -> None:
    """A hit is added to the history as an answer would be; the grown history asks anew."""
    cache = InMemoryCache()
    with ScriptedServer(reply_with(lambda prompt: f"答{prompt}")) as server:
        make_model(server, dialect, cache=cache, with_history=True).invoke("x")
        llm = make_model(server, dialect, cache=cache, with_history=True)
        assert llm.invoke("x") == "答x" and len(server.posts) == 1
        assert llm.history == [["x", "答x"]]
        llm.invoke("x")
        assert len(server.posts) == 2 and read_history(server.posts[1].body) == [["x", "答x"]]
        assert asyncio.run(make_model(server, dialect, cache=cache, with_history=True).ainvoke("x")) == "答x"
        assert len(server.posts) == 2


@both
def test_field_cache__asks_the_new_questions_of_a_batch(dialect: str) -> None:
    """Of a batch only the questions that are not known are sent, and the order holds."""
    with ScriptedServer(reply_with(lambda prompt: f"答{prompt}")) as server:
        llm = make_model(server, dialect, cache=InMemoryCache())
        llm.batch(["b", "d"])
        assert llm.batch(list("abcde")) == [f"答{prompt}" for prompt in "abcde"]
        assert llm.generate(list("efa")).generations[0][0].text == "答e"
        assert len(server.posts) == 6


def test_field_cache__knows_roles() -> None:
    """Messages and the text they are flattened to are different questions where roles are sent."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, "openai", cache=InMemoryCache())
        for _ in range(2):
            llm.invoke("System: S\nHuman: H")
            llm.invoke([SystemMessage("S"), HumanMessage("H")])
        assert len(server.posts) == 2


def test_field_cache__knows_what_is_unset() -> None:
    """On /v1 a default that nobody set is not sent: the same value, given, is another question."""
    cache = InMemoryCache()
    with ScriptedServer(reply_with("ok")) as server:
        for fields in ({}, {"temperature": 0.1}, {"max_token": 20000}) * 2:
            make_model(server, "openai", cache=cache, **fields).invoke("x")
        assert len(server.posts) == 3
