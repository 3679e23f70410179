"""The fields that the original has not: what is asked for, and how."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import EndpointError, ParameterError

from ..servers import ScriptedServer
from .tools import Crowd, address, both, local_model, model, prompt_of, says


def sent(dialect: str, *, call: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return the body of one question."""
    with ScriptedServer(says("ok")) as server:
        assert model(server, dialect, **fields).invoke("x", **(call or {})) == "ok"
        return dict(server.posts[0].body)


def test_field_model() -> None:
    """The served model's name is sent on /v1, or left out; a call may name another."""
    assert sent("openai", model="glm-4.6")["model"] == "glm-4.6"
    assert sent("openai", model="glm-4.6", call={"model": "glm-5"})["model"] == "glm-5"
    assert "model" not in sent("openai") and "model" not in sent("chatglm", model="glm-4.6")


def test_field_model__of_the_local_server(local: LocalServer) -> None:
    """The local server answers to its own name, and says it."""
    answer = local_model(local, "openai", model=local.model).generate(["hi"]).generations[0][0]
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
    with ScriptedServer(says("ok")) as server:
        assert ChatGLM(endpoint_url=server.url + ending, dialect=dialect).invoke("x") == "ok"
        assert server.posts[0].path == path and key in server.posts[0].body


def test_field_dialect__of_another_name_is_refused() -> None:
    """Only the two dialects exist."""
    with pytest.raises(ParameterError, match="dialect must be chatglm or openai"):
        ChatGLM(dialect="ollama")


@both
def test_field_api_key(dialect: str, local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local server lets nobody in without its key, which may be a text, a SecretStr, or the environment's."""
    url = local.url if dialect == "openai" else local.base_url
    with pytest.raises(ValueError, match="key") as caught:
        ChatGLM(endpoint_url=url).invoke("hi")
    assert getattr(caught.value, "kind", "") == "auth" and local.token not in str(caught.value)
    for key in (local.token, SecretStr(local.token)):
        llm = ChatGLM(endpoint_url=url, api_key=key, max_token=32)
        assert isinstance(llm.api_key, SecretStr) and local.token not in repr(llm) and llm.invoke("hi")
    monkeypatch.setenv("CHATGLM_API_KEY", local.token)
    assert ChatGLM(endpoint_url=url, max_token=32).invoke("hi")


@both
def test_field_api_key__stays_with_its_origin(dialect: str) -> None:
    """However the address comes to be another one, it gets neither key nor headers."""
    with ScriptedServer(says("ok")) as own, ScriptedServer(says("ok")) as other:
        llm, url = model(own, dialect, api_key="sk-canary", headers={"X-A": "canary"}), address(other, dialect)
        llm.invoke("x", endpoint_url=url)
        llm.bind(endpoint_url=url).invoke("x")
        llm.model_copy(update={"endpoint_url": url}).invoke("x")
        llm.endpoint_url = url
        llm.invoke("x")
        assert ["canary" in str(post.headers) for post in other.posts] == [False] * 4


@both
def test_field_system(dialect: str, local: LocalServer) -> None:
    """It is a message of its own on /v1, stands before the prompt else, and does the local model no harm."""
    body = sent(dialect, system="Be short.")
    if dialect == "openai":
        assert body["messages"][0] == {"role": "system", "content": "Be short."}
    else:
        assert body["prompt"] == "Be short.\n\nx"
    if dialect == "openai":
        assert local_model(local, dialect, system="Be short.").invoke("hi").startswith("Hi!")


@both
@pytest.mark.parametrize("stop", ["top_p", ["Jupyter", "top_p"]])
def test_field_stop(dialect: str, stop: Any, local: LocalServer) -> None:
    """The answer ends before the first stop string; a call's own take the place of the object's."""
    llm = local_model(local, dialect, stop=stop)
    assert llm.invoke("hi") == "Hi! Ask me about temperature, "
    assert "".join(llm.stream("hi")) == "Hi! Ask me about temperature, "
    assert llm.invoke("hi", stop=["about"]) == "Hi! Ask me "
    assert llm.invoke("hi", stop=[]).endswith("Jupyter.")
    assert sent("openai", stop=stop)["stop"] == ([stop] if isinstance(stop, str) else stop)


@both
def test_field_seed(dialect: str, local: LocalServer) -> None:
    """The same seed makes the same answer at a temperature where answers vary."""

    def wild(seed: int) -> str:
        return local_model(local, dialect, temperature=5, top_p=1.0, seed=seed).invoke("hi")

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
            model(server, dialect, **fields).batch([str(n) for n in range(limit + 4)])
        assert crowd.most == limit


@both
@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, float("nan"), "many", None])
def test_field_max_concurrency__is_a_number_from_one_on(dialect: str, wrong: Any) -> None:
    """Anything else is refused with the field's name."""
    with pytest.raises(ParameterError, match="max_concurrency"):
        ChatGLM(max_concurrency=wrong, dialect=dialect)


