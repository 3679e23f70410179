"""What each server gets of tools, schemas, messages and thinking: the bodies, as they are sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from chatglm_magic import GLMChatModel
from chatglm_magic.errors import ParameterError, UnsupportedError

from ..support.servers import ScriptedServer, answer, reply

SERVERS = {
    "vLLM": "http://127.0.0.1:8000/v1",
    "Z.ai": "https://api.z.ai/api/paas/v4",
    "Ollama": "http://127.0.0.1:11434/v1",
}
TURN = [HumanMessage("What's the weather in 北京?", name="li")]


@tool
def get_weather(city: str, days: int = 1) -> str:
    """Tell the weather."""
    return f"sunny in {city} for {days} days"


class City(BaseModel):
    """A city."""

    name: str


def plan(server: str, messages: Any = "hi", model: str = "glm-4.6", **options: Any) -> Any:
    """Return the plan of a request to a server."""
    return GLMChatModel(endpoint_url=SERVERS[server], model=model).plan(messages, **options)


def bound(**options: Any) -> dict[str, Any]:
    """Return what binding the tool with these options adds to a call."""
    runnable: Any = GLMChatModel().bind_tools([get_weather], **options)
    return dict(runnable.kwargs)


@pytest.mark.row("K2")
@pytest.mark.parametrize("server", SERVERS)
def test_tools_are_sent_in_openais_form(server: str) -> None:
    """Name, description and schema; a choice that isn't made isn't sent."""
    body = plan(server, **bound()).request.body
    (function,) = (item["function"] for item in body["tools"])
    assert function["name"] == "get_weather" and function["description"] == "Tell the weather."
    assert function["parameters"]["properties"]["days"]["type"] == "integer"
    assert "tool_choice" not in body and "parallel_tool_calls" not in body


NAMED = {"type": "function", "function": {"name": "get_weather"}}
CHOICES = [
    ("vLLM", "auto", "auto", ()),
    ("vLLM", "none", "none", ()),
    ("vLLM", "any", "required", ()),
    ("vLLM", "required", "required", ()),
    ("vLLM", True, NAMED, ()),
    ("vLLM", "get_weather", NAMED, ()),
    ("vLLM", NAMED, NAMED, ()),
    ("vLLM", {"type": "any"}, "required", ()),
    ("vLLM", {"type": "tool", "name": "get_weather"}, NAMED, ()),
    ("Z.ai", "auto", "auto", ()),
    ("Z.ai", "any", "auto", ("tool_choice: required sent as auto, Z.ai takes nothing else",)),
    ("Z.ai", "get_weather", "auto", ("tool_choice: get_weather sent as auto, Z.ai takes nothing else",)),
    ("Ollama", "any", "auto", ("tool_choice: required sent as auto, Ollama takes nothing else",)),
]


@pytest.mark.row("K2")
@pytest.mark.parametrize(("server", "choice", "sent", "changed"), CHOICES, ids=str)
def test_a_choice_is_what_the_server_takes(server: str, choice: Any, sent: Any, changed: tuple[str, ...]) -> None:
    """Where only ``auto`` is taken, that is sent, and the change is listed."""
    made = plan(server, **bound(tool_choice=choice))
    assert made.request.body["tool_choice"] == sent and made.changed == changed


@pytest.mark.row("K2")
@pytest.mark.parametrize("server", ["Z.ai", "Ollama"])
def test_no_tools_are_offered_where_none_may_be_called(server: str) -> None:
    """``none`` to a server that takes only ``auto``: it gets no tools, which is the same."""
    made = plan(server, **bound(tool_choice="none"))
    assert made.request.body.keys().isdisjoint({"tools", "tool_choice"}) and made.changed == ()


@pytest.mark.row("K2")
def test_a_choice_that_names_no_tool_is_refused() -> None:
    """With the tool that is meant."""
    with pytest.raises(ParameterError, match=r"'get_wether' names no bound tool\. Did you mean get_weather\?"):
        GLMChatModel().bind_tools([get_weather], tool_choice="get_wether")


@pytest.mark.row("K2")
def test_options_of_a_call_are_checked_as_bound_ones_are() -> None:
    """Functions are taken for tools; what can't be one, and a choice that isn't, is an error in one line."""
    body = plan("vLLM", tools=[get_weather, City], tool_choice="any").request.body
    assert len(body["tools"]) == 2 and body["tool_choice"] == "required"
    search = {"type": "web_search", "web_search": {"enable": True}}
    assert plan("Z.ai", **GLMChatModel().bind_tools([search]).kwargs).request.body["tools"] == [search]  # type: ignore[attr-defined]
    for options in (
        {"tools": [5]},
        {"tools": get_weather},
        {"tools": [get_weather], "tool_choice": "w"},
        {"tool_text": "keeep"},
        {"parallel_tool_calls": "yes"},
        {"max_token": 1, "max_tokens": 2},
        {"response_format": {"type": "xml"}},
    ):
        with pytest.raises(ParameterError, match=r"\A[^\n]+\Z"):
            plan("vLLM", **options)


@pytest.mark.row("K2")
def test_zai_gets_no_neighbours_of_one_role() -> None:
    """Also where a name or a thought stood between them."""
    named = [HumanMessage("a", name="x"), HumanMessage("b")]
    assert [message["content"] for message in plan("Z.ai", named).request.body["messages"]] == ["a\n\nb"]


@pytest.mark.row("K2")
@pytest.mark.parametrize(("server", "is_sent"), [("vLLM", True), ("Z.ai", False), ("Ollama", False)])
def test_parallel_calls_are_asked_for_where_they_can_be(server: str, is_sent: bool) -> None:
    """``parallel_tool_calls`` is sent or listed as left out."""
    made = plan(server, **bound(parallel_tool_calls=False))
    assert (made.request.body.get("parallel_tool_calls") is False) == is_sent
    assert (made.changed == ()) == is_sent


@pytest.mark.row("K2")
def test_strict_goes_where_it_is_taken() -> None:
    """vLLM gets ``strict``; Z.ai, which refuses it, doesn't, and the change is listed."""
    for server, is_sent in (("vLLM", True), ("Z.ai", False)):
        made = plan(server, **bound(strict=True))
        (function,) = (item["function"] for item in made.request.body["tools"])
        assert ("strict" in function) == is_sent and (made.changed == ()) == is_sent


