"""OpenAI's routes of the local server: whole and streamed, and what the front makes of odd requests."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from chatglm_magic import ChatGLM
from chatglm_magic.local import LocalServer
from chatglm_magic.server.openai_api import AnswerCollector, EventParser

from .support.local_servers import ask_chat, auth_headers, post_json, stream_chat

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """The built-in model."""
    with LocalServer() as running:
        yield running


def test_models_name_the_model_and_its_context(server: LocalServer) -> None:
    """/v1/models lists the one model with its context and vocabulary."""
    (model,) = requests.get(f"{server.url}/models", headers=auth_headers(server), timeout=5).json()["data"]
    assert model["id"] == server.model == "glm-tiny"
    assert model["meta"]["n_ctx"] == 2048 and model["meta"]["n_vocab"] > 256


def test_health_is_open(server: LocalServer) -> None:
    """/health answers without a token."""
    assert requests.get(server.base_url + "health", timeout=5).json() == {"status": "ok"}


def test_whole_answer_has_llama_cpps_fields(server: LocalServer) -> None:
    """The whole answer, streamed inside, has the fields of an ordinary chat completion."""
    reply = ask_chat(server, "what is top_p?", temperature=0)
    assert reply["object"] == "chat.completion" and reply["model"] == "glm-tiny"
    assert reply["id"].startswith("chatcmpl-") and reply["created"] > 1.7e9
    (choice,) = reply["choices"]
    assert choice["message"]["role"] == "assistant" and "top_p" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop" and choice["index"] == 0
    usage = reply["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]


def test_stream_and_whole_say_the_same(server: LocalServer) -> None:
    """At temperature 0 the pieces of the stream make up the whole answer, ended by one finish reason."""
    events = stream_chat(server, "what is top_p?", temperature=0)
    text = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert text == ask_chat(server, "what is top_p?", temperature=0)["choices"][0]["message"]["content"]
    assert [e["choices"][0]["finish_reason"] for e in events if e["choices"][0]["finish_reason"]] == ["stop"]
    assert all("usage" not in event for event in events)


def test_stream_gives_usage_when_asked(server: LocalServer) -> None:
    """With include_usage the last event has no choices and the token counts."""
    last = stream_chat(server, "hi", temperature=0, stream_options={"include_usage": True})[-1]
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > last["usage"]["completion_tokens"] > 0


def test_seed_fixes_the_answer(server: LocalServer) -> None:
    """The same seed gives the same answer at temperature 2, streamed or not; other seeds give others."""
    hot: dict[str, Any] = {"temperature": 2, "top_p": 1, "max_tokens": 30}
    said = [
        ask_chat(server, "tell me a joke", seed=7, **hot)["choices"][0]["message"]["content"] for _ in range(3)
    ]
    pieces = stream_chat(server, "tell me a joke", seed=7, **hot)
    said.append("".join(piece["choices"][0]["delta"].get("content") or "" for piece in pieces))
    assert len(set(said)) == 1
    others = {
        ask_chat(server, "tell me a joke", seed=s, **hot)["choices"][0]["message"]["content"] for s in range(6)
    }
    assert len(others) > 1


@pytest.mark.parametrize("wanted", [1, 5, 500])
def test_logprobs_are_a_distribution(server: LocalServer, wanted: int) -> None:
    """The top tokens come sorted, as many as asked for, with probabilities that sum to at most 1."""
    reply = ask_chat(server, "tell me a joke", logprobs=True, top_logprobs=wanted, max_tokens=3, temperature=0)
    content = reply["choices"][0]["logprobs"]["content"]
    assert len(content) == reply["usage"]["completion_tokens"] == 3
    for token in content:
        values = [top["logprob"] for top in token["top_logprobs"]]
        assert len(values) == wanted and values == sorted(values, reverse=True)
        assert sum(map(math.exp, values)) < 1.001
        assert token["logprob"] == values[0]


def test_logprobs_alone_still_give_the_tokens(server: LocalServer) -> None:
    """`logprobs` without `top_logprobs` gives each token's own probability, streamed too."""
    assert len(ask_chat(server, "hi", logprobs=True, max_tokens=2)["choices"][0]["logprobs"]["content"]) == 2
    events = stream_chat(server, "hi", logprobs=True, max_tokens=2)
    assert sum(len(e["choices"][0].get("logprobs", {}).get("content", [])) for e in events) == 2


