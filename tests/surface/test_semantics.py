"""The sentences of the issue under "semantics to keep"."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import ChatGLMError

from ..support.models import both, make_local_model, make_model, read_history, reply_with
from ..support.servers import ScriptedServer, chunk, hang, raw, reply, sse

ROADS: dict[str, Callable[..., object]] = {
    "invoke": lambda llm, prompt, **more: llm.invoke(prompt, **more),
    "stream": lambda llm, prompt, **more: list(llm.stream(prompt, **more)),
    "ainvoke": lambda llm, prompt, **more: asyncio.run(llm.ainvoke(prompt, **more)),
    "batch": lambda llm, prompt, **more: llm.batch([prompt], **more),
}
roads = pytest.mark.parametrize("road", ROADS)


@both
@roads
def test_semantics_precedence(dialect: str, road: str) -> None:
    """Call arguments beat model_kwargs beat fields, whichever of a parameter's names is used."""
    limit = "max_tokens" if dialect == "openai" else "max_length"
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(
            server, dialect, temperature=0.2, max_token=2, seed=2, model_kwargs={"temperature": 0.3, limit: 3}
        )
        for arguments in ({}, {"temperature": 0.4}, {"max_token": 4}, {limit: 5, "k": 6}):
            ROADS[road](llm, "x", **arguments)
        sent = [(post.body["temperature"], post.body[limit], post.body["seed"]) for post in server.posts]
        assert sent == [(0.3, 3, 2), (0.4, 3, 2), (0.3, 4, 2), (0.3, 5, 2)]
        assert server.posts[3].body["k"] == 6
        llm.model_kwargs = None
        ROADS[road](llm, "x")
        assert server.posts[4].body["temperature"] == 0.2 and server.posts[4].body[limit] == 2


@both
@roads
def test_semantics_history_is_sent(dialect: str, road: str) -> None:
    """With with_history=False the history goes along with each question, and does not grow."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, history=[["a", "b"], ["c", "d"]], with_history=False)
        for _ in range(2):
            ROADS[road](llm, "x")
        assert [read_history(post.body) for post in server.posts] == [[["a", "b"], ["c", "d"]]] * 2
        assert llm.history == [["a", "b"], ["c", "d"]]


@both
def test_semantics_with_history_later(dialect: str, local: LocalServer) -> None:
    """``llm.with_history = True`` on a finished object: from then on the model is told what was said."""
    llm = make_local_model(local, dialect, max_token=300)
    llm.invoke("Tell me a joke.")
    assert llm.history == []
    llm.with_history = True
    joke = llm.invoke("Tell me a joke.")
    assert llm.invoke("Say that again.") == joke
    assert llm.history == [["Tell me a joke.", joke], ["Say that again.", joke]]


@both
def test_semantics_with_history_later__for_a_call(dialect: str) -> None:
    """A call may keep its turn though the object does not, and the other way round."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        llm.invoke("a", with_history=True)
        list(llm.stream("b", with_history=True))
        assert llm.history == [["a", "ok"], ["b", "ok"]]
        llm.with_history = True
        llm.invoke("c", with_history=False)
        assert len(llm.history) == 2
        assert all("with_history" not in post.body for post in server.posts)


@both
def test_semantics_llm_type(dialect: str) -> None:
    """The type's name is the original's, also in what is told of a run."""
    llm = ChatGLM(dialect=dialect)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert llm._llm_type == "chat_glm" == llm.dict()["_type"]


FAULTS = {
    "no server": None,
    "refused": reply({"error": "no"}, status=400),
    "no answer": reply({"nothing": 1}),
    "no json": reply("{"),
    "closed": raw(b""),
    "silent": hang(),
    "broken off": sse([chunk("a")], done=False),
}


