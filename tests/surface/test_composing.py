"""Composing: each of LangChain's ways to build on a model, at the local server and at a scripted one."""

from __future__ import annotations

import asyncio
import warnings
from operator import itemgetter
from typing import Any

import pytest
from langchain_core.output_parsers import CommaSeparatedListOutputParser, JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableBinding, RunnableLambda, RunnablePassthrough

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import ChatGLMError

from ..support.models import Crowd, Heard, both, make_local_model, make_model, read_prompt, reply_with
from ..support.servers import ScriptedServer, chunk, reply, sse

HI = "Hi! Ask me about temperature, top_p or Jupyter."


@both
def test_composing_bind(dialect: str, local: LocalServer) -> None:
    """Bound arguments go with every question, a call's own beat them, and the object stays as it was."""
    llm = make_local_model(local, dialect)
    bound = llm.bind(stop=["about"])
    assert isinstance(bound, RunnableBinding)
    assert bound.invoke("hi") == "".join(bound.stream("hi")) == "Hi! Ask me "
    assert bound.batch(["hi"]) == [asyncio.run(bound.ainvoke("hi"))] == ["Hi! Ask me "]
    assert bound.invoke("hi", stop=["Ask"]) == "Hi! " and llm.invoke("hi") == HI
    with ScriptedServer(reply_with("ok")) as server:
        make_model(server, dialect, temperature=0.2).bind(temperature=0.9, k=1).invoke("x", k=2)
        assert (server.posts[0].body["temperature"], server.posts[0].body["k"]) == (0.9, 2)


@both
def test_composing_assign(dialect: str, local: LocalServer) -> None:
    """A chain's mapping grows by the answer, and by what is made of it."""
    llm = make_local_model(local, dialect)
    grown = RunnablePassthrough.assign(said=itemgetter("q") | llm).assign(size=lambda found: len(found["said"]))
    assert grown.invoke({"q": "hi"}) == {"q": "hi", "said": HI, "size": len(HI)}
    mapped: Any = llm | RunnableLambda(lambda text: {"said": text})
    assert mapped.assign(loud=lambda found: found["said"].upper()).invoke("hi")["loud"] == HI.upper()


@both
def test_composing_assign__to_a_text_is_refused(dialect: str) -> None:
    """``llm.assign`` itself is built as in the original; a text is no mapping, so it says that on use."""
    with ScriptedServer(reply_with("ok")) as server, pytest.raises(ValueError, match="dict"):
        make_model(server, dialect).assign(size=len).invoke("x")


@both
def test_composing_get_graph(dialect: str) -> None:
    """A chain draws itself, with the model in it, and asks nothing."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        graph = (PromptTemplate.from_template("{q}") | llm | StrOutputParser()).get_graph()
        assert "ChatGLM" in {node.name for node in graph.nodes.values()} and "ChatGLM" in graph.draw_mermaid()
        alone = [node.name for node in llm.get_graph().nodes.values()]
        assert alone == ["ChatGLMInput", "ChatGLM", "ChatGLMOutput"]
        assert server.asked == []


@both
def test_composing_with_config(dialect: str) -> None:
    """Tags, handlers and the limit of a batch go with every call."""
    crowd, heard = Crowd(3), Heard()
    with ScriptedServer(crowd) as server:
        llm = make_model(server, dialect).with_config(
            tags=["t"], callbacks=[heard], max_concurrency=3, run_name="r"
        )
        assert llm.batch(list("abcdef")) == [f"答{prompt}" for prompt in "abcdef"]
    assert crowd.most == 3 and all("t" in tags for _, tags, _ in heard.starts) and len(heard.ends) == 6


def no(status: int = 400) -> Any:
    """Refuse."""
    return reply({"error": "no"}, status=status)


@both
def test_composing_with_fallbacks(dialect: str, local: LocalServer) -> None:
    """Where one model fails the next one answers, on every road; each item of a batch for itself."""

    def fails(connection: Any, asked: Any) -> None:
        (reply_with("first") if read_prompt(asked.body) == "ok" else no())(connection, asked)

    with ScriptedServer(fails) as server:
        chain = make_model(server, dialect).with_fallbacks([make_local_model(local, dialect)])
        assert chain.invoke("hi") == asyncio.run(chain.ainvoke("hi")) == "".join(chain.stream("hi")) == HI
        assert chain.batch(["ok", "hi"]) == asyncio.run(chain.abatch(["ok", "hi"])) == ["first", HI]
    gone = ChatGLM(endpoint_url="http://127.0.0.1:1/v1", max_retries=0)
    assert gone.with_fallbacks([make_local_model(local, dialect)]).invoke("hi") == HI


@both
def test_composing_with_fallbacks__for_errors_of_ours(dialect: str, local: LocalServer) -> None:
    """Our errors can be told apart as LangChain wants them: the original's ValueError is enough."""
    with ScriptedServer(no()) as server:
        first, others = make_model(server, dialect), [make_local_model(local, dialect)]
        for kinds in ((ValueError,), (ChatGLMError,)):
            assert first.with_fallbacks(others, exceptions_to_handle=kinds).invoke("hi") == HI
        with pytest.raises(ChatGLMError):
            first.with_fallbacks(others, exceptions_to_handle=(OSError,)).invoke("x")