def test_a_stream_gives_the_whole_vocabulary_for_each_token(server: LocalServer) -> None:
    """A whole answer shares its candidates out among its tokens; a stream, which holds one at a time, does not."""
    wanted: dict[str, Any] = {"logprobs": True, "top_logprobs": 4096, "temperature": 0}
    (model,) = requests.get(f"{server.url}/models", headers=auth_headers(server), timeout=5).json()["data"]
    events = stream_chat(server, "hi", **wanted)
    places = [place for e in events for place in e["choices"][0].get("logprobs", {}).get("content", [])]
    assert len(places) > 3 and {len(place["top_logprobs"]) for place in places} == {model["meta"]["n_vocab"]}
    whole = ask_chat(server, "hi", **wanted)["choices"][0]["logprobs"]["content"]
    assert {len(place["top_logprobs"]) for place in whole} == {65536 // 2048}


def test_stop_cuts_before_the_text(server: LocalServer) -> None:
    """A stop text ends the answer before it, with finish reason stop, streamed and not."""
    whole = ask_chat(server, "what is top_p?", temperature=0)["choices"][0]["message"]["content"]
    for stop in ("tokens", ["tokens"], ["never said", "tokens", ""]):
        choice = ask_chat(server, "what is top_p?", temperature=0, stop=stop)["choices"][0]
        assert choice["message"]["content"] == whole.partition("tokens")[0]
        assert choice["finish_reason"] == "stop"
    events = stream_chat(server, "what is top_p?", temperature=0, stop="tokens")
    said = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert said == whole.partition("tokens")[0]


def test_length_is_said(server: LocalServer) -> None:
    """An answer cut by max_tokens has finish reason length and that many tokens."""
    for name in ("max_tokens", "max_completion_tokens"):
        reply = ask_chat(server, "what is top_p?", **{name: 4})
        assert reply["choices"][0]["finish_reason"] == "length"
        assert reply["usage"]["completion_tokens"] == 4


def test_the_sliders_do_something(server: LocalServer) -> None:
    """Temperature 3 garbles, and a small top_p tames it: the order of samplers is Hugging Face's."""

    def answers(**how: Any) -> set[str]:
        asked = [ask_chat(server, "tell me a joke", seed=s, max_tokens=20, **how) for s in range(8)]
        return {reply["choices"][0]["message"]["content"] for reply in asked}

    assert len(answers(temperature=3, top_p=1)) == 8
    assert len(answers(temperature=3, top_p=0.01)) == 1


@pytest.mark.parametrize(
    ("cut", "loose"),
    [({"top_k": 1}, {"top_k": 0}), ({"top_k": 1}, {"top_k": -1}), ({"min_p": 1}, {"min_p": 0})],
    ids=str,
)
def test_top_k_and_min_p_cut_the_tail(server: LocalServer, cut: dict[str, Any], loose: dict[str, Any]) -> None:
    """With only the most likely token left every seed gives one answer; with the cut off they all differ."""

    def answers(**how: Any) -> set[str]:
        replies = [
            ask_chat(server, "tell me a joke", seed=s, max_tokens=20, temperature=3, **how) for s in range(6)
        ]
        return {reply["choices"][0]["message"]["content"] for reply in replies}

    assert len(answers(top_p=1, **loose)) == 6
    assert len(answers(top_p=1, **cut)) == 1


@pytest.mark.parametrize(
    "penalty",
    [{"presence_penalty": 2}, {"frequency_penalty": 2}, {"repetition_penalty": 2}, {"repeat_penalty": 2}],
    ids=str,
)
def test_penalties_keep_a_model_from_repeating_itself(server: LocalServer, penalty: dict[str, float]) -> None:
    """With one seed the answer is another one than without."""

    def answer(**how: Any) -> str:
        reply = ask_chat(server, "what is top_p?", temperature=2, top_p=1, seed=1, max_tokens=60, **how)
        return str(reply["choices"][0]["message"]["content"])

    assert answer() == answer() != answer(**penalty)


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ({}, None),
        ({"max_tokens": 0}, "max_tokens=0->1"),
        ({"max_tokens": -5}, "max_tokens=-5->1"),
        ({"max_tokens": 10**9}, "max_tokens=1000000000->2048"),
        ({"max_tokens": -1}, None),
        ({"stop": ""}, 'stop=""->dropped'),
        ({"temperature": -1}, "temperature=-1->0"),
        ({"top_p": 0}, "top_p=0->0.01"),
        ({"top_p": 2}, "top_p=2->1"),
        ({"logprobs": True, "top_logprobs": 10**6, "max_tokens": 1}, "top_logprobs=1000000->65536"),
        ({"samplers": ["nonsense"]}, 'samplers=["nonsense"]->dropped'),
        ({"grammar": "root ::= 'x'"}, "grammar=root ::= 'x'->dropped"),
        ({"repeat_penalty": 0}, "repeat_penalty=0->0.01"),
        ({"repetition_penalty": 20}, "repetition_penalty=20->10"),
        ({"min_p": 1.5}, "min_p=1.5->1"),
        ({"presence_penalty": -3}, "presence_penalty=-3->-2"),
        ({"frequency_penalty": 2.5}, "frequency_penalty=2.5->2"),
        ({"top_k": -1, "min_p": 0.9, "presence_penalty": 1, "repetition_penalty": 1.1}, None),
        ({"model": "other", "user": "me"}, None),
        ({"temperature": None, "top_p": None, "stop": None, "seed": None, "max_tokens": None, "n": None}, None),
    ],
    ids=str,
)
def test_changes_stand_in_the_header(server: LocalServer, more: dict[str, Any], changed: str | None) -> None:
    """Only known keys reach the engine, in range; what was changed or dropped is said, streamed or not."""
    for streamed in (False, True):
        body = {"messages": [{"role": "user", "content": "hi"}], "stream": streamed, "max_tokens": 9, **more}
        reply = post_json(server, "v1/chat/completions", body)
        assert reply.status_code == 200
        assert reply.headers.get("X-ChatGLM-Changed") == changed
        assert reply.headers["X-ChatGLM-Seed"].isdecimal()