@both
@roads
@pytest.mark.parametrize("fault", FAULTS)
def test_semantics_value_error(dialect: str, road: str, fault: str) -> None:
    """Every error of the network is a ValueError, with a kind, in one line."""
    script = FAULTS[fault]
    with ScriptedServer(script or hang()) as server:
        llm = make_model(server, dialect, timeout=0.2, max_retries=0)
        if script is None:
            llm.endpoint_url = "http://127.0.0.1:1/" + ("v1" if dialect == "openai" else "")
        with pytest.raises(ValueError) as caught:
            ROADS[road](llm, "x")
    assert (
        isinstance(caught.value, ChatGLMError) and caught.value.kind != "error" and "\n" not in str(caught.value)
    )


@pytest.fixture(scope="module")
def original() -> Any:
    """The original class, which warns that it is sunset."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = pytest.importorskip("langchain_community.llms", reason="the original is a rival, not a need")
    return found.ChatGLM


@roads
def test_semantics_original(road: str, original: Any) -> None:
    """One server, both classes, the same fields and calls: the same chatglm bodies, but for the zeros."""
    fields = {"temperature": 0.5, "top_p": 0.9, "max_token": 99, "history": [["a", "b"]], "model_kwargs": {"k": 1}}
    with ScriptedServer(reply_with("ok")) as server:
        for kind in (original, ChatGLM):
            llm = kind(endpoint_url=server.url, **fields)
            ROADS[road](llm, "x")
            ROADS[road](llm, "你好", temperature=0.6, foo=None)
            ROADS[road](kind(endpoint_url=server.url), "x")
            ROADS[road](kind(endpoint_url=server.url, temperature=0, top_p=0), "x")
        bodies = [post.body for post in server.posts]
    assert bodies[:3] == bodies[4:7]
    assert bodies[3] | {"temperature": 0.01, "top_p": 0.01} == bodies[7]


REASONS = {
    "network_error": ("server_error", "network_error"),
    "model_context_window_exceeded": ("too_long", "no room"),
}


@pytest.mark.parametrize("road", ["invoke", "ainvoke"])
@pytest.mark.parametrize("reason", REASONS)
def test_semantics_value_error__of_an_end_that_is_none(reason: str, road: str) -> None:
    """openai: a stream that ends well on the wire, but for one of Z.ai's bad reasons, is no answer."""
    kind, words = REASONS[reason]
    with ScriptedServer(sse([chunk("", role="assistant"), chunk(None, finish_reason=reason)])) as server:
        with pytest.raises(ChatGLMError, match=words) as caught:
            ROADS[road](make_model(server, "openai"), "x")
        assert caught.value.kind == kind and len(server.posts) == 1


@both
@pytest.mark.parametrize("road", ["invoke", "ainvoke"])
def test_semantics_value_error__of_a_damaged_refusal(dialect: str, road: str) -> None:
    """A refusal whose body is not compressed as it says is a refusal all the same."""
    with ScriptedServer(reply("plain", status=400, Content_Encoding="gzip")) as server:
        with pytest.raises(ChatGLMError, match="400") as caught:
            ROADS[road](make_model(server, dialect), "x")
        assert caught.value.kind == "bad_request"


STATUSES = {
    **dict.fromkeys((None, 200, "200", "ok", "OK"), "answer"),
    **dict.fromkeys((500, "500", 404, "error"), ""),
}


@pytest.mark.parametrize("road", ["invoke", "ainvoke"])
@pytest.mark.parametrize("status", STATUSES)
def test_semantics_value_error__of_a_status_in_the_body(status: Any, road: str) -> None:
    """chatglm: a 200 whose body says that it failed is no answer, and one that says it went well is."""
    with ScriptedServer(reply({"response": "answer", "history": [], "status": status})) as server:
        llm = make_model(server, "chatglm", with_history=True)
        if STATUSES[status]:
            assert ROADS[road](llm, "x") == "answer"
            return
        with pytest.raises(ChatGLMError, match=str(status)) as caught:
            ROADS[road](llm, "x")
        assert caught.value.kind == "server_error" and llm.history == []