@both
def test_field_headers(dialect: str) -> None:
    """Further headers go to the endpoint; they stand in no repr, no dump and no body."""
    with ScriptedServer(says("ok")) as server:
        llm = model(server, dialect, headers={"X-Course": "canary"})
        llm.invoke("x")
        assert server.posts[0].headers["x-course"] == "canary"
        assert "canary" not in repr(llm) + llm.model_dump_json() + server.posts[0].raw.decode()


def test_field_stream_usage() -> None:
    """Token counts are asked for unless the server is not to be asked."""
    assert sent("openai")["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent("openai", stream_usage=False)
    assert "stream_options" not in sent("chatglm")


@both
def test_field_insecure(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key goes over plain http to another machine only if that is allowed; here a proxy stands for it."""
    with ScriptedServer(says("ok")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        url = "http://glm.invalid/" + ("v1" if dialect == "openai" else "")
        with pytest.raises(EndpointError) as caught:
            ChatGLM(endpoint_url=url, api_key="sk-canary").invoke("x")
        assert caught.value.kind == "insecure" and "canary" not in str(caught.value) and proxy.asked == []
        assert ChatGLM(endpoint_url=url, api_key="sk-canary", insecure=True).invoke("x") == "ok"
        assert prompt_of(proxy.posts[0].body) == "x" and "authorization" in proxy.posts[0].headers


@both
@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        *(("max_tokens", "max_token"), ("max_length", "max_token"), ("temprature", "temperature")),
        *(("topp", "top_p"), ("endpoint", "endpoint_url"), ("with_hist", "with_history")),
        *(("openai_api_key", "api_key"), ("apikey", "api_key"), ("model_name", "model")),
        *(("timeouts", "timeout"), ("retries", "max_retries"), ("max_concurency", "max_concurrency")),
        *(("system_prompt", "system"), ("request_timeout", "timeout"), ("callback", "callbacks")),
    ],
)
def test_field_misspelt_name(dialect: str, wrong: str, right: str) -> None:
    """A name that does not exist is an error with the right one in it, given or assigned."""
    with ScriptedServer(says("ok")) as server:
        llm = model(server, dialect)
        for attempt in (
            lambda: ChatGLM(endpoint_url=address(server, dialect), **{wrong: 5}),
            lambda: setattr(llm, wrong, 5),
        ):
            with pytest.raises(ParameterError, match=rf"{wrong}.*Did you mean {right}\?") as caught:
                attempt()
            assert caught.value.kind == "unknown_name"
        assert server.asked == []


@pytest.mark.parametrize(
    ("foreign", "right"), [("base_url", "endpoint_url"), ("url", "endpoint_url"), ("stop_sequences", "stop")]
)
def test_field_misspelt_name__gets_no_wrong_hint(foreign: str, right: str) -> None:
    """A name of another library is told the right one, or where further keys go: never an unlike field."""
    with pytest.raises(ParameterError) as caught:
        ChatGLM(**{foreign: 5})
    assert f"Did you mean {right}?" in str(caught.value) or "Did you mean" not in str(caught.value)
