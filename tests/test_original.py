"""``langchain_community.llms.ChatGLM`` 0.4.2 beside ours, before one recording server.

The original is a dependency of these tests alone: its package was sunset in May 2026, so its behaviour is frozen.
"""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import LLMResult
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import ConfigurableField

from chatglm_magic import ChatGLM

from .support.servers import ScriptedServer, legacy

Calls = Callable[[Any], object]

QUESTION = "北京和上海这两座城市有什么不同？"
"""The original's own integration test asks this."""


@pytest.fixture(scope="module")
def original() -> Any:
    """The original class; importing its package warns that it is sunset."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from langchain_community.llms import ChatGLM as Original

    return Original


def ask(llm: Any) -> object:
    """Ask once."""
    return llm.invoke(QUESTION)


def assigned(**values: Any) -> Calls:
    """Ask, assign, and ask again."""

    def calls(llm: Any) -> None:
        llm.invoke("before")
        for name, value in values.items():
            setattr(llm, name, value)
        llm.invoke("after")

    return calls


def chat(llm: Any) -> None:
    """Three turns of one conversation."""
    for prompt in ("一", "二", "三"):
        llm.invoke(prompt)


def chat_switched_on_and_off(llm: Any) -> None:
    """Two turns that are kept, one that is not, one more."""
    llm.with_history = True
    chat(llm)
    llm.with_history = False
    llm.invoke("四")
    llm.invoke("五")


async def asynchronous(llm: Any) -> None:
    """Ask in every asynchronous way."""
    await llm.ainvoke("a")
    async for _ in llm.astream("b", temperature=0.9):
        pass
    await llm.abatch(["c", "d"])
    await llm.agenerate(["e"], stop=["x"])


def template(llm: Any) -> object:
    """Ask through a chain whose model has bound arguments."""
    return (PromptTemplate.from_template("Translate: {text}") | llm.bind(max_length=9)).invoke({"text": "爱"})


def configured(llm: Any) -> object:
    """Ask with a field that is set by a run's configuration."""
    hot = llm.configurable_fields(temperature=ConfigurableField(id="t"))
    return hot.with_config(configurable={"t": 0.9}).invoke("x")


def roles(llm: Any) -> None:
    """Ask with messages, which this protocol has no roles for."""
    talk = [SystemMessage("S"), HumanMessage("H1"), AIMessage("A1"), HumanMessage("H2")]
    llm.invoke(talk)
    llm.invoke([("system", "S"), ("human", "H")])
    llm.invoke(ChatPromptTemplate.from_messages(talk).invoke({}))


def pickled(llm: Any) -> object:
    """Ask through a copy that another process could have."""
    return pickle.loads(pickle.dumps(llm)).invoke("x")  # noqa: S301 - our own bytes


PAIRS = [["你好", "你好！"], ["who?", "me"]]

