"""The types users see; never run, only checked: ``mypy`` fails where one of them changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal, assert_type

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.llms import LLM
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import LLMResult
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import Runnable, RunnableSerializable
from pydantic import SecretStr

from chatglm_magic import Answer, ChatGLM, GLMChatModel, LocalServer, Session, Turn, errors, get_session


def construction() -> None:
    """Every field by its name, keys and limits as plain values; an LLM of LangChain's."""
    llm = ChatGLM(endpoint_url="http://127.0.0.1:8000/v1", api_key="sk-x", timeout=10, history=[("a", "b")])
    assert_type(llm, ChatGLM)
    base: LLM = llm
    assert_type(base._llm_type, str)


def fields(llm: ChatGLM) -> None:
    """What a field holds, and that None unsets sampling."""
    assert_type(llm.endpoint_url, str)
    assert_type(llm.model_kwargs, dict[str, Any] | None)
    assert_type(llm.max_token, int | None)
    assert_type(llm.temperature, float | None)
    assert_type(llm.top_p, float | None)
    assert_type(llm.history, list[list[str]])
    assert_type(llm.with_history, bool)
    assert_type(llm.model, str | None)
    assert_type(llm.dialect, Literal["chatglm", "openai"] | None)
    assert_type(llm.api_key, SecretStr | None)
    assert_type(llm.system, str | None)
    assert_type(llm.stop, list[str] | None)
    assert_type(llm.seed, int | None)
    assert_type(llm.thinking, Literal["off", "on", "low", "high", "max"] | None)
    assert_type(llm.timeout, float | dict[str, float] | None)
    assert_type(llm.max_retries, int)
    assert_type(llm.max_concurrency, int)
    assert_type(llm.headers, dict[str, SecretStr] | None)
    llm.temperature = None
    llm.with_history = True


def asking(llm: ChatGLM) -> None:
    """Text, or an iterator of it."""
    assert_type(llm.invoke("x"), str)
    assert_type(llm.invoke([HumanMessage("x")], stop=["y"], temperature=0.5), str)
    assert_type(llm.stream("x"), Iterator[str])
    assert_type(llm.batch(["x", "y"]), list[str])
    assert_type(llm.batch_as_completed(["x"]), Iterator[tuple[int, str | Exception]])
    assert_type(llm.generate(["x"]), LLMResult)
    assert_type(llm("x"), str)
    assert_type(llm.get_num_tokens("x"), int)
    assert_type(llm.get_token_ids("x"), list[int])


async def asking_asynchronously(llm: ChatGLM) -> None:
    """The same, awaited."""
    assert_type(await llm.ainvoke("x"), str)
    assert_type(llm.astream("x"), AsyncIterator[str])
    assert_type(await llm.abatch(["x", "y"]), list[str])
    assert_type(llm.abatch_as_completed(["x"]), AsyncIterator[tuple[int, str | Exception]])
    assert_type(await llm.agenerate(["x"]), LLMResult)


def composing(llm: ChatGLM) -> None:
    """Chains keep the type of what comes out."""
    chain: RunnableSerializable[dict[str, Any], str] = PromptTemplate.from_template("{x}") | llm
    assert_type(chain.invoke({"x": "y"}), str)
    assert_type(llm.bind(stop=["x"]).invoke("x"), str)
    assert_type(llm.with_retry().invoke("x"), str)
    assert_type(llm.with_fallbacks([llm]).invoke("x"), str)


def errors_and_their_attributes(llm: ChatGLM) -> None:
    """Every error is a ValueError with a kind and the text that came before it."""
    try:
        llm.invoke("x")
    except errors.ResponseError as refused:
        assert_type(refused.status, int)
        assert_type(refused.retry_after, str | None)
        assert_type(refused.tokens, tuple[int, int] | None)
    except errors.ChatGLMError as error:
        assert_type(error.kind, str)
        assert_type(error.partial, str)
        value_error: ValueError = error
        print(value_error)
    except errors.Interrupted as interrupt:
        key: KeyboardInterrupt = interrupt
        print(key)
    tree: list[type[errors.ChatGLMError]] = [
        *(errors.ParameterError, errors.CommandError, errors.EndpointError, errors.ResponseError),
        *(errors.InvalidResponseError, errors.IncompleteAnswerError, errors.ServeError),
    ]
    print(tree)


def answers(session: Session) -> None:
    """A session's answer is a text that knows its turn."""
    answer = session.ask("x", temperature=0.5)
    assert_type(answer, Answer)
    text: str = answer
    print(text)
    turn = answer.turn
    assert_type(turn, Turn)
    assert_type(turn.prompt, str)
    assert_type(turn.answer, str)
    assert_type(turn.reasoning, str)
    assert_type(turn.usage, Mapping[str, Any])
    assert_type(turn.pair, tuple[str, str])
    assert_type(turn.to_json(), dict[str, Any])
    assert_type(Turn.from_json({}), Turn)


async def session(own: Session) -> None:
    """There is one session, it has a model, and can be asked by a task too."""
    assert_type(get_session(), Session)
    assert_type(own.llm, ChatGLM)
    own.llm = ChatGLM()
    assert_type(own.turns, tuple[Turn, ...])
    assert_type(await own.aask("x"), Answer)


def local_server() -> None:
    """The local server's context is the server, with what a client needs."""
    with LocalServer() as server:
        assert_type(server, LocalServer)
        assert_type(server.url, str)
        assert_type(server.base_url, str)
        assert_type(server.token, str)
        assert_type(server.alive, bool)
        assert_type(server.pid, int | None)


def chat_model(llm: ChatGLM, session: Session) -> None:
    """Messages, or an iterator of their pieces; runnables of tools and of objects."""
    model = GLMChatModel(endpoint_url="http://127.0.0.1:8000/v1", api_key="sk-x", max_tokens=10)
    base: BaseChatModel = model
    assert_type(base._llm_type, str)
    assert_type(llm.as_chat_model(), GLMChatModel)
    assert_type(session.chat_model, GLMChatModel)
    assert_type(model.max_tokens, int | None)
    assert_type(model.max_token, int | None)
    assert_type(model.temperature, float | None)
    assert_type(model.tool_text, Literal["read", "keep"])
    assert_type(model.invoke("x"), AIMessage)
    assert_type(model.stream([HumanMessage("x")]), Iterator[AIMessageChunk])
    assert_type(model.astream("x"), AsyncIterator[AIMessageChunk])
    assert_type(model.batch(["x"]), list[AIMessage])
    assert_type(model.batch_as_completed(["x"]), Iterator[tuple[int, AIMessage | Exception]])
    assert_type(model.bind_tools([print], tool_choice="any"), Runnable[LanguageModelInput, AIMessage])
    assert_type(model.with_structured_output({"title": "x"}), Runnable[LanguageModelInput, Any])
