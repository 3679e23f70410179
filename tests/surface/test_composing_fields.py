"""``configurable_fields``: a run's configuration sets fields, and nothing else changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import ConfigurableField

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import ParameterError

from ..support.models import (
    CountingServer,
    Heard,
    both,
    clean_stream,
    endpoint_of,
    make_local_model,
    make_model,
    reply_with,
)
from ..support.servers import ScriptedServer

HOT: Any = {"configurable": {"t": 0.9}}


def configurable(llm: ChatGLM, **ids: str) -> Any:
    """Let these fields be set by the configuration's names."""
    return llm.configurable_fields(**{name: ConfigurableField(id=each) for name, each in ids.items()})


def bodies(server: ScriptedServer) -> list[Any]:
    """Return what was asked, without the prompt."""
    return [{key: value for key, value in post.body.items() if key != "messages"} for post in server.posts]


@both
def test_composing_configurable_fields(dialect: str, local: LocalServer) -> None:
    """A field is set for the calls whose configuration names it, on every road, and for no other."""
    llm = configurable(make_local_model(local, dialect, max_token=300), stop="s")
    cut: Any = {"configurable": {"s": ["about"]}}

    async def later() -> list[str]:
        streamed = [piece async for piece in llm.astream("hi", cut)]
        return [await llm.ainvoke("hi", cut), *await llm.abatch(["hi"], cut), "".join(streamed)]

    found = [llm.invoke("hi", cut), *llm.batch(["hi"], cut), "".join(llm.stream("hi", cut)), *asyncio.run(later())]
    assert found == ["Hi! Ask me "] * 6
    assert llm.invoke("hi").endswith("Jupyter.")


def test_composing_configurable_fields__makes_no_default_a_wish() -> None:
    """On openai only what was set is sent: the configured field, and what the object had."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = configurable(make_model(server, "openai", top_p=0.5), temperature="t")
        llm.invoke("x", HOT)
        llm.with_config(HOT).invoke("x")
        llm.batch(["x", "x"], HOT)
        asyncio.run(llm.ainvoke("x", HOT))
        (PromptTemplate.from_template("{q}") | llm | StrOutputParser()).invoke({"q": "x"}, HOT)
        llm.invoke("x")
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        assert bodies(server) == [usage | {"top_p": 0.5, "temperature": 0.9}] * 6 + [usage | {"top_p": 0.5}]


@both
def test_composing_configurable_fields__keeps_the_rest(dialect: str) -> None:
    """Key, headers, handlers, tags, history and limits of the object hold for the configured one."""
    heard = Heard()
    with ScriptedServer(reply_with("ok")) as server:
        own: dict[str, Any] = {"api_key": "sk-1", "headers": {"X-A": "b"}, "history": [["q", "a"]], "seed": 5}
        llm = configurable(make_model(server, dialect, callbacks=[heard], tags=["t"], **own), temperature="t")
        assert llm.invoke("x", HOT) == "ok"
        asked = server.posts[0]
        assert asked.headers["authorization"] == "Bearer sk-1" and asked.headers["x-a"] == "b"
        assert asked.body["seed"] == 5 and asked.body["temperature"] == 0.9 and b'"q"' in asked.raw
    assert heard.ends == ["ok"] and "t" in heard.starts[0][1]


@both
def test_composing_configurable_fields__asks_over_the_same_connections(dialect: str) -> None:
    """Each call makes a configured object; it shares the connections of the first."""

    async def ask(llm: Any) -> None:
        for _ in range(5):
            await llm.ainvoke("x", HOT)

    with CountingServer(clean_stream("ok") if dialect == "openai" else reply_with("ok")) as server:
        llm = configurable(make_model(server, dialect), temperature="t")
        for _ in range(5):
            llm.invoke("x", HOT)
        assert server.made == 1
        asyncio.run(ask(llm))
        assert server.made == 2 and len(server.posts) == 10


@both
def test_composing_configurable_fields__never_takes_the_key_elsewhere(dialect: str) -> None:
    """Another endpoint of the configuration gets neither key nor headers: they belong to the first one."""
    with ScriptedServer(reply_with("ok")) as own, ScriptedServer(reply_with("ok")) as other:
        llm = make_model(own, dialect, api_key="sk-canary", headers={"X-Auth": "canary"})
        there = configurable(llm, endpoint_url="url").with_config(
            configurable={"url": endpoint_of(other, dialect)}
        )
        assert there.invoke("x") == "ok" and len(other.posts) == 1
        assert "canary" not in str(other.posts[0].headers)


@both
def test_composing_configurable_fields__takes_the_key_of_elsewhere(dialect: str) -> None:
    """A key that the configuration gives together with its endpoint goes there, and nowhere else."""
    with ScriptedServer(reply_with("ok")) as own, ScriptedServer(reply_with("ok")) as other:
        llm = configurable(make_model(own, dialect, api_key="sk-own"), endpoint_url="url", api_key="key")
        there = llm.with_config(configurable={"url": endpoint_of(other, dialect), "key": "sk-other"})
        assert there.invoke("x") == llm.invoke("x") == "ok"
        assert other.posts[0].headers["authorization"] == "Bearer sk-other"
        assert own.posts[0].headers["authorization"] == "Bearer sk-own"


@both
def test_composing_configurable_fields__refuses_wrong_values(dialect: str) -> None:
    """A configured value is held to the field's range; a name that is no field is refused at once."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = configurable(make_model(server, dialect), temperature="t")
        with pytest.raises(ParameterError, match="temperature"):
            llm.invoke("x", {"configurable": {"t": 11}})
        with pytest.raises(ValueError, match="temprature"):
            configurable(make_model(server, dialect), temprature="t")
        assert server.asked == []


@both
def test_composing_configurable_fields__of_a_batch_differ(dialect: str) -> None:
    """Each question of a batch may have its own values."""
    configs: Any = [{"configurable": {"t": 0.1 * n}} for n in range(1, 5)]
    with ScriptedServer(reply_with("ok")) as server:
        assert configurable(make_model(server, dialect), temperature="t").batch(["x"] * 4, configs) == ["ok"] * 4
        assert sorted(post.body["temperature"] for post in server.posts) == pytest.approx([0.1, 0.2, 0.3, 0.4])