SAME: dict[str, tuple[dict[str, Any], Calls]] = {
    "defaults": ({}, ask),
    "temperature": ({"temperature": 0.5}, ask),
    "a whole temperature": ({"temperature": 1}, ask),
    "the highest temperature": ({"temperature": 10}, ask),
    "top_p": ({"top_p": 0.9}, ask),
    "top_p 1": ({"top_p": 1}, ask),
    "max_token": ({"max_token": 80000}, ask),
    "history": ({"history": PAIRS}, ask),
    "history of tuples": ({"history": [tuple(pair) for pair in PAIRS]}, ask),
    "the example of its documents": (
        {"max_token": 80000, "history": PAIRS[:1], "top_p": 0.9, "model_kwargs": {"sample_model_args": False}},
        ask,
    ),
    "model_kwargs": ({"model_kwargs": {"a": 1, "b": {"c": [None, "爱"]}}}, ask),
    "model_kwargs empty": ({"model_kwargs": {}}, ask),
    "model_kwargs beat fields": (
        {"temperature": 0.2, "max_token": 7, "model_kwargs": {"temperature": 0.3, "max_length": 8, "top_p": 0.4}},
        ask,
    ),
    "model_kwargs beat the conversation": ({"model_kwargs": {"prompt": "p", "history": PAIRS}}, ask),
    "call arguments": ({}, lambda llm: llm.invoke("x", temperature=0.9, top_p=0.2, max_length=5, foo=1)),
    "call arguments beat model_kwargs": (
        {"model_kwargs": {"temperature": 0.3, "foo": 1, "bar": 2}},
        lambda llm: llm.invoke("x", temperature=0.9, foo=3),
    ),
    "history of a call": ({"history": PAIRS}, lambda llm: llm.invoke("x", history=PAIRS[:1])),
    "a call leaves no trace": ({}, lambda llm: (llm.invoke("x", temperature=0.9, foo=1), llm.invoke("y"))),
    "bind": ({}, lambda llm: llm.bind(temperature=0.9, max_length=5, foo=1).invoke("x")),
    "bind, and a call that beats it": ({}, lambda llm: llm.bind(foo=1, bar=1).invoke("x", foo=2)),
    "bind stop": ({}, lambda llm: llm.bind(stop=["x"]).invoke("x")),
    "stop": ({}, lambda llm: llm.invoke("x", stop=["好", "x"])),
    "with_history": ({"with_history": True}, chat),
    "with_history, begun with pairs": ({"with_history": True, "history": PAIRS}, chat),
    "with_history switched on and off": ({}, chat_switched_on_and_off),
    "with_history with stop": ({"with_history": True}, lambda llm: (llm.invoke("x", stop=["z"]), llm.invoke("y"))),
    "without with_history": ({"history": PAIRS}, chat),
    "fields assigned": ({}, assigned(temperature=0.3, top_p=0.1, max_token=9, model_kwargs={"a": 1})),
    "history assigned": ({"history": PAIRS}, assigned(history=[["a", "b"]])),
    "messages": ({}, roles),
    "an empty prompt": ({}, lambda llm: llm.invoke("")),
    "odd letters": ({}, lambda llm: llm.invoke('"\\\n\t\x00\x1f\u2028 👋🏽 \ue000')),
    "generate": ({}, lambda llm: llm.generate(["a", "b"], stop=["x"], foo=1)),
    "stream": ({}, lambda llm: list(llm.stream("x", temperature=0.9))),
    "batch": ({}, lambda llm: llm.batch(["a", "b", "c"], temperature=0.9)),
    "batch, several at once": ({}, lambda llm: llm.batch(list("abcde"), config={"max_concurrency": 3})),
    "batch with history": ({"history": PAIRS}, lambda llm: llm.batch(["a", "b"])),
    "batch_as_completed": ({}, lambda llm: list(llm.batch_as_completed(["a", "b"], foo=1))),
    "asynchronous": ({"model_kwargs": {"a": 1}}, lambda llm: asyncio.run(asynchronous(llm))),
    "a chain": ({}, template),
    "configurable_fields": ({}, configured),
    "with_retry": ({}, lambda llm: llm.with_retry().invoke("x", foo=1)),
    "with_fallbacks": ({}, lambda llm: llm.with_fallbacks([llm]).invoke("x")),
    "a copy": ({"history": PAIRS, "model_kwargs": {"a": 1}}, lambda llm: copy.deepcopy(llm).invoke("x")),
    "model_copy": ({}, lambda llm: llm.model_copy(update={"temperature": 0.4}).invoke("x")),
    "pickled": ({"temperature": 0.4, "history": PAIRS}, pickled),
}

ZERO: dict[str, tuple[dict[str, Any], Calls]] = {
    "fields": ({"temperature": 0, "top_p": 0.0}, ask),
    "call": ({}, lambda llm: llm.invoke("x", temperature=0.0, top_p=0)),
    "bind": ({}, lambda llm: llm.bind(temperature=0).bind(top_p=0).invoke("x")),
    "assigned": ({}, assigned(temperature=0, top_p=0)),
    "batch": ({"temperature": 0, "top_p": 0}, lambda llm: llm.batch(["a", "b"])),
}