@both
def test_composing_with_listeners(dialect: str, local: LocalServer) -> None:
    """Listeners hear of the start, the end and the error of each run."""
    told: list[tuple[str, Any]] = []
    listening: dict[str, Any] = {
        "on_start": lambda run: told.append(("start", run.inputs)),
        "on_end": lambda run: told.append(("end", run.outputs["generations"][0][0]["text"])),
        "on_error": lambda run: told.append(("error", run.error)),
    }
    make_local_model(local, dialect).with_listeners(**listening).invoke("hi")
    assert told == [("start", {"prompts": ["hi"]}), ("end", HI)]
    with ScriptedServer(no()) as server, pytest.raises(ChatGLMError):
        make_model(server, dialect).with_listeners(**listening).batch(["x"])
    assert [name for name, _ in told[2:]] == ["start", "error"]


@both
def test_composing_with_alisteners(dialect: str, local: LocalServer) -> None:
    """Asynchronous listeners too."""
    told: list[str] = []

    async def start(run: Any) -> None:
        told.append("start")

    async def end(run: Any) -> None:
        told.append(run.outputs["generations"][0][0]["text"])

    listening = make_local_model(local, dialect).with_alisteners(on_start=start, on_end=end)
    assert asyncio.run(listening.ainvoke("hi")) == HI and told == ["start", HI]
    assert asyncio.run(listening.abatch(["hi", "hi"])) == [HI, HI] and told[2:].count(HI) == 2


@both
def test_composing_with_retry(dialect: str) -> None:
    """A refusal that we don't ask again for is asked again by LangChain, if told so; else not."""
    for road in ("sync", "async", "batch"):
        with ScriptedServer(no(), no(500), reply_with("ok")) as server:
            llm = make_model(server, dialect).with_retry(
                retry_if_exception_type=(ValueError,), wait_exponential_jitter=False, stop_after_attempt=3
            )
            asks = {
                "sync": lambda llm=llm: llm.invoke("x"),
                "async": lambda llm=llm: asyncio.run(llm.ainvoke("x")),
                "batch": lambda llm=llm: llm.batch(["x"])[0],
            }
            assert asks[road]() == "ok" and len(server.posts) == 3
    with ScriptedServer(no(), reply_with("ok")) as server:
        with pytest.raises(ChatGLMError):
            make_model(server, dialect).with_retry(retry_if_exception_type=(OSError,)).invoke("x")
        assert len(server.posts) == 1


@both
def test_composing_with_types(dialect: str, local: LocalServer) -> None:
    """Types can be said anew; the answers stay."""
    typed = make_local_model(local, dialect).with_types(input_type=str, output_type=str)
    assert typed.invoke("hi") == HI and typed.InputType is str and typed.OutputType is str


@both
def test_composing_with_structured_output(dialect: str) -> None:
    """Not there, as the original says."""
    with pytest.raises(NotImplementedError):
        ChatGLM(dialect=dialect).with_structured_output({"title": "x", "type": "object"})


@both
def test_composing_chains(dialect: str, local: LocalServer) -> None:
    """Prompt, model and parser in a row, on every road."""
    chain = PromptTemplate.from_template("{greeting}") | make_local_model(local, dialect) | StrOutputParser()
    asked = {"greeting": "hi"}
    assert chain.invoke(asked) == asyncio.run(chain.ainvoke(asked)) == "".join(chain.stream(asked)) == HI
    assert chain.batch([asked] * 2) == asyncio.run(chain.abatch([asked] * 2)) == [HI] * 2


@both
def test_composing_chains__with_parsers(dialect: str) -> None:
    """Parsers of lists and JSON get the text alone, also while it streams."""
    with ScriptedServer(reply_with("红, 绿,蓝")) as server:
        assert (make_model(server, dialect) | CommaSeparatedListOutputParser()).invoke("x") == ["红", "绿", "蓝"]
    pieces = sse([chunk('{"a": [1,'), chunk(" 2]}"), chunk(None, finish_reason="stop")])
    with ScriptedServer(pieces if dialect == "openai" else reply_with('{"a": [1, 2]}')) as server:
        found = list((make_model(server, dialect) | JsonOutputParser()).stream("x"))
        assert found[-1] == {"a": [1, 2]} and (dialect == "chatglm" or found[0] == {"a": [1]})


@both
def test_composing_chains__of_messages(dialect: str, local: LocalServer) -> None:
    """A chat template works with the model, which is no chat model, and its history stays apart."""
    chat = ChatPromptTemplate.from_messages([("system", "You are {who}."), ("human", "{q}")])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (chat | make_local_model(local, dialect, max_token=100)).invoke({"who": "a model", "q": "hi"})
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, with_history=True)
        (ChatPromptTemplate.from_messages([("human", "{q}")]) | llm).invoke({"q": "你好"})
        assert llm.history == [["你好", "ok"]]


@both
def test_composing_configurable_alternatives(dialect: str, local: LocalServer) -> None:
    """Another model takes the place of the first one where the configuration names it."""
    with ScriptedServer(reply_with("other")) as server:
        others: Any = {"default_key": "own", "other": make_model(server, dialect)}
        llm = make_local_model(local, dialect).configurable_alternatives(ConfigurableField(id="which"), **others)
        assert llm.invoke("hi") == HI and server.asked == []
        other = llm.with_config(configurable={"which": "other"})
        assert [other.invoke("hi"), *other.batch(["hi"]), asyncio.run(other.ainvoke("hi"))] == ["other"] * 3
