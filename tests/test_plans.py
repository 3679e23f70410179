"""A request is planned once, from one moment of the model, and sent as it was planned."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from types import FrameType
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.outputs import GenerationChunk

from chatglm_magic import ChatGLM, Session, sweep
from chatglm_magic.client.request import encode_json
from chatglm_magic.llm.request_plan import PlannedPrompt, RequestPlan, plan_request
from chatglm_magic.wire import chatglm, openai

from .support.models import endpoint_of, make_model, reply_with
from .support.servers import ScriptedServer, reply

DIALECTS = ("chatglm", "openai")
COUNTED = {function.__code__: function.__qualname__ for function in (plan_request, encode_json)} | {
    dialect.encode.__code__: "encode" for dialect in (chatglm, openai)
}


class Told(BaseCallbackHandler):
    """Remembers what LangChain tells a callback."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.parameters: dict[str, Any] = {}

    def on_llm_start(self, serialized: Any, prompts: list[str], **more: Any) -> None:
        self.parameters = more["invocation_params"]
        self.events.append(("start", copy.deepcopy(prompts)))

    def on_llm_new_token(self, token: str, **more: Any) -> None:
        self.events.append(("token", token))

    def on_llm_end(self, response: Any, **more: Any) -> None:
        self.events.append(("end", response.generations[0][0].text))


def collect(llm: ChatGLM, plan: RequestPlan, road: str, config: Any = None) -> list[GenerationChunk]:
    """Send a plan by one of the two roads; return the chunks."""
    if road == "sync":
        return list(llm.stream_plan(plan, config))

    async def run() -> list[GenerationChunk]:
        return [chunk async for chunk in llm.astream_plan(plan, config)]

    return asyncio.run(run())


@pytest.fixture
def counts() -> Iterator[Counter[str]]:
    """How often a request is planned and encoded, in this thread."""
    found: Counter[str] = Counter()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code in COUNTED:
            found[COUNTED[frame.f_code]] += 1

    sys.setprofile(profile)
    yield found
    sys.setprofile(None)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_prompt_is_planned_and_encoded_once(dialect: str, counts: Counter[str]) -> None:
    """From the session to the socket."""
    with ScriptedServer(reply_with("fine")) as server, closing(Session()) as session:
        session.llm = make_model(server, dialect, temperature=0.5)
        counts.clear()
        session.ask("hello", record=False, stop=["x"])
        assert counts == {"plan_request": 1, "encode": 1, "encode_json": 1}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_sweep_plans_each_setting_once(dialect: str, counts: Counter[str]) -> None:
    """Whatever the number of samples; the requests themselves are sent by another thread."""
    with ScriptedServer(reply_with("fine")) as server, closing(Session()) as session:
        session.llm = make_model(server, dialect)
        session.llm  # noqa: B018 - made before anything is counted
        counts.clear()
        result = sweep("hello", temperature=[0.1, 0.5, 0.9], samples=4, session=session, show=False)
        assert len(result) == 12 and len(server.posts) == 12
        assert counts["encode"] == 3


@pytest.mark.parametrize("road", ["sync", "async"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_plan_gives_the_same_chunks_with_and_without_listeners(dialect: str, road: str) -> None:
    """And a listener is told as by any other method."""
    told = Told()
    with ScriptedServer(reply_with("fine")) as server:
        llm = make_model(server, dialect, temperature=0)
        plan = llm.plan("hello", top_p=0.5, stop=["END"])
        alone = collect(llm, plan, road)
        heard = collect(llm, plan, road, {"callbacks": [told]})
        bodies = [post.body for post in server.posts]
    assert alone == heard and "".join(chunk.text for chunk in heard) == "fine"
    assert bodies[0] == bodies[1] == plan.request.body
    assert told.events[0] == ("start", ["hello"]) and told.events[-1] == ("end", "fine")
    assert "".join(text for event, text in told.events if event == "token") == "fine"
    assert told.parameters["top_p"] == 0.5 and told.parameters["temperature"] == 0
    assert told.parameters["stop"] == ["END"]


@pytest.mark.parametrize("road", ["sync", "async"])
def test_what_is_planned_is_what_is_sent(road: str) -> None:
    """A later change of the model is for later requests."""
    with ScriptedServer(reply_with("fine")) as server, ScriptedServer(reply_with("other")) as other:
        llm = make_model(server, "openai", temperature=0.5, history=[("a", "b")])
        plan = llm.plan("hello")
        llm.temperature, llm.history, llm.endpoint_url = 0.9, [], endpoint_of(other, "openai")
        assert "".join(chunk.text for chunk in collect(llm, plan, road)) == "fine"
        assert server.posts[0].body["temperature"] == 0.5 and len(server.posts[0].body["messages"]) == 3
        assert other.posts == []


@pytest.mark.parametrize("road", ["sync", "async"])
def test_a_planned_exchange_is_remembered_as_the_plan_says(road: str) -> None:
    """``with_history`` of the model, or of the call."""
    with ScriptedServer(reply_with("fine")) as server:
        llm = make_model(server, "chatglm", with_history=True)
        collect(llm, llm.plan("one", with_history=False), road)
        assert llm.history == []
        collect(llm, llm.plan("two"), road)
        assert llm.history == [["two", "fine"]]


def test_messages_keep_their_roles_in_a_plan() -> None:
    """Also with another context."""
    with ScriptedServer(reply_with("fine")) as server:
        llm = make_model(server, "openai")
        prompt = llm._convert_input([SystemMessage("be kind"), HumanMessage("hello")]).to_string()
        plan = llm.plan(prompt)
        collect(llm, plan.with_changes(history=[("a", "b")]), "sync", {"callbacks": [Told()]})
        roles = [message["role"] for message in server.posts[0].body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_a_plan_made_again_leaves_out_what_the_server_has_refused() -> None:
    """``transformers serve`` refuses ``stream_options``: of three samples only the first is sent twice."""
    refusal = reply({"detail": "Unexpected keys in the request: {'stream_options'}"}, status=422)

    def script(connection: Any, asked: Any) -> None:
        (refusal if "stream_options" in asked.body else reply_with("fine"))(connection, asked)

    with ScriptedServer(script) as server:
        llm = make_model(server, "openai")
        plan = llm.plan("hello")
        for sample in range(3):
            collect(llm, plan.with_sample(sample), "sync")
        assert ["stream_options" in post.body for post in server.posts] == [True, False, False, False]


def test_a_prompt_on_its_way_leaves_its_plan_behind_in_copies() -> None:
    """A tracer that copies or pickles what it is told takes no key with it."""
    prompt = PlannedPrompt(ChatGLM(api_key="sk-canary-0123456789").plan("hello"))
    for other in (copy.deepcopy(prompt), copy.copy(prompt), pickle.loads(pickle.dumps(prompt))):  # noqa: S301
        assert type(other) is str and other == "hello"