def sent(kind: Any, values: dict[str, Any], calls: Calls) -> list[tuple[str, dict[str, Any]]]:
    """Return path and body of each question that the calls made, in an order that batches can't change."""
    with ScriptedServer(legacy(lambda body: f"答 {body['prompt']}")) as server:
        calls(kind(endpoint_url=server.url, **values))
        assert all(post.headers["content-type"] == "application/json" for post in server.posts)
        assert not any("authorization" in post.headers for post in server.posts)
        found = [(post.path, post.body) for post in server.posts]
    assert found
    return sorted(found, key=repr)


@pytest.mark.parametrize("case", SAME)
def test_it_sends_what_the_original_sends(case: str, original: Any) -> None:
    """The same arguments and the same calls make the same bodies."""
    assert sent(ChatGLM, *copy.deepcopy(SAME[case])) == sent(original, *copy.deepcopy(SAME[case]))


@pytest.mark.parametrize("case", ZERO)
def test_a_zero_alone_is_sent_otherwise(case: str, original: Any) -> None:
    """Where the original sends a zero, which servers read as unset, ours sends 0.01; all else is the same."""
    theirs = sent(original, *ZERO[case])
    assert any(0 in (body["temperature"], body["top_p"]) for _, body in theirs)
    for _, body in theirs:
        body |= {name: body[name] or 0.01 for name in ("temperature", "top_p")}
    assert sent(ChatGLM, *ZERO[case]) == sorted(theirs, key=repr)


@pytest.mark.parametrize("path", ["", "chat", "a/b?c=d", "v1beta"])
def test_the_endpoint_is_posted_to_as_it_is(path: str, original: Any) -> None:
    """Neither a path is added nor a slash taken away."""
    for kind in (original, ChatGLM):
        with ScriptedServer(legacy()) as server:
            kind(endpoint_url=server.url + path).invoke("x")
            assert [post.path for post in server.posts] == ["/" + path]


def test_fields_and_defaults_are_the_originals(original: Any) -> None:
    """Every field of the original is one of ours, with its default, in the same place for ``_llm_type``."""
    theirs, ours = original(), ChatGLM()
    for name in original.model_fields:
        if name != "callback_manager":
            assert getattr(ours, name) == getattr(theirs, name), name
    assert ours._llm_type == theirs._llm_type == "chat_glm"


def test_call_is_the_claim_of_the_originals_own_test(original: Any) -> None:
    """``test_chatglm_call`` of the original: an answer is a ``str``."""
    with ScriptedServer(legacy()) as server:
        for kind in (original, ChatGLM):
            output = kind(endpoint_url=server.url).invoke(QUESTION)
            assert isinstance(output, str) and output == "你好"


def test_generate_is_the_claim_of_the_originals_own_test(original: Any) -> None:
    """``test_chatglm_generate`` of the original: ``generate`` gives an ``LLMResult`` with a list."""
    with ScriptedServer(legacy()) as server:
        for kind in (original, ChatGLM):
            output = kind(endpoint_url=server.url).generate(["who are you"])
            assert isinstance(output, LLMResult)
            assert isinstance(output.generations, list)
            assert output.generations[0][0].text == "你好"


PURE = """
import asyncio, sys
import chatglm_magic
llm = chatglm_magic.ChatGLM(endpoint_url=sys.argv[1])
llm.invoke("x"), list(llm.stream("x")), llm.batch(["x", "y"]), asyncio.run(llm.ainvoke("x"))
print(sorted(name for name in sys.modules if name.split(".")[0] in ("langchain_community", "langchain_classic")))
"""


def test_the_package_never_imports_the_original() -> None:
    """Importing the package and asking in every way imports nothing of the sunset one."""
    with ScriptedServer(legacy()) as server:
        command = [sys.executable, "-W", "error::DeprecationWarning:langchain_community", "-c", PURE, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
        assert len(server.posts) == 5
