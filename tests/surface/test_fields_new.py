"""The fields that the original has not: what is asked for, and how."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import ParameterError

from ..support.models import Crowd, both, make_local_model, make_model, reply_with
from ..support.servers import ScriptedServer, reply


def sent(dialect: str, *, call: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return the body of one question."""
    with ScriptedServer(reply_with("ok")) as server:
        assert make_model(server, dialect, **fields).invoke("x", **(call or {})) == "ok"
        return dict(server.posts[0].body)


def test_field_model() -> None:
    """The served model's name is sent, as the original sends a call's, or left out; a call may name another."""
    assert sent("openai", model="glm-4.6")["model"] == "glm-4.6"
    assert sent("openai", model="glm-4.6", call={"model": "glm-5"})["model"] == "glm-5"
    assert "model" not in sent("openai") and "model" not in sent("chatglm")
    assert sent("chatglm", call={"model": "glm-5"})["model"] == "glm-5"


def test_field_model__of_the_local_server(local: LocalServer) -> None:
    """The local server answers to its own name, and says it."""
    answer = make_local_model(local, "openai", model=local.model).generate(["hi"]).generations[0][0]
    assert answer.generation_info is not None and answer.generation_info["model"] == local.model


@pytest.mark.parametrize(
    ("ending", "dialect", "path", "key"),
    [
        ("", None, "/", "prompt"),
        ("v1", None, "/v1/chat/completions", "messages"),
        ("v1/", None, "/v1/chat/completions", "messages"),
        ("api/paas/v4", None, "/api/paas/v4/chat/completions", "messages"),
        ("a/chat/completions", None, "/a/chat/completions", "messages"),
        ("", "openai", "/chat/completions", "messages"),
        ("v1", "chatglm", "/v1", "prompt"),
    ],
)
def test_field_dialect(ending: str, dialect: Any, path: str, key: str) -> None:
    """It follows from the address unless it is said: ids of /v1 and v4 speak openai, all else chatglm."""
    with ScriptedServer(reply_with("ok")) as server:
        assert ChatGLM(endpoint_url=server.url + ending, dialect=dialect).invoke("x") == "ok"
        assert server.posts[0].path == path and key in server.posts[0].body


def test_field_dialect__of_another_name_is_refused() -> None:
    """Only the two dialects exist."""
    with pytest.raises(ParameterError, match="dialect must be chatglm or openai"):
        ChatGLM(dialect="ollama")


@both
def test_field_system(dialect: str, local: LocalServer) -> None:
    """It is a message of its own on /v1, stands before the prompt else, and does the local model no harm."""
    body = sent(dialect, system="Be short.")
    if dialect == "openai":
        assert body["messages"][0] == {"role": "system", "content": "Be short."}
    else:
        assert body["prompt"] == "Be short.\n\nx"
    if dialect == "openai":
        assert make_local_model(local, dialect, system="Be short.").invoke("hi").startswith("Hi!")


@both
@pytest.mark.parametrize("stop", ["top_p", ["Jupyter", "top_p"]])
def test_field_stop(dialect: str, stop: Any, local: LocalServer) -> None:
    """The answer ends before the first stop string; a call's own take the place of the object's."""
    llm = make_local_model(local, dialect, stop=stop)
    assert llm.invoke("hi") == "Hi! Ask me about temperature, "
    assert "".join(llm.stream("hi")) == "Hi! Ask me about temperature, "
    assert llm.invoke("hi", stop=["about"]) == "Hi! Ask me "
    assert llm.invoke("hi", stop=[]).endswith("Jupyter.")
    assert sent("openai", stop=stop)["stop"] == ([stop] if isinstance(stop, str) else stop)


@both
@pytest.mark.parametrize("wrong", [3, [3], ["a", None], {"a": 1}, b"a"])
def test_field_stop__is_text(dialect: str, wrong: Any) -> None:
    """What is no text is refused with the field's name, given, assigned or in a call, before anything is sent."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        for attempt in (
            lambda: ChatGLM(stop=wrong),
            lambda: setattr(llm, "stop", wrong),
            lambda: llm.invoke("x", stop=wrong),
            lambda: llm.bind(stop=wrong).invoke("x"),
            lambda: list(llm.stream("x", stop=wrong)),
            lambda: llm.batch(["x"], stop=wrong),
        ):
            with pytest.raises(ParameterError, match="stop"):
                attempt()
        assert server.asked == []


@both
def test_field_seed(dialect: str, local: LocalServer) -> None:
    """The same seed makes the same answer at a temperature where answers vary."""

    def wild(seed: int) -> str:
        return make_local_model(local, dialect, temperature=5, top_p=1.0, seed=seed).invoke("hi")

    assert wild(1) == wild(1) and len({wild(seed) for seed in range(3)}) > 1
    assert sent(dialect, seed=7)["seed"] == 7 and sent(dialect, call={"seed": 8})["seed"] == 8
    with pytest.raises(ParameterError, match="seed"):
        ChatGLM(seed=1.5)


@both
def test_field_max_concurrency(dialect: str) -> None:
    """So many questions of a batch are under way at once: 16 unless it is said."""
    for fields, limit in (({}, 16), ({"max_concurrency": 3}, 3), ({"max_concurrency": 1}, 1)):
        crowd = Crowd(limit)
        with ScriptedServer(crowd) as server:
            make_model(server, dialect, **fields).batch([str(n) for n in range(limit + 4)])
        assert crowd.most == limit


@both
@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, float("nan"), "many", None])
def test_field_max_concurrency__is_a_number_from_one_on(dialect: str, wrong: Any) -> None:
    """Anything else is refused with the field's name."""
    with pytest.raises(ParameterError, match="max_concurrency"):
        ChatGLM(max_concurrency=wrong, dialect=dialect)


def test_field_stream_usage() -> None:
    """Token counts are asked for unless the server is not to be asked."""
    assert sent("openai")["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent("openai", stream_usage=False)
    assert "stream_options" not in sent("chatglm")


@pytest.mark.parametrize("road", ["sync", "async"])
def test_field_stream_usage__is_left_out_where_it_is_refused(road: str) -> None:
    """openai: a server that knows no stream_options is asked again without, at once and not as a retry."""
    refuse = reply({"detail": "Unsupported fields in the request: {'stream_options'}"}, status=422)
    with ScriptedServer(refuse, reply_with("ok")) as server:
        llm = make_model(server, "openai", max_retries=0)
        assert (llm.invoke("x") if road == "sync" else asyncio.run(llm.ainvoke("x"))) == "ok"
        assert ["stream_options" in post.body for post in server.posts] == [True, False]
