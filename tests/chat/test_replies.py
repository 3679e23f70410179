"""What servers send of calls, thinking and counts, and the message that comes of it, whole and in chunks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.utils import message_chunk_to_message

from chatglm_magic import GLMChatModel
from chatglm_magic.errors import IncompleteAnswerError

from ..support.servers import Script, ScriptedServer, chunk, reply, sse

ROADS = ("invoke", "stream", "ainvoke", "astream")
on_each_road = pytest.mark.parametrize("road", ROADS)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "now": {"type": "boolean"},
                },
            },
        },
    },
    {"type": "function", "function": {"name": "tool_12", "parameters": {"type": "object", "properties": {}}}},
]


async def collect(chunks: Any) -> list[Any]:
    """Return all chunks of an asynchronous stream."""
    return [chunk async for chunk in chunks]


def ask(script: Script, road: str = "invoke", *, tools: bool = True, **fields: Any) -> Any:
    """Return the message that a script's answer makes on a road; a stream's chunks are added up."""
    with ScriptedServer(script) as server:
        model: Any = GLMChatModel(endpoint_url=f"{server.url}v1", max_retries=0, **fields)
        model = model.bind(tools=TOOLS) if tools else model
        if road == "invoke":
            return model.invoke("hi")
        if road == "ainvoke":
            return asyncio.run(model.ainvoke("hi"))
        chunks = list(model.stream("hi")) if road == "stream" else asyncio.run(collect(model.astream("hi")))
        assert all(isinstance(each, AIMessageChunk) for each in chunks) and chunks[-1].chunk_position == "last"
        whole = chunks[0]
        for each in chunks[1:]:
            whole = whole + each
        return whole


def calls_of(message: AIMessage) -> list[tuple[str, Any]]:
    """Return name and arguments of each call; each has an id of its own."""
    ids = [call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]]
    assert all(ids) and len(set(ids)) == len(ids)
    return [(call["name"], call["args"]) for call in message.tool_calls]


def piece(**call: Any) -> dict[str, Any]:
    """One event with a piece of a call."""
    return chunk(None, tool_calls=[call])


def function(name: str | None = None, arguments: Any = None) -> dict[str, Any]:
    """A function in a piece of a call, with the keys that are there."""
    given = {"name": name, "arguments": arguments}
    return {"function": {key: value for key, value in given.items() if value is not None}}


END = chunk(None, finish_reason="tool_calls")
PARIS = ("get_weather", {"city": "Paris"})
ROME = ("get_weather", {"city": "Rome"})
STREAMS = {
    "fragments by index": (
        [
            piece(index=0, id="a", type="function", **function("get_weather", "")),
            piece(index=0, **function(None, '{"ci')),
            piece(index=0, **function(None, 'ty": "Paris"}')),
        ],
        [PARIS],
    ),
    "two calls, interleaved": (
        [
            piece(index=0, id="a", **function("get_weather", '{"city": ')),
            piece(index=1, id="b", **function("get_weather", '{"city": "Ro')),
            piece(index=0, **function(None, '"Paris"}')),
            piece(index=1, **function(None, 'me"}')),
        ],
        [PARIS, ROME],
    ),
    "no index": (
        [
            piece(id="a", **function("get_weather", '{"city"')),
            piece(**function(None, ': "Paris"}')),
            piece(id="b", **function("get_weather", '{"city": "Rome"}')),
        ],
        [PARIS, ROME],
    ),
    "no id": ([piece(index=0, **function("get_weather", '{"city": "Paris"}'))], [PARIS]),
    "one id for two": (
        [
            piece(index=0, id="a", **function("get_weather", '{"city": "Paris"}')),
            piece(index=1, id="a", **function("get_weather", '{"city": "Rome"}')),
        ],
        [PARIS, ROME],
    ),
    "one index for two": (
        [
            piece(index=0, id="a", **function("get_weather", '{"city": "Paris"}')),
            piece(index=0, id="b", **function("get_weather", '{"city": "Rome"}')),
        ],
        [PARIS, ROME],
    ),
    "id and name in each fragment": (
        [
            piece(index=0, id="a", **function("get_weather", '{"city": ')),
            piece(index=0, id="a", **function("get_weather", '"Paris"}')),
        ],
        [PARIS],
    ),
    "the name again, without an id": (
        [
            piece(index=0, id="a", **function("get_weather", "")),
            piece(index=0, **function("get_weather", '{"city": "Paris"}')),
        ],
        [PARIS],
    ),
    "the name later": (
        [
            piece(index=0, id="a", **function("", "")),
            piece(index=0, **function("get_weather</arg_value>", '{"city": "Paris"}')),
        ],
        [PARIS],
    ),
    "once more, without an index": (
        [
            piece(index=0, id="a", **function("get_weather", '{"city": "Paris"}')),
            piece(id="a", **function("get_weather", '{"city": "Paris"}')),
        ],
        [PARIS],
    ),
    "arguments said twice": (
        [
            piece(index=0, id="a", **function("get_weather", '{"city": "Paris"}')),
            piece(index=0, id="a", **function(None, '{"city": "Paris"}')),
        ],
        [PARIS],
    ),
    "an object": ([piece(index=0, id="a", **function("get_weather", {"city": "Paris"}))], [PARIS]),
    "null arguments": (
        [piece(index=0, id="a", function={"name": "tool_12", "arguments": None})],
        [("tool_12", {})],
    ),
    "empty arguments": ([piece(index=0, id="a", **function("tool_12", ""))], [("tool_12", {})]),
    "several in one event": (
        [
            chunk(
                None,
                tool_calls=[
                    {"id": "a", **function("get_weather", '{"city": "Paris"}')},
                    {"id": "b", **function("get_weather", '{"city": "Rome"}')},
                ],
            )
        ],
        [PARIS, ROME],
    ),
    "the form of 2023": (
        [chunk(None, function_call={"name": "get_weather", "arguments": '{"city": "Paris"}'})],
        [PARIS],
    ),
    "values of another type": (
        [piece(index=0, id="a", **function("get_weather", '{"city": 12, "days": "3", "now": "true"}'))],
        [("get_weather", {"city": "12", "days": 3, "now": True})],
    ),
}


@pytest.mark.row("K3", "K5")
@on_each_road
@pytest.mark.parametrize("kind", STREAMS)
def test_calls_are_read_from_what_servers_stream(kind: str, road: str) -> None:
    """In fragments or whole, with or without index and id: the same calls on each road."""
    events, expected = STREAMS[kind]
    message = ask(sse([chunk("", role="assistant"), *events, END]), road)
    assert calls_of(message) == expected and message.invalid_tool_calls == [] and message.text == ""
    assert message.response_metadata["finish_reason"] == "tool_calls"


def whole(message: dict[str, Any], reason: str = "stop") -> Script:
    """Answer with one object, not a stream."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return reply({"object": "chat.completion", "model": "glm", "choices": [choice]})


