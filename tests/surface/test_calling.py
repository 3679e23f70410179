"""Every way to call, at the local server: the answer, and callbacks, tags and metadata of the one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import requests

from chatglm_magic import ChatGLM, LocalServer

from ..support.models import AsyncHeard, Heard, Notes, both, make_local_model

HI, ALSO = "hi", "你好"
Config = dict[str, Any]
Right = dict[str, list[str]]
Ask = Callable[[ChatGLM, Config], list[str] | Awaitable[list[str]]]

rows = pytest.mark.parametrize("kind", [Heard, AsyncHeard], ids=["handler", "async_handler"])
"""Each call is heard by a handler of either kind."""


@pytest.fixture(scope="module")
def right(local: LocalServer) -> Right:
    """What the model answers, by a plain HTTP client."""
    with requests.Session() as http:
        http.trust_env = False
        http.headers["Authorization"] = f"Bearer {local.token}"
        found: dict[str, list[str]] = {"chatglm": [], "openai": []}
        for prompt in (HI, ALSO):
            body = {"prompt": prompt, "history": [], "temperature": 0.01, "top_p": 0.7, "max_length": 64}
            found["chatglm"].append(http.post(local.base_url, json=body, timeout=60).json()["response"])
            asked = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 64}
            reply = http.post(local.url + "/chat/completions", json=asked, timeout=60).json()
            found["openai"].append(reply["choices"][0]["message"]["content"])
    assert found["chatglm"][0].startswith("Hi!") and found["openai"][1].startswith("你好")
    return found


def check(
    local: LocalServer,
    dialect: str,
    kind: type[Notes],
    right: Right,
    ask: Ask,
    *,
    streams: bool = False,
) -> None:
    """Ask; compare the answers with the right ones, and what two handlers heard with what was said."""
    own, of_call = Heard(), kind()
    llm = make_local_model(local, dialect, callbacks=[own], tags=["object"], metadata={"of": "object"})
    found: Any = ask(llm, {"callbacks": [of_call], "tags": ["call"], "metadata": {"row": 7}})
    answers = asyncio.run(_awaited(found)) if hasattr(found, "__await__") else found
    assert answers == right[dialect][: len(answers)]
    for heard in (own, of_call):
        assert sorted(prompt for prompt, _, _ in heard.starts) == sorted([HI, ALSO][: len(answers)])
        assert sorted(heard.ends) == sorted(answers) and heard.errors == []
        assert all({"object", "call"} <= set(tags) for _, tags, _ in heard.starts)
        assert all(told["of"] == "object" and told["row"] == 7 for _, _, told in heard.starts)
        assert "".join(heard.tokens) == ("".join(answers) if streams else "")


async def _awaited(found: Awaitable[list[str]]) -> list[str]:
    return await found


@both
@rows
def test_calling_invoke(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """One question, one answer."""
    check(local, dialect, kind, right, lambda llm, config: [llm.invoke(HI, config)])


@both
@rows
def test_calling_ainvoke(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """The same, awaited."""

    async def ask(llm: ChatGLM, config: Any) -> list[str]:
        return [await llm.ainvoke(HI, config)]

    check(local, dialect, kind, right, ask)


@both
@rows
def test_calling_stream(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """The pieces make up the answer, and handlers hear each."""
    check(local, dialect, kind, right, lambda llm, config: ["".join(llm.stream(HI, config))], streams=True)


@both
@rows
def test_calling_astream(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """The same, asynchronously."""

    async def ask(llm: ChatGLM, config: Any) -> list[str]:
        return ["".join([piece async for piece in llm.astream(HI, config)])]

    check(local, dialect, kind, right, ask, streams=True)


@both
@rows
def test_calling_batch(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """Several questions, their answers in the same order; each is heard."""
    check(local, dialect, kind, right, lambda llm, config: llm.batch([HI, ALSO], config))


@both
@rows
def test_calling_abatch(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """The same, awaited."""
    check(local, dialect, kind, right, lambda llm, config: llm.abatch([HI, ALSO], config))


@both
@rows
def test_calling_batch_as_completed(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """Answers come with their question's number."""

    def ask(llm: ChatGLM, config: Any) -> list[str]:
        found = dict(llm.batch_as_completed([HI, ALSO], config))
        return [str(found[0]), str(found[1])]

    check(local, dialect, kind, right, ask)


@both
@rows
def test_calling_abatch_as_completed(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """The same, asynchronously."""

    async def ask(llm: ChatGLM, config: Any) -> list[str]:
        found = {index: str(text) async for index, text in llm.abatch_as_completed([HI, ALSO], config)}
        return [found[0], found[1]]

    check(local, dialect, kind, right, ask)


@both
@rows
def test_calling_generate(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """Several prompts in one call, with one list of each for all of them."""

    def ask(llm: ChatGLM, config: Any) -> list[str]:
        return [found[0].text for found in llm.generate([HI, ALSO], **config).generations]

    check(local, dialect, kind, right, ask)


@both
@rows
def test_calling_agenerate(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """The same, awaited."""

    async def ask(llm: ChatGLM, config: Any) -> list[str]:
        return [found[0].text for found in (await llm.agenerate([HI, ALSO], **config)).generations]

    check(local, dialect, kind, right, ask)


@both
@rows
def test_calling_astream_events(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """Version 2 tells of the start, each piece and the end, with the call's tags and metadata."""

    async def ask(llm: ChatGLM, config: Any) -> list[str]:
        events: list[Any] = [event async for event in llm.astream_events(HI, config, version="v2")]
        assert {event["event"] for event in events} == {"on_llm_start", "on_llm_stream", "on_llm_end"}
        assert all("call" in event["tags"] and event["metadata"]["row"] == 7 for event in events)
        pieces = [event["data"]["chunk"] for event in events if event["event"] == "on_llm_stream"]
        return ["".join(piece if isinstance(piece, str) else piece.text for piece in pieces)]

    check(local, dialect, kind, right, ask, streams=True)


@both
@rows
def test_calling_call(local: LocalServer, dialect: str, kind: type[Notes], right: Right) -> None:
    """``llm("…")`` of 2023 still answers, and warns where it is written."""

    def ask(llm: ChatGLM, config: Any) -> list[str]:
        with pytest.warns(DeprecationWarning, match="llm.invoke") as caught:
            answer = llm(HI, **config)
        assert caught[0].filename == __file__
        return [answer]

    check(local, dialect, kind, right, ask)