@pytest.mark.row("K2")
@pytest.mark.parametrize(("model", "streams"), [("glm-4.6", True), ("glm-5.2", True), ("glm-4.5-air", False)])
def test_zai_streams_arguments_of_the_models_that_can(model: str, streams: bool) -> None:
    """``tool_stream`` belongs to GLM-4.6 and later, and only to a request with tools."""
    assert plan("Z.ai", model=model, **bound()).request.body.get("tool_stream", False) == streams
    assert "tool_stream" not in plan("Z.ai", model=model).request.body


@pytest.mark.row("K2")
def test_a_schema_is_sent_or_put_into_the_prompt() -> None:
    """vLLM and Ollama keep to a schema; Z.ai, which knows only JSON, reads it in the system message."""
    form = {"type": "json_schema", "json_schema": {"name": "City", "schema": {"title": "City"}, "strict": True}}
    for server in ("vLLM", "Ollama"):
        made = plan(server, response_format=form)
        assert made.request.body["response_format"] == form and made.changed == ()
    made = plan("Z.ai", [SystemMessage("Be brief."), HumanMessage("hi")], response_format=form)
    assert made.request.body["response_format"] == {"type": "json_object"}
    system = made.request.body["messages"][0]
    assert system["role"] == "system" and system["content"].startswith("Be brief.\n\nAnswer with one JSON object")
    assert system["content"].endswith('{"title": "City"}')
    assert made.changed == ("response_format: the schema sent in the prompt, Z.ai has json_object alone",)


@pytest.mark.row("K2")
def test_names_of_messages_go_where_they_are_taken() -> None:
    """vLLM gets the name, Z.ai doesn't."""
    assert plan("vLLM", TURN).request.body["messages"][0]["name"] == "li"
    made = plan("Z.ai", TURN)
    assert "name" not in made.request.body["messages"][0]
    assert made.changed == ("name: not sent, Z.ai takes no names of messages",)


