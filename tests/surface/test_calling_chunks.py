"""Streams, piece by piece: what is no text stands in ``generation_info``."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing, suppress
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler

from chatglm_magic import ChatGLM, LocalServer

from ..support.models import Heard, both, make_local_model, make_model, reply_with
from ..support.servers import ScriptedServer, answer, chunk, legacy, reply, sse

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ROADS = ("stream", "astream", "generate", "agenerate")
roads = pytest.mark.parametrize("road", ROADS)


def told(llm: ChatGLM, road: str) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """Ask by this road; return the text, what came beside it all together, and in its chunks."""
    heard = Heard()
    if "generate" in road:
        asked = llm.generate(["x"]) if road == "generate" else asyncio.run(llm.agenerate(["x"]))
        found = asked.generations[0][0]
        return found.text, dict(found.generation_info or {}), []
    if road == "stream":
        text = "".join(llm.stream("x", config={"callbacks": [heard]}))
    else:
        text = asyncio.run(_astreamed(llm, heard))
    together: dict[str, Any] = {}
    for info in heard.infos:
        for name, value in info.items():
            together[name] = together.get(name, "") + value if name == "reasoning" else value
    return text, together, heard.infos


async def _astreamed(llm: ChatGLM, heard: BaseCallbackHandler) -> str:
    return "".join([piece async for piece in llm.astream("x", config={"callbacks": [heard]})])


@roads
def test_calling_stream__tells_what_is_no_text(road: str) -> None:
    """openai: usage, finish_reason, model and reasoning each come once, reasoning never in the text."""
    thought = [chunk(None, reasoning_content="Let me "), chunk(None, reasoning_content="see.")]
    end = [chunk(None, finish_reason="stop"), {"choices": [], "usage": USAGE}]
    with ScriptedServer(sse([chunk("", role="assistant"), *thought, chunk("你"), chunk("好"), *end])) as server:
        text, info, infos = told(make_model(server, "openai"), road)
    assert text == "你好"
    expected = {"model": "test-glm", "reasoning": "Let me see.", "finish_reason": "stop", "usage": USAGE}
    assert info == expected
    for name in ("usage", "finish_reason", "model"):
        assert not infos or sum(name in one for one in infos) == 1


@both
@roads
def test_calling_stream__of_the_local_server(dialect: str, road: str, local: LocalServer) -> None:
    """The real server's answers carry their end, and on openai their counts and their model."""
    text, info, _ = told(make_local_model(local, dialect), road)
    assert text and info["finish_reason"] == "stop"
    if dialect == "openai":
        usage = info["usage"]
        assert info["model"] == local.model
        assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] > 2


@roads
def test_calling_stream__says_that_the_answer_was_cut(road: str, local: LocalServer) -> None:
    """openai: an answer that met its limit says ``length``."""
    assert told(make_local_model(local, "openai", max_token=2), road)[1]["finish_reason"] == "length"


@roads
def test_calling_stream__answered_as_plain_json(road: str) -> None:
    """openai: a server that ignores ``stream`` is understood, with all that it says."""
    message = {"role": "assistant", "content": "你好", "reasoning_content": "Hm"}
    whole = {"model": "m", "choices": [{"message": message, "finish_reason": "length"}], "usage": USAGE}
    with ScriptedServer(reply(whole)) as server:
        text, info, _ = told(make_model(server, "openai"), road)
    assert text == "你好"
    assert info == {"model": "m", "reasoning": "Hm", "finish_reason": "length", "usage": USAGE}


@both
@roads
def test_calling_stream__ends_at_a_stop_string(dialect: str, road: str) -> None:
    """A stop string in the middle of two pieces ends the text, says so, and closes the connection."""
    hold = threading.Event()
    pieces = sse([chunk("一E"), chunk("N"), chunk("D二"), chunk("三")], hold=hold)
    with ScriptedServer(pieces if dialect == "openai" else legacy("一END二三")) as server:
        text, info, _ = told(make_model(server, dialect, stop=["END"]), road)
        assert (text, info["finish_reason"]) == ("一", "stop")
        if dialect != "chatglm":
            server.wait_closed(server.posts[0], 1.0)


