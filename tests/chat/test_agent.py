"""An agent of LangChain's with tools: parallel calls, one that fails, thinking that goes back, and its tape."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import ToolException, tool
from pydantic import BaseModel

from chatglm_magic import GLMChatModel
from chatglm_magic.errors import TapeError

from ..support.servers import Asked, Script, ScriptedServer, chunk, sse
from .test_replies import function, piece


def make_agent(model: GLMChatModel, **options: Any) -> Any:
    """Return LangChain's agent over a model; its import takes a second, for which no other file should wait."""
    from langchain.agents import create_agent

    return create_agent(model, **options)


@tool
def get_weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def fail(city: str) -> str:
    """Count the people of a city."""
    raise ToolException(f"no figures for {city}")


count_people = tool("count_people")(fail)
count_people.handle_tool_error = True

TOOLS = [get_weather, count_people]
FINAL = "北京晴；没有人口数据。"


def agent_server() -> Script:
    """Think and call both tools at once; call one more once their results are there; then answer."""

    def script(connection: socket.socket, asked: Asked) -> None:
        results = [message for message in asked.body["messages"] if message["role"] == "tool"]
        events: list[Any] = [chunk(None, reasoning_content=f"step {len(results)}")]
        if not results:
            events += [piece(index=0, id="a", **function("get_weather", '{"city": "北'))]
            events += [piece(index=1, id="b", **function("count_people", '{"city": "北京"}'))]
            events += [piece(index=0, **function(None, '京"}'))]
        elif len(results) == 2:
            events += [
                chunk("<tool_call>get_weather\n<arg_key>city</arg_key><arg_value>上海</arg_value></tool_call>")
            ]
        else:
            events += [chunk(part) for part in (FINAL[:4], FINAL[4:])]
        reason = "stop" if len(results) > 1 else "tool_calls"
        sse([*events, chunk(None, finish_reason=reason)])(connection, asked)

    return script


def run(model: GLMChatModel, road: str = "invoke") -> list[Any]:
    """Run an agent; return its messages."""
    agent = make_agent(model, tools=TOOLS, system_prompt="Be brief.")
    question = {"messages": [("user", "天气和人口？")]}
    found = agent.invoke(question) if road == "invoke" else asyncio.run(agent.ainvoke(question))
    return list(found["messages"])


@pytest.mark.row("K8", "K6")
@pytest.mark.parametrize("road", ["invoke", "ainvoke"])
def test_an_agent_ends_with_an_answer(road: str) -> None:
    """Two calls at once, one of which fails, then one that was left in the text; thinking goes back each time."""
    with ScriptedServer(agent_server()) as server:
        messages = run(GLMChatModel(endpoint_url=f"{server.url}v1"), road)
        bodies = [asked.body for asked in server.posts]
    assert messages[-1].text == FINAL and len(bodies) == 3
    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert [each.content for each in results] == ["sunny in 北京", "no figures for 北京", "sunny in 上海"]
    assert [each.status for each in results] == ["success", "error", "success"]
    thoughts = [
        message.get("reasoning_content") for message in bodies[2]["messages"] if message["role"] == "assistant"
    ]
    assert thoughts == ["step 0", "step 2"]
    ids = [call["id"] for message in messages if isinstance(message, AIMessage) for call in message.tool_calls]
    assert ids == [message.tool_call_id for message in results] and len(set(ids)) == 3
    assert bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.row("K8")
@pytest.mark.parametrize("road", ["invoke", "ainvoke"])
def test_an_agent_runs_from_its_tape_without_a_server(road: str, tmp_path: Path) -> None:
    """Recorded once, it gives the same messages again: calls, thinking, results and answer."""
    tape = tmp_path / "agent.jsonl"
    with ScriptedServer(agent_server()) as server:
        recorded = run(GLMChatModel(endpoint_url=f"{server.url}v1", tape=str(tape)), road)
    assert len(tape.read_text("utf-8").splitlines()) == 3
    model = GLMChatModel(endpoint_url="http://127.0.0.1:9/v1", tape=str(tape), tape_mode="replay")
    replayed = run(model, road)
    assert [facts(each) for each in replayed] == [facts(each) for each in recorded]
    with pytest.raises(TapeError, match="isn't on the tape"):
        model.invoke("another question")


def facts(message: Any) -> Any:
    """Return what must be the same of a message."""
    thinking = message.additional_kwargs.get("reasoning_content")
    calls = [(call["name"], call["args"]) for call in getattr(message, "tool_calls", ())]
    return message.type, message.text, thinking, calls


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    sunny: bool


@pytest.mark.row("K8")
@pytest.mark.parametrize("recorded", [True, False], ids=["server", "tape"])
def test_an_agent_returns_an_object_of_a_schema(recorded: bool, tmp_path: Path) -> None:
    """As a tool of its own, which is LangChain's way where a model doesn't say that it can do more."""
    arguments = '{"city": "北京", "sunny": true}'
    script = sse(
        [piece(index=0, id="a", **function("Weather", arguments)), chunk(None, finish_reason="tool_calls")]
    )
    tape = tmp_path / "object.jsonl"
    with ScriptedServer(script) as server:
        model = GLMChatModel(endpoint_url=f"{server.url}v1", tape=str(tape))
        agent = make_agent(model, tools=[get_weather], response_format=Weather)
        found = agent.invoke({"messages": [("user", "北京天气")]})
        if not recorded:
            posts = len(server.posts)
            found = agent.invoke({"messages": [("user", "北京天气")]})
            assert len(server.posts) == posts
    assert found["structured_response"] == Weather(city="北京", sunny=True)


@pytest.mark.row("K8")
def test_a_tape_edited_by_hand_keeps_its_calls(tmp_path: Path) -> None:
    """An answer whose text was changed no longer fits its pieces, and comes in one, with its calls."""
    tape = tmp_path / "edited.jsonl"
    events = [chunk("I look."), piece(index=0, id="a", **function("get_weather", '{"city": "x"}'))]
    with ScriptedServer(sse([*events, chunk(None, finish_reason="tool_calls")])) as server:
        model: Any = GLMChatModel(endpoint_url=f"{server.url}v1", tape=str(tape)).bind_tools(TOOLS)
        model.invoke("hi")
        tape.write_text(tape.read_text("utf-8").replace('"answer": "I look."', '"answer": "Let me see."'), "utf-8")
        message = model.invoke("hi")
    assert message.text == "Let me see." and message.tool_calls[0]["args"] == {"city": "x"}
