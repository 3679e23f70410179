"""A key stays with its process, its origin and its owner: pickles, traces and changed addresses."""

from __future__ import annotations

import asyncio
import copy
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import ConfigurableField
from pydantic import SecretStr

from chatglm_magic import ChatGLM, Session
from chatglm_magic.errors import ChatGLMError

from .support.canary import KEY, PLACES, PROMPT, has_leaked, make_model_with_key
from .support.servers import ScriptedServer, answer, legacy, reply


@pytest.mark.row("S11")
def test_a_secret_is_pickled_in_clear() -> None:
    """The control: pydantic's SecretStr hides from print, not from pickle."""
    assert has_leaked(pickle.dumps(SecretStr(KEY))) and not has_leaked(SecretStr(KEY))


def pickles(thing: object) -> Iterator[bytes]:
    """Yield each form in which an object goes to a worker."""
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps(thing, protocol)
    with suppress(ImportError):  # what Dask sends by
        import cloudpickle

        yield cloudpickle.dumps(thing)
    whole = io.BytesIO()
    pickle._Pickler(whole).dump(thing)  # type: ignore[attr-defined]
    yield whole.getvalue()


@pytest.mark.row("S11")
@pytest.mark.parametrize("place", PLACES)
def test_a_pickle_holds_no_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model, alone or in a chain, new or used, goes to a worker without its key, and works there."""
    with ScriptedServer(legacy("ok")) as server:
        llm = make_model_with_key(place, monkeypatch, endpoint_url=server.url)
        llm.invoke(PROMPT)
        asyncio.run(llm.ainvoke(PROMPT))
        for thing in (llm, llm.bind(stop=["x"]), PromptTemplate.from_template("{x}") | llm, [llm]):
            for data in pickles(thing):
                assert not has_leaked(data)
        assert not has_leaked(llm.__getstate__(), llm.__reduce_ex__(4))
        arrived = pickle.loads(pickle.dumps(llm))  # noqa: S301
        monkeypatch.delenv("CHATGLM_API_KEY", raising=False)
        assert arrived.invoke(PROMPT) == "ok" and not has_leaked(server.posts[-1].headers)
        monkeypatch.setenv("CHATGLM_API_KEY", KEY)
        arrived.invoke(PROMPT)
        assert has_leaked(server.posts[-1].headers)


@pytest.mark.row("S11")
def test_an_error_that_is_pickled_holds_no_key() -> None:
    """Dask sends a worker's error back: it arrives with its kind, and without the key."""
    with ScriptedServer(reply({"error": "no"}, status=401)) as server:
        with pytest.raises(ChatGLMError) as caught:
            ChatGLM(endpoint_url=server.url, api_key=KEY).invoke(PROMPT)
        for data in pickles(caught.value):
            assert not has_leaked(data)
        assert pickle.loads(pickle.dumps(caught.value)).kind == "auth"  # noqa: S301


@pytest.mark.row("S11")
@pytest.mark.parametrize("place", ["api_key", "headers"])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, ChatGLM.model_copy], ids=["copy", "deep", "model"])
def test_a_copy_keeps_the_key(copied: Callable[[Any], ChatGLM], place: str) -> None:
    """A copy in this process asks as the original does, and shows as little."""
    with ScriptedServer(legacy()) as server:
        fields: Any = {"api_key": KEY} if place == "api_key" else {"headers": {"X-Auth": KEY}}
        twin = copied(ChatGLM(endpoint_url=server.url, **fields))
        twin.invoke(PROMPT)
        assert KEY in "".join(server.posts[0].headers.values())
        assert not has_leaked(repr(twin), vars(twin)) and not has_leaked(pickle.dumps(twin))


TRACED = """
import asyncio, os, sys
before = dict(os.environ)
from chatglm_magic import ChatGLM, get_session
llm = ChatGLM(endpoint_url=sys.argv[1], api_key=os.environ["CANARY"], headers={"X-Auth": os.environ["CANARY"]})
llm.invoke(sys.argv[2])
asyncio.run(llm.ainvoke(sys.argv[2]))
get_session().llm = llm
try:
    get_session().ask(sys.argv[2])
except ValueError as error:
    assert error.kind == "auth"
from langchain_core.tracers.langchain import wait_for_all_tracers
wait_for_all_tracers()
assert before == dict(os.environ), set(before) ^ set(os.environ)
"""