@pytest.mark.row("K2")
def test_penalties_are_left_out_where_there_are_none() -> None:
    """The sampling rows of the table hold for the chat model too."""
    made = plan("Z.ai", presence_penalty=0.5, min_p=0.1)
    assert made.request.body.keys().isdisjoint({"presence_penalty", "min_p"}) and len(made.changed) == 2
    assert plan("vLLM", presence_penalty=0.5).request.body["presence_penalty"] == 0.5


@pytest.mark.row("K2")
def test_zai_gets_a_message_of_the_user() -> None:
    """A system message alone is sent as the user's, which Z.ai needs."""
    made = plan("Z.ai", [SystemMessage("Say hello.")])
    assert made.request.body["messages"] == [{"role": "user", "content": "Say hello."}] and made.changed
    assert plan("vLLM", [SystemMessage("Say hello.")]).request.body["messages"][0]["role"] == "system"


PNG = "iVBORw0KGgo="
IMAGES = [
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    {"type": "image_url", "image_url": "https://example.com/a.png"},
    {"type": "image", "url": "https://example.com/a.png"},
    {"type": "image", "source_type": "url", "url": "https://example.com/a.png"},
    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    {"type": "image", "base64": PNG, "mime_type": "image/png"},
    {"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"},
    {"type": "image", "source": {"type": "base64", "data": PNG, "media_type": "image/png"}},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
]


@pytest.mark.row("K2")
@pytest.mark.parametrize("image", IMAGES, ids=str)
def test_images_are_sent_as_urls(image: dict[str, Any]) -> None:
    """Each of the forms that people write comes as OpenAI's content part."""
    made = plan("vLLM", [HumanMessage([{"type": "text", "text": "What is it?"}, image])])
    text, picture = made.request.body["messages"][0]["content"]
    assert text == {"type": "text", "text": "What is it?"} and picture["type"] == "image_url"
    assert picture["image_url"]["url"] in ("https://example.com/a.png", f"data:image/png;base64,{PNG}")


@pytest.mark.row("K2")
@pytest.mark.parametrize("kind", ["audio", "video", "file", "server_tool_call", "anything"])
def test_what_a_model_cant_take_is_refused_by_name(kind: str) -> None:
    """Before anything is sent."""
    with pytest.raises(UnsupportedError, match=rf"type '{kind}' can't be sent"):
        plan("vLLM", [HumanMessage([{"type": kind, "base64": PNG, "mime_type": "audio/wav"}])])


