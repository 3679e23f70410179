"""Asking a scripted server by each of the four ways that LangChain has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError

from .fault_requests import Outcome, make_model, send_with
from .servers import Script, ScriptedServer

ROADS: dict[str, Callable[[ChatGLM], Outcome]] = {
    "invoke": lambda llm: whole_answer(lambda: llm.invoke("hi")),
    "ainvoke": lambda llm: whole_answer(lambda: asyncio.run(llm.ainvoke("hi"))),
    "stream": lambda llm: send_with(llm, "sync"),
    "astream": lambda llm: send_with(llm, "async"),
}

roads = pytest.mark.parametrize("road", ROADS)


def whole_answer(ask: Callable[[], str]) -> Outcome:
    try:
        return Outcome(ask())
    except ChatGLMError as error:
        return Outcome(error=error)


def ask(script: Script, road: str, dialect: str = "openai", posts: int | None = 1, **fields: Any) -> Outcome:
    """Ask a server that follows a script; assert how many questions it got."""
    with ScriptedServer(script) as server:
        outcome = ROADS[road](make_model(server, dialect, **fields))
        assert posts is None or len(server.posts) == posts
    return outcome


def fact(script: Script, dialect: str = "openai") -> dict[str, Any]:
    """Return what is known of an answer besides its text."""
    with ScriptedServer(script) as server:
        result = make_model(server, dialect).generate(["hi"]).generations[0][0]
        return {"text": result.text, **(result.generation_info or {})}