def traced(environment: dict[str, str]) -> bytes:
    """Ask in a process of its own; return all that a tracing service was sent."""
    refused = reply({"error": "no"}, status=401)
    with ScriptedServer(answer("ok"), answer("ok"), refused) as server, ScriptedServer(reply({})) as ls:
        home = {"LANGSMITH_ENDPOINT": ls.url.rstrip("/"), "LANGSMITH_API_KEY": "ls-key", "CANARY": KEY}
        done = subprocess.run(
            [sys.executable, "-c", TRACED, server.url + "v1", PROMPT],
            env={**os.environ, **home, "LANGSMITH_DISABLE_RUN_COMPRESSION": "true", **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert not has_leaked(done.stdout, done.stderr) and len(server.posts) == 3
        assert KEY in "".join(server.posts[0].headers.values())
        return b"".join(asked.raw for asked in ls.asked)


@pytest.mark.row("S17")
def test_tracing_is_not_switched_on_by_us() -> None:
    """With a tracing service and its key in the environment, but not switched on, nothing goes there."""
    assert traced({}) == b""


@pytest.mark.row("S17")
def test_a_trace_that_is_switched_on_holds_no_key() -> None:
    """The service is sent the prompts, which is its job (the control), and never the key."""
    sent = traced({"LANGSMITH_TRACING": "true"})
    assert PROMPT.encode() in sent and not has_leaked(sent)


def headers_of(llm: ChatGLM, **call: Any) -> str:
    """Return the headers' values that a question would carry."""
    return " ".join(llm.plan(PROMPT, **call).request.headers.values())


OTHERS = ["http://localhost:{port}/", "https://127.0.0.1:{port}/", "http://127.0.0.1:1/", "http://[::1]:{port}/"]


@pytest.mark.row("S18")
@pytest.mark.parametrize("place", ["api_key", "headers"])
@pytest.mark.parametrize("other", OTHERS, ids=["host", "scheme", "port", "address"])
def test_another_origin_gets_no_key(other: str, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call's own address has no key; an assigned one has none either, also after going back."""
    llm = make_model_with_key(place, monkeypatch, endpoint_url="http://127.0.0.1:8000/")
    url = other.format(port=8000)
    assert not has_leaked(headers_of(llm, endpoint_url=url)) and has_leaked(headers_of(llm))
    llm.endpoint_url = url
    assert llm.api_key is None and not llm.headers and not has_leaked(headers_of(llm))
    llm.endpoint_url = "http://127.0.0.1:8000/"
    assert not has_leaked(headers_of(llm))


@pytest.mark.row("S18")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("same", ["/v1", ":80/", "/a/b?c=d", ""])
def test_another_path_of_the_same_origin_keeps_the_key(
    same: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the origin is scheme, host and port, and nothing else."""
    llm = make_model_with_key(
        place, monkeypatch, endpoint_url="https://GLM.example/" if same != ":80/" else "http://localhost/"
    )
    home = "https://glm.example" if same != ":80/" else "http://localhost"
    llm.endpoint_url = home + same
    assert has_leaked(headers_of(llm))


def changed_by_configuration(llm: ChatGLM, url: str) -> Any:
    field = ConfigurableField(id="url")
    return llm.configurable_fields(endpoint_url=field).with_config(configurable={"url": url})


CHANGES: dict[str, Callable[[ChatGLM, str], Any]] = {
    "bind": lambda llm, url: llm.bind(endpoint_url=url),
    "model_copy": lambda llm, url: llm.model_copy(update={"endpoint_url": url}),
    "configurable_fields": changed_by_configuration,
    "copy": lambda llm, url: _assigned(copy.copy(llm), url),
    "deepcopy": lambda llm, url: _assigned(copy.deepcopy(llm), url),
    "session": lambda llm, url: _through_settings(llm, url),
}


def _assigned(llm: ChatGLM, url: str) -> ChatGLM:
    llm.endpoint_url = url
    return llm


def _through_settings(llm: ChatGLM, url: str) -> ChatGLM:
    session = Session()
    session.llm = llm
    session.settings.endpoint_url = url
    return session.llm


@pytest.mark.row("S18")
@pytest.mark.parametrize("place", ["api_key", "headers"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", ["sync", "async"])
def test_no_way_of_changing_the_address_takes_the_key_along(
    change: str, place: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bound, copied, configured or set: the other server is asked, and sees no key."""
    with ScriptedServer(legacy()) as own, ScriptedServer(legacy()) as other:
        llm = make_model_with_key(place, monkeypatch, endpoint_url=own.url)
        llm.invoke(PROMPT)
        assert has_leaked(own.posts[0].headers)
        changed = CHANGES[change](llm, other.url)
        changed.invoke(PROMPT) if way == "sync" else asyncio.run(changed.ainvoke(PROMPT))
        assert len(other.posts) == 1 and not has_leaked(other.posts[0].headers)


@pytest.mark.row("S18")
def test_a_key_of_the_environment_goes_to_its_own_origin_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """CHATGLM_API_KEY to CHATGLM_ENDPOINT_URL; Z.ai's to its two hosts, over TLS, at their usual port."""
    monkeypatch.setenv("ZAI_API_KEY", KEY)
    zai = "https://api.z.ai/api/paas/v4"
    for url in (zai, "https://open.bigmodel.cn/api/paas/v4", "https://API.z.ai:443/v1"):
        assert has_leaked(headers_of(ChatGLM(endpoint_url=url)))
        assert has_leaked(headers_of(ChatGLM(), endpoint_url=url))
    for url in (
        *("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1?host=api.z.ai", "https://api.z.ai.example/v1"),
        *("https://api.z.ai:8443/v1", "https://z.ai/v1", "https://api-z.ai/v1", "https://xapi.z.ai/v4"),
    ):
        assert not has_leaked(headers_of(ChatGLM(endpoint_url=url)))
    monkeypatch.delenv("ZAI_API_KEY")
    monkeypatch.setenv("CHATGLM_API_KEY", KEY)
    monkeypatch.setenv("CHATGLM_ENDPOINT_URL", "http://127.0.0.1:8000/v1")
    assert has_leaked(headers_of(ChatGLM(endpoint_url="http://127.0.0.1:8000/")))
    for url in (zai, "http://127.0.0.1:8001/", "http://localhost:8000/", "https://127.0.0.1:8000/"):
        assert not has_leaked(headers_of(ChatGLM(endpoint_url=url)))


@pytest.mark.row("S18")
def test_a_plain_address_of_zai_gets_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same host without TLS is another origin: refused, or asked without the key."""
    monkeypatch.setenv("ZAI_API_KEY", KEY)
    try:
        assert not has_leaked(headers_of(ChatGLM(endpoint_url="http://api.z.ai/api/paas/v4")))
    except ChatGLMError as error:
        assert error.kind == "insecure"
