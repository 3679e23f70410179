"""Messages keep their roles where the protocol has roles, and are the original's text where it has none."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate

from chatglm_magic import ChatGLM, LocalServer

from ..support.models import both, make_local_model, make_model, read_prompt, reply_with
from ..support.servers import ScriptedServer

ROADS: dict[str, Callable[..., object]] = {
    "invoke": lambda llm, prompt: llm.invoke(prompt),
    "stream": lambda llm, prompt: list(llm.stream(prompt)),
    "ainvoke": lambda llm, prompt: asyncio.run(llm.ainvoke(prompt)),
    "batch": lambda llm, prompt: llm.batch([prompt]),
}
roads = pytest.mark.parametrize("road", ROADS)


TALK = [SystemMessage("S"), HumanMessage("H1"), AIMessage("A1"), HumanMessage("H2")]
ROLES = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "H1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "H2"},
]
FLAT = "System: S\nHuman: H1\nAI: A1\nHuman: H2"
FORMS: dict[str, Any] = {
    "messages": TALK,
    "pairs": [("system", "S"), ("human", "H1"), ("ai", "A1"), ("human", "H2")],
    "mappings": ROLES,
    "prompt": ChatPromptTemplate.from_messages(TALK).invoke({}),
}


@both
@roads
@pytest.mark.parametrize("form", FORMS)
def test_semantics_roles(dialect: str, road: str, form: str) -> None:
    """Messages keep their roles on openai, and are flattened on chatglm as the original flattens them."""
    with ScriptedServer(reply_with("ok")) as server:
        ROADS[road](make_model(server, dialect), FORMS[form])
        body = server.posts[0].body
    assert (body["messages"] == ROLES) if dialect == "openai" else (read_prompt(body) == FLAT)


@both
@roads
def test_semantics_roles__after_history(dialect: str, road: str) -> None:
    """The object's system text and history stand before the messages."""
    with ScriptedServer(reply_with("ok")) as server:
        ROADS[road](make_model(server, dialect, history=[["q", "a"]], system="Be kind."), [("human", "H")])
        body = server.posts[0].body
    if dialect == "openai":
        told = [("system", "Be kind."), ("user", "q"), ("assistant", "a"), ("user", "H")]
        assert [(message["role"], message["content"]) for message in body["messages"]] == told
    else:
        assert (body["history"], body["prompt"]) == ([["q", "a"]], "Be kind.\n\nHuman: H")


def test_semantics_roles__reach_the_local_server(local: LocalServer) -> None:
    """openai: the built-in model understands messages as a conversation."""
    talk = [("human", "Tell me a joke."), ("ai", "Ha."), ("human", "What did I just ask?")]
    assert make_local_model(local, "openai", max_token=200).invoke(talk) == "You asked:\n\nTell me a joke."


@both
def test_semantics_roles__wrong_input_is_a_value_error(dialect: str) -> None:
    """What is neither text nor messages is refused as the original refuses it."""
    with ScriptedServer(reply_with("ok")) as server:
        for wrong in (3, None, {"text": "x"}, [3]):
            with pytest.raises((ValueError, NotImplementedError)):
                make_model(server, dialect).invoke(wrong)  # type: ignore[arg-type]
        assert server.asked == []


@both
def test_semantics_roles__survive_pickling(dialect: str) -> None:
    """The prompt that a handler is given is a text, and asked again, also by another process, it has its roles."""
    prompts: list[str] = []

    class Keeping(BaseCallbackHandler):
        def on_llm_start(self, serialized: Any, told: list[str], **more: Any) -> None:
            prompts.extend(told)

    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        llm.invoke(TALK, config={"callbacks": [Keeping()]})
        assert prompts == [FLAT]
        llm.generate(pickle.loads(pickle.dumps(prompts)))  # noqa: S301 - our own bytes
        assert server.posts[0].body == server.posts[1].body
        assert llm._convert_input(TALK).to_messages() == TALK


@pytest.mark.parametrize("road", ["invoke", "ainvoke"])
def test_semantics_roles__are_joined_for_zai(road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """openai: Z.ai refuses neighbours of one role, so their texts go out as one; pictures stay by themselves."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    talk = [HumanMessage("a"), HumanMessage("b"), AIMessage("c"), HumanMessage([picture]), HumanMessage("d")]
    with ScriptedServer(reply_with("ok")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        ROADS[road](ChatGLM(endpoint_url="http://api.z.ai/api/paas/v4"), talk)
        told = [(message["role"], message["content"]) for message in proxy.posts[0].body["messages"]]
    assert told == [("user", "a\n\nb"), ("assistant", "c"), ("user", [picture]), ("user", "d")]
