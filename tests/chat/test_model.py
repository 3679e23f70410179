"""The fields of ``GLMChatModel``, its likeness to ``ChatGLM``, caches, batches, and where its key is not."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd, dumps, load
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tracers.base import BaseTracer

from chatglm_magic import ChatGLM, GLMChatModel, Session
from chatglm_magic.errors import ChatGLMError, ParameterError

from ..support.canary import KEY, has_leaked
from ..support.servers import ScriptedServer, answer, chunk, hang, reply, sse
from .test_replies import TOOLS, function, piece

BASE = "http://127.0.0.1:9/v1"


def body(model: GLMChatModel, **options: Any) -> dict[str, Any]:
    """Return the body of a request, without its messages."""
    return {key: value for key, value in model.plan("hi", **options).request.body.items() if key != "messages"}


def test_max_tokens_has_both_names() -> None:
    """As a field, an attribute and an argument of a call; two values at once are refused."""
    for fields in ({"max_tokens": 7}, {"max_token": 7}):
        model = GLMChatModel(endpoint_url=BASE, **fields)
        assert model.max_tokens == model.max_token == 7 and body(model)["max_tokens"] == 7
    model.max_token = 8
    assert model.max_tokens == 8
    for name in ("max_tokens", "max_token"):
        assert body(model, **{name: 9})["max_tokens"] == 9
    with pytest.raises(ParameterError, match="are one parameter"):
        GLMChatModel(max_token=1, max_tokens=2)


def test_only_what_is_set_is_sent() -> None:
    """No default of the original goes to a ``/v1`` server."""
    assert body(GLMChatModel(endpoint_url=BASE)) == {"stream": True, "stream_options": {"include_usage": True}}
    model = GLMChatModel(
        endpoint_url=BASE, model="glm-4.6", temperature=0.5, top_k=3, seed=1, stop=["x"], thinking="off"
    )
    sent = body(model)
    assert sent["model"] == "glm-4.6" and sent["temperature"] == 0.5 and sent["top_k"] == 3
    assert (
        sent["seed"] == 1 and sent["stop"] == ["x"] and sent["chat_template_kwargs"] == {"enable_thinking": False}
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": 20}, "temperature must be a number from 0"),
        ({"max_tokens": 0}, "max_tokens must be a positive whole number"),
        ({"base_url": "x"}, "GLMChatModel has no field 'base_url'. Did you mean endpoint_url?"),
        ({"history": []}, "GLMChatModel has no field 'history'"),
        ({"thinking": "much"}, "off, on, low, high or max"),
    ],
)
def test_a_wrong_field_is_an_error_in_one_line(fields: dict[str, Any], said: str) -> None:
    """With what it takes, or the name that is meant; on assignment too."""
    with pytest.raises(ParameterError, match=r"\A[^\n]*\Z") as caught:
        GLMChatModel(**fields)
    assert said in str(caught.value)
    ((name, value),) = fields.items()
    with pytest.raises(ParameterError):
        setattr(GLMChatModel(), name, value)


def test_a_call_overrides_the_fields() -> None:
    """Parameters, and further keys of the body."""
    model = GLMChatModel(endpoint_url=BASE, temperature=0.5, model_kwargs={"a": 1, "b": 2})
    assert body(model, temperature=0.9, b=3, c=4).items() >= {"temperature": 0.9, "a": 1, "b": 3, "c": 4}.items()
    with pytest.raises(ParameterError, match="api_key can't be set for one call"):
        model.plan("hi", api_key="x")


@pytest.mark.row("K10")
def test_the_chat_model_of_a_chatglm_is_set_alike() -> None:
    """What was set, the key and the connections; untouched defaults are left to the server."""
    llm = ChatGLM(
        endpoint_url=BASE, api_key="sk-x", temperature=0.3, max_token=9, headers={"X-A": "b"}, history=[("a", "b")]
    )
    model = llm.as_chat_model()
    assert (model.temperature, model.max_tokens, model.top_p, model.endpoint_url) == (0.3, 9, None, BASE)
    call = model.plan("hi").request
    assert call.headers["Authorization"] == "Bearer sk-x" and call.headers["X-A"] == "b"
    assert "top_p" not in call.body and len(call.body["messages"]) == 1
    assert ChatGLM(endpoint_url=BASE, tags=["a"]).as_chat_model().tags == ["a"]
    llm.temperature = 0.9
    assert model.plan("hi").request.body["temperature"] == 0.3
    model.temperature = 0.1
    assert llm.temperature == 0.9


@pytest.mark.row("K10")
def test_the_sessions_chat_model_follows_the_sliders() -> None:
    """What is set, or taken back, in the session holds for the next request; another model is followed too."""
    with ScriptedServer(answer("好")) as server, closing(Session()) as session:
        session.settings.endpoint_url = f"{server.url}v1"
        model = session.chat_model
        assert model is session.chat_model and "temperature" not in body(model)
        session.settings.temperature = 0.25
        assert body(model)["temperature"] == 0.25 and model.invoke("hi").text == "好"
        assert server.posts[-1].body["temperature"] == 0.25 and session.turns == ()
        session.reset_parameter("temperature")
        assert "temperature" not in body(model)
        model.temperature = 0.4
        assert session.settings.temperature == 0.4 == session.llm.temperature == session.chat_model.temperature
        copied = model.model_copy(update={"temperature": 0.6})
        assert body(copied)["temperature"] == 0.6 and session.settings.temperature == 0.4
        session.reset_parameter("temperature")
        session.llm = ChatGLM(endpoint_url=f"{server.url}v1", top_p=0.5)
        assert session.chat_model is not model and body(session.chat_model)["top_p"] == 0.5


@pytest.mark.row("K10")
def test_a_key_stays_with_its_origin() -> None:
    """Another endpoint doesn't get it: by assignment, in one call, or in a copy."""
    model = GLMChatModel(endpoint_url=BASE, api_key=KEY)
    assert not has_leaked(model.plan("hi", endpoint_url="http://127.0.0.1:8/v1").request.headers)
    copied = model.model_copy()
    copied.endpoint_url = "http://127.0.0.1:8/v1"
    assert not has_leaked(copied.plan("hi").request.headers) and has_leaked(
        dict(model.plan("hi").request.headers)["Authorization"]
    )


