"""Keys, headers and names: what is sent to whom alone, and what does not exist."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import ChatGLMError, EndpointError, ParameterError

from ..support.models import both, endpoint_of, make_model, read_prompt, reply_with
from ..support.servers import ScriptedServer, reply


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
    with ScriptedServer(reply_with("ok")) as own, ScriptedServer(reply_with("ok")) as other:
        llm, url = (
            make_model(own, dialect, api_key="sk-canary", headers={"X-A": "canary"}),
            endpoint_of(other, dialect),
        )
        llm.invoke("x", endpoint_url=url)
        llm.bind(endpoint_url=url).invoke("x")
        llm.model_copy(update={"endpoint_url": url}).invoke("x")
        llm.endpoint_url = url
        llm.invoke("x")
        assert ["canary" in str(post.headers) for post in other.posts] == [False] * 4


@both
@pytest.mark.parametrize("kind", [str, str.encode], ids=["text", "bytes"])
def test_field_api_key__in_an_address_is_refused(dialect: str, kind: Any) -> None:
    """An address is shown and saved, so that one with a password is refused at once, and not shown."""
    llm = ChatGLM(dialect=dialect)
    for attempt in (
        lambda: ChatGLM(endpoint_url=kind("http://me:canary@127.0.0.1:1/")),
        lambda: setattr(llm, "endpoint_url", kind("http://me:canary@127.0.0.1:1/")),
    ):
        with pytest.raises(ChatGLMError, match="password") as caught:
            attempt()
        assert "canary" not in str(caught.value) + repr(llm)


@both
def test_field_headers(dialect: str) -> None:
    """Further headers go to the endpoint; they stand in no repr, no dump and no body."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, headers={"X-Course": "canary"})
        llm.invoke("x")
        assert server.posts[0].headers["x-course"] == "canary"
        assert "canary" not in repr(llm) + llm.model_dump_json() + server.posts[0].raw.decode()


@both
def test_field_headers__are_not_in_an_error(dialect: str) -> None:
    """What a server repeats of a header is not shown, unless it is too short to be a secret."""
    said = {"error": "bad header canary-0123456789abcdef, or ab?"}
    with ScriptedServer(reply(said, status=400)) as server, pytest.raises(ValueError, match="or ab") as caught:
        headers = {"X-Auth": "canary-0123456789abcdef", "X-B": "ab"}
        make_model(server, dialect, headers=headers).invoke("x")
    assert "canary" not in str(caught.value)


@both
def test_field_insecure(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key goes over plain http to another machine only if that is allowed; here a proxy stands for it."""
    with ScriptedServer(reply_with("ok")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        url = "http://glm.invalid/" + ("v1" if dialect == "openai" else "")
        with pytest.raises(EndpointError) as caught:
            ChatGLM(endpoint_url=url, api_key="sk-canary").invoke("x")
        assert caught.value.kind == "insecure" and "canary" not in str(caught.value) and proxy.asked == []
        assert ChatGLM(endpoint_url=url, api_key="sk-canary", insecure=True).invoke("x") == "ok"
        assert read_prompt(proxy.posts[0].body) == "x" and "authorization" in proxy.posts[0].headers


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
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        for attempt in (
            lambda: ChatGLM(endpoint_url=endpoint_of(server, dialect), **{wrong: 5}),
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