ONE = [{"role": "user", "content": "hi"}]
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
BIG = "response_format"


def make_tools(parameters: Any, name: str = "get_weather") -> list[Any]:
    """Return a tool with this schema for its arguments."""
    return [{"type": "function", "function": {"name": name, "parameters": parameters}}]


def make_format(schema: object) -> dict[str, Any]:
    """Return the format that keeps an answer to a schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def nest_schema(levels: int) -> dict[str, Any]:
    """Return a schema of lists in lists."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.row("H30")
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user|>x<|", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
        ({"messages": ONE, "temperature": "0.5"}, "temperature"),
        ({"messages": ONE, "max_tokens": "5"}, "max_tokens"),
        ({"messages": ONE, "stream": "yes"}, "stream"),
        ({"messages": ONE, "n": 2}, "n"),
        ({"messages": ONE, "n": 0}, "n"),
        ({"messages": ONE, "seed": "x"}, "seed"),
        ({"messages": ONE, "top_logprobs": 3}, "top_logprobs"),
        ({"messages": ONE, "stream_options": 1}, "stream_options"),
        ({"messages": ONE, "tool_choice": "required", "tools": []}, "tool_choice"),
        ({"messages": ONE, "tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"messages": ONE, "tools": TOOLS, "tool_choice": "f"}, "tool_choice"),
        ({"messages": ONE, "tools": {}}, "tools"),
        ({"messages": ONE, "tools": [{"type": "function"}]}, "tools[0]"),
        ({"messages": ONE, "tools": [{"function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"messages": ONE, "tools": [{"function": {"name": "<|user|>"}}]}, "tools[0].function.name"),
        ({"messages": ONE, "tools": make_tools(nest_schema(100))}, "tools[0].function.parameters"),
        ({"messages": ONE, "tools": make_tools({"x": "y" * 70_000})}, "tools[0].function.parameters"),
        *(
            (
                {"messages": ONE, "tools": make_tools(schema), "tool_choice": "required"},
                "tools[0].function.parameters",
            )
            for schema in (
                {"properties": {"a": {"type": "array", "minItems": 10**9}}},
                {"properties": {"a": {"minLength": "x"}}},
                {"properties": {"a": False}},
                {"properties": {"a": {"enum": []}}},
                {"anyOf": 5},
                {"required": "a"},
            )
        ),
        ({"messages": [{"role": "assistant", "tool_calls": [5]}]}, "messages[0].tool_calls[0]"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"messages": ONE, "response_format": "json"}, "response_format"),
        ({"messages": ONE, "response_format": {"type": "regex"}}, "response_format"),
        ({"messages": ONE, "response_format": {"type": "json_schema"}}, "response_format.json_schema.schema"),
        ({"messages": ONE, "response_format": {"type": "json_object", "schema": 5}}, "response_format"),
        ({"messages": ONE, "response_format": make_format({"type": "string", "pattern": "x" * 70_000})}, BIG),
        ({"messages": ONE, "response_format": make_format(nest_schema(100))}, BIG),
        ({"messages": ONE, "logit_bias": [5]}, "logit_bias"),
        ({"messages": ONE, "logit_bias": {"the": 1}}, "logit_bias"),
        ({"messages": ONE, "logit_bias": {"5": 101}}, "logit_bias"),
        ({"messages": ONE, "chat_template_kwargs": {"a": "<|user|>"}}, "chat_template_kwargs"),
    ],
    ids=str,
)
def test_bad_requests_are_400(server: LocalServer, body: Any, param: str | None) -> None:
    """A request of the wrong shape gets llama.cpp's error body, with the field's place."""
    reply = post_json(server, "v1/chat/completions", body)
    error = reply.json()["error"]
    assert reply.status_code == error["code"] == 400
    assert error["type"] == "invalid_request_error" and error["param"] == param


def read_text(reply: requests.Response) -> str:
    """Return the text of an answer, streamed or whole; it must be a 200."""
    assert reply.status_code == 200, reply.text
    if not reply.headers["Content-Type"].startswith("text/event-stream"):
        return str(reply.json()["choices"][0]["message"]["content"])
    events = [json.loads(line[6:]) for line in reply.content.decode().split("\n\n") if line.startswith("data: {")]
    return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])


PLACE = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "北京"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


@pytest.mark.row("H30")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_an_answer_keeps_to_a_schema(server: LocalServer, seed: int, *, streamed: bool) -> None:
    """response_format reaches the engine, which can write nothing else: at any temperature, streamed or whole."""
    body = {
        "messages": ONE,
        "temperature": 2,
        "seed": seed,
        "stream": streamed,
        "response_format": make_format(PLACE),
    }
    text = read_text(post_json(server, "v1/chat/completions", body))
    found = json.loads(text)
    assert found.keys() == {"city", "days"} and found["city"] in ("Paris", "北京") and 1 <= found["days"] <= 9


@pytest.mark.row("H30")
def test_an_answer_is_any_json_object(server: LocalServer) -> None:
    """json_object, and text, which is the same as nothing."""
    for form, first in (({"type": "json_object"}, "{"), ({"type": "text"}, "H")):
        body = {"messages": ONE, "temperature": 0, "response_format": form}
        assert read_text(post_json(server, "v1/chat/completions", body)).startswith(first)


@pytest.mark.row("H30")
def test_a_schema_that_the_engine_can_not_read_is_refused(server: LocalServer) -> None:
    """With the engine's own words, streamed or not; the next request is answered."""
    for streamed in (False, True):
        body = {"messages": ONE, "stream": streamed, "response_format": make_format({"type": "nonsense"})}
        reply = post_json(server, "v1/chat/completions", body)
        assert reply.status_code == 400 and "nonsense" in reply.text
    assert post_json(server, "v1/chat/completions", {"messages": ONE}).status_code == 200


@pytest.mark.row("H30")
def test_a_token_can_be_forbidden(server: LocalServer) -> None:
    """logit_bias reaches the engine: the greedy answer's first token never comes once it is at -100."""
    body = {"messages": ONE, "temperature": 0, "max_tokens": 8}
    answer = read_text(post_json(server, "v1/chat/completions", body))
    first = post_json(server, "tokenize", {"content": answer}).json()["tokens"][0]
    other = read_text(post_json(server, "v1/chat/completions", body | {"logit_bias": {str(first): -100}}))
    assert other and not other.startswith(answer[0])


@pytest.mark.row("H30")
def test_tools_that_must_not_be_called_are_dropped(server: LocalServer) -> None:
    """With tool_choice none an answer in words is what was asked for."""
    body = {"messages": ONE, "tools": TOOLS, "tool_choice": "none", "temperature": 0}
    reply = post_json(server, "v1/chat/completions", body)
    plain = post_json(server, "v1/chat/completions", {"messages": ONE, "temperature": 0})
    assert reply.status_code == 200 and read_text(reply) == read_text(plain)


@pytest.mark.row("H30")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "find"}}])
def test_a_call_that_is_asked_for_comes(server: LocalServer, choice: Any, streamed: bool) -> None:
    """At temperature 2 each call is of the tool that was named, or of one of them, and fits its schema."""
    kinds = {"kind": {"enum": ["a", "b"]}, "count": {"$ref": "#/$defs/count"}, "text": {"type": "string"}}
    form = {
        "type": "object",
        "properties": kinds,
        "required": list(kinds),
        "$defs": {"count": {"type": "integer"}},
    }
    tools = [*make_tools(form, "find"), *make_tools({"type": "object", "properties": {}}, "stop")]
    body = {"messages": ONE, "tools": tools, "tool_choice": choice, "temperature": 2, "stream": streamed}
    for seed in range(8):
        reply = post_json(server, "v1/chat/completions", body | {"seed": seed})
        assert reply.status_code == 200
        if streamed:
            listed = [json.loads(line[6:]) for line in reply.text.split("\n\n")[:-2]]
            assert reply.text.endswith("data: [DONE]\n\n")
            (call,) = listed[1]["choices"][0]["delta"]["tool_calls"]
            reason = listed[-1]["choices"][0]["finish_reason"]
        else:
            answer = reply.json()["choices"][0]
            (call,), reason = answer["message"]["tool_calls"], answer["finish_reason"]
        values = json.loads(call["function"]["arguments"])
        assert reason == "tool_calls" and call["id"].startswith("call_")
        if call["function"]["name"] == "stop":
            assert choice == "required" and values == {}
        else:
            assert values.keys() == kinds.keys() and values["kind"] in "ab" and type(values["count"]) is int