@pytest.mark.row("K3")
@on_each_road
@pytest.mark.parametrize("reason", ["tool_calls", "function_call", "stop"])
@pytest.mark.parametrize("content", [None, "", "Let me see."])
def test_calls_are_read_from_a_whole_reply(content: str | None, reason: str, road: str) -> None:
    """Beside text, an empty text or null, whatever the reason to finish is called."""
    calls = [
        {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    ]
    message = ask(whole({"content": content, "tool_calls": calls}, reason), road)
    assert calls_of(message) == [PARIS] and message.text == (content or "")


@pytest.mark.row("K3")
@on_each_road
def test_an_empty_list_of_calls_beside_text_is_text(road: str) -> None:
    """``tool_calls: []`` calls nothing."""
    message = ask(whole({"content": "No.", "tool_calls": []}), road)
    assert message.text == "No." and calls_of(message) == []


@pytest.mark.row("K3", "K5")
@on_each_road
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [('{"city": "Par', "length"), ("[1, 2]", "tool_calls"), ("Paris", "tool_calls"), ('{"a": NaN}', "stop")],
)
def test_what_is_no_object_is_an_invalid_call(arguments: str, reason: str, road: str) -> None:
    """With its text: cut off, a list, or no JSON. It never passes as a whole call with less in it."""
    events = [piece(index=0, id="a", **function("get_weather", arguments)), chunk(None, finish_reason=reason)]
    message = ask(sse(events), road)
    (call,) = message.invalid_tool_calls
    assert calls_of(message) == [] and (call["name"], call["args"], call["id"]) == ("get_weather", arguments, "a")


@pytest.mark.row("K3", "K5")
@on_each_road
def test_a_call_that_is_cut_before_its_arguments_is_invalid(road: str) -> None:
    """An agent would run it with its defaults; one without arguments that is whole is valid."""
    begun = piece(index=0, id="a", **function("get_weather", ""))
    message = ask(sse([begun, chunk(None, finish_reason="length")]), road)
    assert calls_of(message) == [] and message.invalid_tool_calls[0]["name"] == "get_weather"
    message = ask(sse([begun, chunk(None, finish_reason="tool_calls")]), road)
    assert calls_of(message) == [("get_weather", {})]