@pytest.mark.row("K2")
def test_messages_of_every_kind_have_their_roles() -> None:
    """Text in parts is one text; results of tools within a message are messages of their own."""
    call = {"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}
    made = plan(
        "vLLM",
        [
            SystemMessage([{"type": "text", "text": "Be "}, "brief."]),
            ChatMessage("seen", role="observation"),
            HumanMessage("hi"),
            AIMessage(
                [{"type": "text", "text": "So: "}, {"type": "tool_use", "id": "c1", "name": "f", "input": {}}],
                tool_calls=[call],
            ),
            HumanMessage(
                [{"type": "tool_result", "tool_use_id": "c1", "content": "3"}, {"type": "text", "text": "And?"}]
            ),
            ToolMessage([{"type": "text", "text": "failed"}], tool_call_id="c1", status="error"),
        ],
    )
    function = {"name": "f", "arguments": '{"a": 1}'}
    assert made.request.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "observation", "content": "seen"},
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": "So: ",
            "tool_calls": [{"id": "c1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "3"},
        {"role": "user", "content": "And?"},
        {"role": "tool", "tool_call_id": "c1", "content": "failed"},
    ]


@pytest.mark.row("K3")
def test_a_call_that_was_wrong_is_sent_where_a_result_answers_it() -> None:
    """Else its text is what the model said: a call without a result upsets servers, and nothing is lost."""
    wrong = {"type": "invalid_tool_call", "id": "c1", "name": "f", "args": '{"a": ', "error": None}
    said = AIMessage("", invalid_tool_calls=[wrong])
    made = plan("vLLM", [HumanMessage("hi"), said, ToolMessage("no JSON", tool_call_id="c1", status="error")])
    (call,) = made.request.body["messages"][1]["tool_calls"]
    assert call["function"] == {"name": "f", "arguments": '{"invalid": "{\\"a\\": "}'}
    alone = plan("vLLM", [HumanMessage("hi"), said, HumanMessage("again")]).request.body["messages"][1]
    assert alone == {"role": "assistant", "content": '{"a":'}


LOOP = [
    HumanMessage("first"),
    AIMessage("one", additional_kwargs={"reasoning_content": "old"}),
    HumanMessage("weather?"),
    AIMessage(
        [{"type": "reasoning", "reasoning": "I need a tool."}],
        tool_calls=[{"name": "get_weather", "args": {"city": "北京"}, "id": "c1", "type": "tool_call"}],
    ),
    ToolMessage("sunny", tool_call_id="c1"),
]


@pytest.mark.row("K6")
@pytest.mark.parametrize(("server", "goes_back"), [("vLLM", True), ("Z.ai", True), ("Ollama", False)])
def test_thinking_goes_back_within_a_loop_of_tools(server: str, goes_back: bool) -> None:
    """Only that of the messages after the user's last; Z.ai is told to keep it."""
    body = plan(server, LOOP).request.body
    assert [message.get("reasoning_content") for message in body["messages"]] == [
        *(None, None, None, "I need a tool." if goes_back else None, None)
    ]
    kept = {"type": "enabled", "clear_thinking": False} if server == "Z.ai" else None
    assert body.get("thinking") == kept
    later = plan(server, [*LOOP, AIMessage("It's sunny."), HumanMessage("thanks")]).request.body
    assert not any("reasoning_content" in message for message in later["messages"]) and "thinking" not in later


@pytest.mark.row("K6")
def test_a_level_of_thinking_stays_beside_what_goes_back() -> None:
    """A wish for a level is kept, and one not to think is not undone."""
    assert plan("Z.ai", LOOP, thinking="on").request.body["thinking"] == {
        "type": "enabled",
        "clear_thinking": False,
    }
    assert plan("Z.ai", LOOP, thinking="off").request.body["thinking"] == {"type": "disabled"}


@pytest.mark.row("K2")
@pytest.mark.parametrize("road", ["sync", "async"])
def test_the_same_body_goes_over_both_roads(road: str) -> None:
    """What ``plan`` shows is what arrives, streamed or not, in a thread or as a task."""
    with ScriptedServer(answer("好的")) as server:
        model = GLMChatModel(endpoint_url=f"{server.url}v1", model="glm-4.6", temperature=0.3)
        asking = model.bind_tools([get_weather, City], tool_choice="any")
        options = dict(asking.kwargs)  # type: ignore[attr-defined]
        if road == "sync":
            asking.invoke(LOOP)
            list(asking.stream(LOOP))
        else:
            asyncio.run(asking.ainvoke(LOOP))
            asyncio.run(_collect(asking.astream(LOOP)))
        planned = model.plan(LOOP, **options).request.body
        assert [asked.body for asked in server.posts] == [planned, planned]


async def _collect(chunks: Any) -> list[Any]:
    return [chunk async for chunk in chunks]


@pytest.mark.row("K11")
def test_a_conversation_of_text_becomes_prompt_and_history() -> None:
    """ChatGLM's own protocol has no roles: a system message stands before the prompt, and the change is listed."""
    model = GLMChatModel(endpoint_url="http://127.0.0.1:8000/", temperature=0.5)
    made = model.plan(
        [("system", "Be brief."), ("human", "hi"), ("ai", "hello"), ("human", "more"), ("human", "!")]
    )
    assert made.request.body == {
        "prompt": "more\n\n!",
        "history": [["Be brief.\n\nhi", "hello"]],
        "temperature": 0.5,
        "top_p": 0.7,
        "max_length": 20000,
    }
    assert made.changed == ("system: put before the prompt, the protocol has no system role",)


@pytest.mark.row("K11")
def test_tools_and_images_are_refused_there() -> None:
    """With a sentence that says which address takes them; nothing is sent."""
    with ScriptedServer(reply({"response": "x", "history": []})) as server:
        model = GLMChatModel(endpoint_url=server.url)
        picture = [HumanMessage([IMAGES[0]])]
        for ask in (
            lambda: model.bind_tools([get_weather]).invoke("hi"),
            lambda: model.invoke(LOOP),
            lambda: model.invoke(picture),
        ):
            with pytest.raises(UnsupportedError, match="Use the server's /v1 address"):
                ask()
        assert server.posts == []
