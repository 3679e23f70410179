"""Batches in their surroundings: conversations, configurations, chains, loops and threads."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.context import collect_runs

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import ChatGLMError

from ..support.models import WAYS, Heard, both, make_local_model, make_model, read_history, reply_with, ways
from ..support.servers import Asked, ScriptedServer

PROMPTS = [str(number) for number in range(12)]


@both
@ways
def test_calling_batch__never_mixes_histories(dialect: str, way: str) -> None:
    """Each question sees the conversation as it was when the batch began, and none is added to it."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, with_history=True, history=[["q", "a"]])
        WAYS[way](llm, PROMPTS, {"max_concurrency": 2})
        assert [read_history(post.body) for post in server.posts] == [[["q", "a"]]] * 12
        assert llm.history == [["q", "a"]]


@both
@ways
@pytest.mark.parametrize("handlers", [[], [Heard()]], ids=["unheard", "heard"])
def test_calling_batch__never_adds_to_the_conversation(dialect: str, way: str, handlers: list[Any]) -> None:
    """Not even if the call says with_history: many at once have no order that a conversation could keep."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, callbacks=handlers)
        WAYS[way](llm, ["a", "b"], with_history=True)
        assert llm.history == [] and [read_history(post.body) for post in server.posts] == [[], []]


ARGUMENTS: dict[str, dict[str, Any]] = {
    "none": {},
    "fields": {"temperature": 0.5, "stop": ["y"], "history": [["q", "a"]], "system": "S", "max_token": 9},
    "keys": {"k": 1, "max_length": 5},
    "wrong": {"temperature": "hot"},
    "of the object": {"api_key": "sk-1"},
    "of a configuration": {"tags": ["t"], "metadata": {"a": 1}},
}


@both
@ways
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_calling_abatch__is_the_same_for_a_listener(dialect: str, way: str, arguments: str) -> None:
    """With a handler and without one the same is sent, answered and refused."""

    def outcome(handlers: list[Any]) -> tuple[list[Any], list[str]]:
        with ScriptedServer(reply_with(lambda prompt: f"x{prompt}y{prompt}")) as server:
            llm = make_model(server, dialect, seed=3, model_kwargs={"top_k": 1}, callbacks=handlers)
            inputs = ["a", [("system", "S"), ("human", "b")]]
            found = WAYS[way](llm, inputs, return_exceptions=True, **ARGUMENTS[arguments])
            return [repr(one) for one in found], sorted(post.raw.decode() for post in server.posts)

    assert outcome([]) == outcome([Heard()])


@both
@ways
def test_calling_abatch__is_heard_by_tracers_of_the_surroundings(dialect: str, way: str) -> None:
    """What LangChain sets up for all runs of a block hears of each question."""
    with ScriptedServer(reply_with("ok")) as server, collect_runs() as collected:
        WAYS[way](make_model(server, dialect), ["a", "b"])
        assert sorted(run.inputs["prompts"][0] for run in collected.traced_runs) == ["a", "b"]


@both
def test_calling_batch__has_the_history_of_its_beginning(dialect: str) -> None:
    """An assignment while the batch is under way does not reach it."""
    llm = ChatGLM()

    def script(connection: socket.socket, asked: Asked) -> None:
        llm.history = [*llm.history, ["new", "new"]]
        reply_with("ok")(connection, asked)

    with ScriptedServer(script) as server:
        llm = make_model(server, dialect, history=[["q", "a"]])
        llm.batch(PROMPTS, {"max_concurrency": 1})
        assert [read_history(post.body) for post in server.posts] == [[["q", "a"]]] * 12


@both
@ways
def test_calling_abatch__of_nothing_is_nothing(dialect: str, way: str) -> None:
    """No question, no answer, no request."""
    with ScriptedServer(reply_with("ok")) as server:
        assert WAYS[way](make_model(server, dialect), []) == [] and server.asked == []


@both
@ways
def test_calling_abatch__with_a_configuration_each(dialect: str, way: str) -> None:
    """Each question has its own handler, tags and arguments for all."""
    heard = [Heard() for _ in range(3)]
    configs = [{"callbacks": [one], "tags": [str(n)]} for n, one in enumerate(heard)]
    with ScriptedServer(reply_with(lambda prompt: prompt * 2)) as server:
        WAYS[way](make_model(server, dialect), list("abc"), configs, temperature=0.5, stop=["z"])
        assert {post.body["temperature"] for post in server.posts} == {0.5}
    assert [(one.starts[0][0], one.starts[0][1], one.ends) for one in heard] == [
        (prompt, (str(n),), [prompt * 2]) for n, prompt in enumerate("abc")
    ]


@both
def test_calling_batch__inside_a_chain_keeps_its_handlers(dialect: str, local: LocalServer) -> None:
    """Handlers of a surrounding run hear of the questions, which are asked in another thread."""
    heard, llm = Heard(), make_local_model(local, dialect)
    inside: Any = RunnableLambda(lambda prompts: llm.batch(prompts))
    answers = inside.invoke(["hi", "你好"], config={"callbacks": [heard], "tags": ["chain"]})
    assert sorted(heard.ends) == sorted(answers) and all("chain" in tags for _, tags, _ in heard.starts)


@both
def test_calling_batch__in_a_running_loop(dialect: str, local: LocalServer) -> None:
    """In a notebook's loop the synchronous forms work too."""
    llm = make_local_model(local, dialect)

    async def cell() -> list[str]:
        return [llm.invoke("hi"), *llm.batch(["hi"]), *[text for _, text in llm.batch_as_completed(["hi"])]]

    assert len(set(asyncio.run(cell()))) == 1


@both
def test_calling_batch__on_its_own_thread_says_so(dialect: str) -> None:
    """A handler that would wait for the loop it runs on is told to await instead, and nothing hangs."""

    class Asking(BaseCallbackHandler):
        run_inline = raise_error = True

        def on_llm_start(self, *args: Any, **more: Any) -> None:
            llm.batch(["again"])

    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        with pytest.raises(RuntimeError, match="await"):
            llm.batch(["x"], {"callbacks": [Asking()]})
        assert server.asked == [] and llm.batch(["x"]) == ["ok"]


@both
def test_calling_batch__from_several_threads(dialect: str, local: LocalServer) -> None:
    """Batches of several threads share the loop and stay apart."""
    llm, found = make_local_model(local, dialect), {}

    def ask(number: int) -> None:
        found[number] = llm.batch(["hi", "你好"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == 4 and all(said == found[0] for said in found.values())


@both
@ways
def test_calling_abatch__refuses_a_wrong_value_before_it_asks(dialect: str, way: str) -> None:
    """A wrong argument is an error of ours, and nothing is sent."""
    with ScriptedServer(reply_with("ok")) as server:
        with pytest.raises(ChatGLMError, match="temperature"):
            WAYS[way](make_model(server, dialect), PROMPTS, temperature="hot")
        assert server.asked == []