@pytest.mark.row("K5")
def test_chunks_become_messages_of_the_usual_class() -> None:
    """LangChain makes a message of a chunk, where ``streaming`` is on or a callback wants a stream."""
    with ScriptedServer(sse(thinking_stream())) as server:
        model = GLMChatModel(endpoint_url=f"{server.url}v1", streaming=True)
        message = model.bind(tools=TOOLS).invoke("hi")
        first, *others = model.stream("hi")
    assert type(message) is AIMessage and message.type == "ai" and calls_of(message) == [PARIS]
    assert type(message_chunk_to_message(first + others)) is AIMessage


@pytest.mark.row("K5")
@pytest.mark.parametrize("road", ["stream", "astream"])
def test_blocks_of_version_1_have_the_thinking_and_the_calls(road: str) -> None:
    """Also thinking that shows by its end, and a call that was cut."""
    events = [chunk("hmm"), chunk("</think>ok"), chunk(None, finish_reason="stop")]
    message = ask(sse(events), road, tools=False, output_version="v1")
    assert [(part["type"], part.get("reasoning", part.get("text"))) for part in message.content_blocks] == [
        ("reasoning", "hmm"),
        ("text", "ok"),
    ]
    cut = [piece(index=0, id="a", **function("get_weather", '{"ci')), chunk(None, finish_reason="length")]
    message = ask(sse(cut), road, output_version="v1")
    assert [part["type"] for part in message.content_blocks] == ["invalid_tool_call"]


@pytest.mark.row("K2")
def test_another_tool_than_the_one_that_was_asked_for_is_told() -> None:
    """``changed`` says that the server didn't keep to the choice."""
    called = piece(index=0, id="a", **function("tool_12", "{}"))
    with ScriptedServer(sse([called, END])) as server:
        choice = {"type": "function", "function": {"name": "get_weather"}}
        model = GLMChatModel(endpoint_url=f"{server.url}v1").bind(tools=TOOLS, tool_choice=choice)
        assert model.invoke("hi").response_metadata["changed"] == [
            "tool_choice: the model called another tool than get_weather"
        ]


@pytest.mark.row("K3")
def test_each_split_of_a_stream_gives_the_same_calls() -> None:
    """Arguments with Chinese, quotation marks and line breaks, cut at each place."""
    values = {"city": '北京 "东城"\n', "days": 3, "now": False}
    text = json.dumps(values, ensure_ascii=False)
    for place in range(len(text) + 1):
        events = [
            piece(index=0, id="a", **function("get_weather", "")),
            piece(index=0, **function(None, text[:place])),
            piece(index=0, **function(None, text[place:])),
            END,
        ]
        assert calls_of(ask(sse(events), "stream")) == [("get_weather", values)]