@roads
def test_calling_stream__says_what_was_changed(road: str) -> None:
    """Bytes that are no UTF-8 are shown as such, and ``changed`` says so."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    said = b'data: {"choices":[{"delta":{"content":"a\xff"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'

    def script(connection: Any, asked: Any) -> None:
        connection.sendall(head + said)
        connection.shutdown(1)

    with ScriptedServer(script) as server:
        text, info, _ = told(make_model(server, "openai"), road)
    assert text == "a\ufffd" and "UTF-8" in info["changed"][0]


@both
@pytest.mark.parametrize("road", ["stream", "astream"])
def test_calling_astream__tells_handlers_of_errors(dialect: str, road: str) -> None:
    """A handler hears of the error that the caller gets, and of no end."""
    heard = Heard()
    with (
        ScriptedServer(reply({"error": "no"}, status=400)) as server,
        pytest.raises(ValueError, match="no") as caught,
    ):
        llm = make_model(server, dialect, callbacks=[heard])
        list(llm.stream("x")) if road == "stream" else asyncio.run(_astreamed(llm, Heard()))
    assert heard.errors == [caught.value] and heard.ends == []


def test_calling_stream__is_live() -> None:
    """openai: a piece is handed out while the server still holds the next one back."""
    hold = threading.Event()
    with ScriptedServer(sse([chunk("一"), chunk("二", finish_reason="stop")], hold=hold)) as server:
        stream: Iterator[str] = make_model(server, "openai").stream("x")
        assert next(stream) == "一"
        hold.set()
        assert "".join(stream) == "二"


@both
def test_calling_astream__is_native(dialect: str) -> None:
    """A hundred streams on one loop need no thread of ours."""
    before, new = set(threading.enumerate()), set()

    async def ask(llm: ChatGLM) -> str:
        pieces = [piece async for piece in llm.astream("x")]
        new.update(thread.name for thread in set(threading.enumerate()) - before if "_serve" not in thread.name)
        return "".join(pieces)

    async def all_of_them(llm: ChatGLM) -> list[str]:
        return await asyncio.gather(*[ask(llm) for _ in range(100)])

    script = answer("一", "二") if dialect == "openai" else reply_with("一二")
    with ScriptedServer(script) as server:
        before.update(threading.enumerate())
        assert asyncio.run(all_of_them(make_model(server, dialect))) == ["一二"] * 100
        assert new == set()


@pytest.mark.parametrize("road", ["stream", "astream"])
def test_calling_astream__left_early_closes(road: str) -> None:
    """openai: who stops reading closes the connection within a second, and keeps what came."""

    async def left(llm: ChatGLM) -> str:
        async with aclosing(llm.astream("x")) as stream:  # type: ignore[type-var]
            async for piece in stream:
                return piece
        raise AssertionError

    with ScriptedServer(sse([chunk("一"), chunk("二")], hold=threading.Event())) as server:
        llm = make_model(server, "openai")
        assert (next(iter(llm.stream("x"))) if road == "stream" else asyncio.run(left(llm))) == "一"
        server.wait_closed(server.posts[0], 1.0)


@roads
def test_calling_stream__passes_over_what_is_no_chunk(road: str) -> None:
    """openai: an event that is JSON but no object says nothing, and harms nothing."""
    events = [chunk("一"), "3", "null", "[1]", '"x"', "{}", chunk("二", finish_reason="stop")]
    with ScriptedServer(sse(events)) as server:
        assert told(make_model(server, "openai"), road)[0] == "一二"


@both
@pytest.mark.parametrize("road", ["stream", "astream"])
@pytest.mark.parametrize("name", ["tags", "metadata", "callbacks", "run_name"])
def test_calling_stream__never_sends_what_is_langchains(dialect: str, road: str, name: str) -> None:
    """What belongs into a configuration and is given beside it is heard or refused, but not sent to the server."""
    value: Any = {"tags": ["t"], "metadata": {"student": "A"}, "callbacks": None, "run_name": "r"}[name]

    async def ask(llm: ChatGLM) -> None:
        async for _ in llm.astream("x", **{name: value}):
            pass

    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        with suppress(TypeError, ValueError):
            list(llm.stream("x", **{name: value})) if road == "stream" else asyncio.run(ask(llm))
        assert [name for post in server.posts if name in post.body] == []