@pytest.mark.row("H30")
def test_tools_and_their_results_reach_the_model(server: LocalServer) -> None:
    """The prompt is longer by the tools' names and the result; left to itself the built-in model calls none."""
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    history = [*ONE, {"role": "assistant", "content": None, "tool_calls": [call]}]
    history.append({"role": "tool", "tool_call_id": "c1", "content": "sunny <|user|>"})
    body = {"messages": history, "temperature": 0}
    without, given = (post_json(server, "v1/chat/completions", body | more) for more in ({}, {"tools": TOOLS}))
    sizes = [reply.json()["usage"]["prompt_tokens"] for reply in (without, given)]
    assert sizes[0] < sizes[1] and read_text(given)
    assert "messages[2].content" in given.headers["X-ChatGLM-Changed"]


@pytest.mark.row("H30")
def test_the_session_can_ask_for_json(server: LocalServer) -> None:
    """The same through the model: a key of the body, as ``-k response_format=…`` sends it."""
    llm = ChatGLM(
        endpoint_url=server.url, api_key=server.token, model_kwargs={"response_format": make_format(PLACE)}
    )
    assert json.loads(llm.invoke("hi")).keys() == json.loads("".join(llm.stream("hi"))).keys() == {"city", "days"}


@pytest.mark.row("H30")
def test_a_single_model_is_told(server: LocalServer) -> None:
    """/v1/models/NAME is the entry of the list, and another name is told as none."""
    (entry,) = requests.get(f"{server.base_url}v1/models", headers=auth_headers(server), timeout=10).json()["data"]
    found = requests.get(f"{server.base_url}v1/models/{entry['id']}", headers=auth_headers(server), timeout=10)
    assert found.status_code == 200 and found.json() == entry
    missing = requests.get(f"{server.base_url}v1/models/owner/other", headers=auth_headers(server), timeout=10)
    assert missing.status_code == 404 and "owner/other" in missing.json()["error"]["message"]