USAGE = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
DETAILS = {
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


def thinking_stream(field: str = "reasoning_content") -> list[dict[str, Any]]:
    """A stream with thinking, text, a call and counts."""
    return [
        chunk("", role="assistant"),
        chunk(None, **{field: "I need "}),
        chunk(None, **{field: "a tool."}),
        chunk("Let me "),
        chunk("see."),
        piece(index=0, id="a", **function("get_weather", '{"city": ')),
        piece(index=0, **function(None, '"Paris"}')),
        END,
        {"choices": [], "usage": USAGE | DETAILS},
    ]


@pytest.mark.row("K5")
@on_each_road
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_chunks_add_up_to_the_message(field: str, road: str) -> None:
    """Text, thinking, calls, counts and facts are the same, streamed or not, in a thread or as a task."""
    message = ask(sse(thinking_stream(field)), road)
    assert message.text == "Let me see." and calls_of(message) == [PARIS]
    assert message.additional_kwargs == {"reasoning_content": "I need a tool."}
    kinds = [block["type"] for block in message.content_blocks]
    assert (
        kinds == ["reasoning", "text", "tool_call"] and message.content_blocks[0]["reasoning"] == "I need a tool."
    )
    assert message.usage_metadata == {
        "input_tokens": 9,
        "output_tokens": 7,
        "total_tokens": 16,
        "input_token_details": {"cache_read": 4},
        "output_token_details": {"reasoning": 5},
    }
    facts = message.response_metadata
    assert (facts["model_name"], facts["finish_reason"], facts["model_provider"]) == (
        "test-glm",
        "tool_calls",
        "glm",
    )
    assert facts["endpoint"].endswith("/v1/chat/completions")


@pytest.mark.row("K5")
@on_each_road
def test_counts_that_grow_with_the_stream_are_counted_once(road: str) -> None:
    """SGLang and others send the counts so far with each event; the last ones count."""
    events = [chunk("a") | {"usage": USAGE | {"completion_tokens": n, "total_tokens": 9 + n}} for n in (1, 2, 7)]
    message = ask(sse([*events, chunk(None, finish_reason="stop")]), road, tools=False)
    assert message.usage_metadata == {"input_tokens": 9, "output_tokens": 7, "total_tokens": 16}


@pytest.mark.row("K5")
@on_each_road
def test_thinking_that_shows_by_its_end_is_moved(road: str) -> None:
    """A template opened it in the prompt: what stands before a lone ``</think>`` was no text."""
    events = [
        chunk("I need "),
        chunk("a tool.</th"),
        chunk("ink>\n\nPar"),
        chunk("is."),
        chunk(None, finish_reason="stop"),
    ]
    message = ask(sse(events), road, tools=False)
    assert message.text == "Paris." and message.additional_kwargs["reasoning_content"] == "I need a tool."


@pytest.mark.row("K5")
@on_each_road
def test_logprobs_come_in_openais_form(road: str) -> None:
    """Of each token that came, with its alternatives."""
    token = {"token": "好", "logprob": -0.5, "bytes": list("好".encode()), "top_logprobs": []}
    odds = {"content": [token | {"top_logprobs": [{"token": "是", "logprob": -1.5}]}]}
    event = chunk("好")
    event["choices"][0]["logprobs"] = odds
    message = ask(sse([event, event, chunk(None, finish_reason="stop")]), road, tools=False)
    listed = message.response_metadata["logprobs"]["content"]
    assert [one["token"] for one in listed] == ["好", "好"]
    assert listed[0]["top_logprobs"] == [{"token": "是", "logprob": -1.5, "bytes": list("是".encode())}]


@pytest.mark.row("K5")
@on_each_road
def test_a_stop_string_ends_the_answer_here_too(road: str) -> None:
    """Many servers ignore stop strings: what stands behind one is cut off."""
    message = ask(
        sse([chunk("one tw"), chunk("o three"), chunk(None, finish_reason="length")]),
        road,
        tools=False,
        stop=["two"],
    )
    assert message.text == "one " and message.response_metadata["finish_reason"] == "stop"


@pytest.mark.row("K5")
@on_each_road
def test_a_broken_stream_is_an_error_with_what_came(road: str) -> None:
    """Neither ``[DONE]`` nor a reason to finish: no message, and the text in the error."""
    with pytest.raises(IncompleteAnswerError) as caught:
        ask(sse([chunk("half"), piece(index=0, id="a", **function("get_weather", '{"ci'))], done=False), road)
    assert caught.value.partial == "half"


@pytest.mark.row("K2")
@on_each_road
def test_a_forced_call_that_did_not_come_is_told(road: str) -> None:
    """llama.cpp and Z.ai may answer in words all the same; ``changed`` says so."""
    with ScriptedServer(sse([chunk("No."), chunk(None, finish_reason="stop")])) as server:
        model: Any = GLMChatModel(endpoint_url=f"{server.url}v1").bind(tools=TOOLS, tool_choice="required")
        message = model.invoke("hi") if road in ("invoke", "stream") else asyncio.run(model.ainvoke("hi"))
    assert message.response_metadata["changed"] == [
        "tool_choice: the model called no tool, though required was asked for"
    ]


@pytest.mark.row("K5")
def test_events_of_version_2_are_told() -> None:
    """``astream_events``: start, a chunk for each piece, end with the whole message."""

    async def events(url: str) -> list[Any]:
        model = GLMChatModel(endpoint_url=url).bind(tools=TOOLS)
        return [event async for event in model.astream_events("hi", version="v2")]

    with ScriptedServer(sse(thinking_stream())) as server:
        told = asyncio.run(events(f"{server.url}v1"))
    kinds = [event["event"] for event in told]
    assert kinds[0] == "on_chat_model_start" and kinds[-1] == "on_chat_model_end"
    assert calls_of(told[-1]["data"]["output"]) == [PARIS]
