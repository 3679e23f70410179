"""``llm("…")`` of 2023, classes that build on ours, and a question that is too long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatglm_magic import ChatGLM, LocalServer
from chatglm_magic.errors import ParameterError, ResponseError

from ..support.models import SMALL, both, make_local_model, make_model, reply_with
from ..support.servers import ScriptedServer

HI = "hi"


@both
@pytest.mark.parametrize("prompt", [["hi"], None, 3, b"hi"])
def test_calling_call__of_no_string_is_a_value_error(dialect: str, prompt: Any) -> None:
    """As in the original, nothing is sent."""
    with ScriptedServer(reply_with("ok")) as server:
        with pytest.warns(DeprecationWarning), pytest.raises(ParameterError, match="string") as caught:
            make_model(server, dialect)(prompt)
        assert isinstance(caught.value, ValueError) and server.asked == []


@both
def test_calling_call__with_stop(dialect: str, local: LocalServer) -> None:
    """Stop strings and arguments are those of the call."""
    llm = ChatGLM(**(make_local_model(local, dialect).model_dump() | SMALL | {"api_key": local.token}))
    with pytest.warns(DeprecationWarning):
        assert llm(HI, stop=["about"], temperature=0) == "Hi! Ask me "


@both
def test_calling_invoke__of_what_does_not_fit(dialect: str, local: LocalServer) -> None:
    """The local server's context is too small for it: ``too_long`` in each dialect, with how much too long."""
    with pytest.raises(ResponseError, match="24004") as caught:
        make_local_model(local, dialect, max_token=20000).invoke("你好世界" * 6000)
    assert caught.value.kind == "too_long" and caught.value.tokens == (24004, 2048)


@both
def test_calling_call__by_a_subclass(dialect: str) -> None:
    """LangChain's hooks work by themselves, without a run manager, for classes that build on them."""

    async def pieces(llm: ChatGLM) -> str:
        return "".join([chunk.text async for chunk in llm._astream("x")])

    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        assert [llm._call("x"), asyncio.run(pieces(llm))] == ["ok", "ok"]
        assert "".join(chunk.text for chunk in llm._stream("x")) == "ok"


@both
@pytest.mark.parametrize("name", ["prompt", "run_manager", "api_key", "headers", "max_concurrency", "insecure"])
def test_calling_invoke__with_a_name_that_is_taken(dialect: str, name: str) -> None:
    """What is the object's alone, or the question itself, is no argument of a call; nothing is sent."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        for ask in (llm.invoke, lambda text, **more: list(llm.stream(text, **more))):
            with pytest.raises(ParameterError, match=name):
                ask("x", **{name: 1})
        assert server.asked == []