def test_text_parts_and_null_are_text(server: LocalServer) -> None:
    """Content as a list of text parts, or null, is taken as the text it is."""
    parts = [{"type": "text", "text": "what is "}, {"type": "text", "text": "top_p?"}]
    body = {
        "messages": [{"role": "assistant", "content": None}, {"role": "user", "content": parts}],
        "temperature": 0,
    }
    assert post_json(server, "v1/chat/completions", body).status_code == 200


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("words", [5_000, 400_000])
def test_too_long_a_prompt_says_so(server: LocalServer, streamed: bool, words: int) -> None:
    """More than the context holds is a 400 with llama.cpp's own type, before any stream begins."""
    body = {"messages": [{"role": "user", "content": "hi " * words}], "stream": streamed}
    reply = post_json(server, "v1/chat/completions", body)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "exceed_context_size_error"
    assert reply.json()["error"]["n_ctx"] == 2048


def test_tokenize_and_back(server: LocalServer) -> None:
    """Text survives /tokenize and /detokenize, and a chat's tokens can be counted."""
    text = "What is 爱? 👩‍👩‍👧\n"
    tokens = post_json(server, "tokenize", {"content": text}).json()["tokens"]
    assert post_json(server, "detokenize", {"tokens": tokens}).json()["content"] == text
    counted = post_json(server, "v1/chat/completions/input_tokens", {"messages": ONE}).json()["input_tokens"]
    assert counted == ask_chat(server, "hi", max_tokens=1)["usage"]["prompt_tokens"]