@pytest.mark.row("K1", "K9")
def test_it_is_written_and_read_without_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangChain's form names the variable in the key's place; headers are left out."""
    model = GLMChatModel(endpoint_url=BASE, api_key=KEY, headers={"X-Key": KEY}, temperature=0.5, max_tokens=3)
    assert not has_leaked(dumps(model))
    monkeypatch.setenv("CHATGLM_API_KEY", "other")
    options: dict[str, Any] = {"valid_namespaces": ["chatglm_magic"], "allowed_objects": [GLMChatModel]}
    again = load(dumpd(model), secrets_from_env=True, **options)
    assert (again.temperature, again.max_tokens, again.endpoint_url) == (0.5, 3, BASE)
    assert again.plan("hi").request.headers["Authorization"] == "Bearer other"


@pytest.mark.row("K9")
def test_the_key_is_nowhere(tmp_path: Path) -> None:
    """In no text of the model, no message, call, trace, error or tape, though the server repeats it."""

    class Tracer(BaseTracer):
        runs: ClassVar[list[Any]] = []

        def _persist_run(self, run: Any) -> None:
            self.runs.append(run.model_dump_json() if hasattr(run, "model_dump_json") else str(run))

    arguments = f'{{"city": "{KEY}"}}'
    events = [
        *(chunk(None, reasoning_content=part) for part in (f"think {KEY[:9]}", KEY[9:])),
        *(chunk(part) for part in (f"text {KEY[:9]}", KEY[9:])),
        piece(index=1, id=KEY, **function(KEY, "{}")),
        piece(index=2, id="c", **function("get_weather", arguments.replace("-", "\\u002d"))),
        piece(index=0, id="a", **function("get_weather", arguments[:20])),
        piece(index=0, **function(None, arguments[20:])),
        chunk(None, finish_reason="tool_calls"),
    ]
    for event, part in zip(events[2:4], (KEY[:9], KEY[9:]), strict=True):
        token = {"token": part, "logprob": -0.5, "bytes": list(part.encode()), "top_logprobs": []}
        event["choices"][0]["logprobs"] = {"content": [token]}
    tape = tmp_path / "tape.jsonl"
    with ScriptedServer(sse(events)) as server:
        model = GLMChatModel(endpoint_url=f"{server.url}v1", api_key=KEY, tape=str(tape))
        asking = model.bind(tools=TOOLS)
        history = [
            HumanMessage("hi"),
            AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
            ToolMessage("x", tool_call_id="1"),
        ]
        tracer = Tracer()
        config: Any = {"callbacks": [tracer]}
        message = asking.invoke(history, config)
        chunks = list(asking.stream(history, config))
        assert len(asyncio.run(asking.ainvoke(history, config)).tool_calls) == 3
    refuse = reply({"error": {"message": f"bad {KEY}"}}, status=400)
    with ScriptedServer(refuse) as server, pytest.raises(ChatGLMError) as caught:
        GLMChatModel(endpoint_url=f"{server.url}v1", api_key=KEY).invoke("hi")
    found = [
        message.model_dump_json(),
        *(each.model_dump_json() for each in chunks),
        tape.read_text(),
        caught.value,
    ]
    assert message.tool_calls and len(Tracer.runs) == 3
    assert not has_leaked(
        *found, *Tracer.runs, repr(model), str(model), model.model_dump(), model._identifying_params
    )
    assert has_leaked(KEY)  # the control
    with pytest.raises(TypeError):
        pickle.dumps(model.plan("hi").tape)
    assert not has_leaked(
        pickle.dumps(GLMChatModel(endpoint_url=BASE, api_key=KEY)), copy.deepcopy(model).model_dump()
    )


def test_a_cache_tells_answers_apart() -> None:
    """By parameters, tools, choices and fields: what can change an answer is another entry."""
    cache = InMemoryCache()
    with ScriptedServer(answer("x")) as server:
        model: Any = GLMChatModel(endpoint_url=f"{server.url}v1", cache=cache)
        asked = [
            model,
            model,
            model.bind(temperature=0.5),
            model.bind(tools=TOOLS),
            model.bind(tools=TOOLS, tool_choice="none"),
            model.bind(stop=["y"]),
            model.model_copy(update={"seed": 1}),
            model.model_copy(update={"seed": 1}),
        ]
        for each in asked:
            each.invoke("hi")
        assert len(server.posts) == 6
        model.temperature = 0.7
        model.invoke("hi")
        model.invoke("hi")
        assert len(server.posts) == 7


@pytest.mark.row("K12")
def test_a_batch_is_in_order_and_so_many_at_once() -> None:
    """``max_concurrency`` of the field, or of the configuration; an error can stand in the place of its answer."""
    lock, under_way, most = threading.Lock(), 0, 0

    def script(connection: Any, asked: Any) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        prompt = asked.body["messages"][-1]["content"]
        with lock:
            under_way -= 1
        (reply({"error": "no"}, status=400) if prompt == "3" else answer(prompt))(connection, asked)

    with ScriptedServer(script) as server:
        model = GLMChatModel(endpoint_url=f"{server.url}v1", max_concurrency=4)
        prompts = [str(number) for number in range(20)]
        found = model.batch(prompts, return_exceptions=True)
        assert [str(number) for number in range(20) if number != 3] == [
            each.text for n, each in enumerate(found) if n != 3
        ]
        assert isinstance(found[3], ChatGLMError) and 1 <= most <= 4
        with pytest.raises(ChatGLMError):
            model.batch(prompts)
        completed = dict(model.batch_as_completed(prompts[:3]))
        assert {number: message.text for number, message in completed.items()} == {0: "0", 1: "1", 2: "2"}
        bound = model.bind(tools=TOOLS).batch(["1", "2"], config={"max_concurrency": 1})
        assert [each.text for each in bound] == ["1", "2"]


@pytest.mark.row("K12")
def test_a_cancelled_batch_closes_its_connections() -> None:
    """A task that is cancelled leaves no request behind."""

    async def cancel(model: GLMChatModel, server: ScriptedServer) -> None:
        task = asyncio.create_task(model.abatch(["a", "b", "c"]))
        await asyncio.to_thread(server.wait_posts, 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ScriptedServer(hang()) as server:
        model = GLMChatModel(endpoint_url=f"{server.url}v1")
        asyncio.run(cancel(model, server))
        for asked in server.posts:
            server.wait_closed(asked, 5.0)


def test_langsmith_is_told_of_the_call() -> None:
    """Provider, model, temperature, tokens and stop strings, of the call where it has them."""
    model = GLMChatModel(endpoint_url=BASE, model="glm-4.6", temperature=0.5, max_tokens=7, stop=["x"])
    told = model._get_ls_params(model="glm-5", temperature=0.1)
    assert told == {
        "ls_provider": "glm",
        "ls_model_type": "chat",
        "ls_model_name": "glm-5",
        "ls_temperature": 0.1,
        "ls_max_tokens": 7,
        "ls_stop": ["x"],
    }