@pytest.mark.parametrize("tokens", [None, "x", [-1], [10**9], ["a"], [True]])
def test_detokenize_refuses_foreign_ids(server: LocalServer, tokens: Any) -> None:
    """Ids outside the vocabulary are refused before the engine sees them."""
    assert post_json(server, "detokenize", {"tokens": tokens}).status_code == 400
    assert post_json(server, "tokenize", {"content": tokens}).status_code == (400 if tokens != "x" else 200)


STREAM = (
    b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n: ping\n\n'
    b'data: {"id":"1","choices":[{"index":0,"delta":{"reasoning_content":"\xe5\x97\xaf"}}]}\n\n'
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"\xe7\x88\xb1"},'
    b'"logprobs":{"content":[{"id":1}]}}]}\r\n\n'
    b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"1","object":"chat.completion.chunk","choices":[],"usage":{"total_tokens":3}}\n\n'
    b"data: [DONE]\n\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_whole_answer_from_any_split(size: int) -> None:
    """However the engine's bytes are cut, the same whole answer comes out."""
    events, whole = EventParser(), AnswerCollector()
    for place in range(0, len(STREAM), size):
        for event in events.feed(STREAM[place : place + size]):
            whole.add(event)
    assert events.done
    assert whole.reply() == {
        "id": "1",
        "object": "chat.completion",
        "usage": {"total_tokens": 3},
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "爱", "reasoning_content": "嗯"},
                "logprobs": {"content": [{"id": 1}]},
            }
        ],
    }
