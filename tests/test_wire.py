"""What goes over the wire in each dialect, and what is made of what comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chatglm_magic.errors import ChatGLMError, IncompleteAnswerError, InvalidResponseError
from chatglm_magic.values import Delta, ModelInput
from chatglm_magic.wire import chatglm, dialect_of, openai
from chatglm_magic.wire.error_response import parse_error_response
from chatglm_magic.wire.text_filters import StopFilter, ThinkSplitter

PAIRS = (("q1", "a1"), ("问二", "答二"))


@pytest.mark.parametrize(
    ("url", "dialect"),
    [
        ("http://127.0.0.1:8000/", "chatglm"),
        ("http://127.0.0.1:8000", "chatglm"),
        ("http://host/chat", "chatglm"),
        ("http://host:8000/v1", "openai"),
        ("http://host:8000/v1/", "openai"),
        ("https://api.z.ai/api/paas/v4", "openai"),
        ("https://host/x/chat/completions", "openai"),
    ],
)
def test_the_dialect_follows_from_the_url(url: str, dialect: str) -> None:
    """A base that ends as OpenAI's do is OpenAI's; anything else is ChatGLM's own."""
    assert dialect_of(url) == dialect


def test_chatglm_sends_the_five_keys_of_the_original() -> None:
    """An unset value is sent as the original's default, since the protocol has no other word for it."""
    body, changed = chatglm.encode(ModelInput("hi", PAIRS, {"temperature": 0.5}))
    assert body == {
        "prompt": "hi",
        "history": [["q1", "a1"], ["问二", "答二"]],
        "temperature": 0.5,
        "top_p": 0.7,
        "max_length": 20000,
    }
    assert changed == ()


def test_chatglm_sends_a_zero_as_the_lowest_value_and_says_so() -> None:
    """A zero would be read as unset by THUDM's api.py."""
    body, changed = chatglm.encode(ModelInput("hi", (), {"temperature": 0.0, "top_p": 0.0}))
    assert (body["temperature"], body["top_p"]) == (0.01, 0.01)
    assert len(changed) == 2


def test_openai_sends_only_what_was_set() -> None:
    """No untouched default of the original goes to /v1."""
    body, _ = openai.encode(ModelInput("hi", PAIRS[:1]))
    assert body == {
        "messages": [
            {"role": "user", "content": "q1"},
            {"role": "assistant", "content": "a1"},
            {"role": "user", "content": "hi"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_openai_sends_what_was_set_in_its_own_words() -> None:
    """max_token is max_tokens there, and a system text has its role."""
    params = {"temperature": 0.0, "top_p": 0.0, "max_token": 7, "stop": ("x",), "seed": 3}
    params |= {"system": "be kind", "model": "glm", "thinking": "off"}
    body, changed = openai.encode(ModelInput("hi", (), params, extra={"foo": 1}))
    sent = {key: value for key, value in body.items() if key not in ("messages", "stream", "stream_options")}
    assert sent == {
        "temperature": 0.0,
        "top_p": 0.01,
        "max_tokens": 7,
        "stop": ["x"],
        "seed": 3,
        "model": "glm",
        "chat_template_kwargs": {"enable_thinking": False},
        "foo": 1,
    }
    assert body["messages"][0] == {"role": "system", "content": "be kind"}
    assert len(changed) == 1


def test_zai_gets_its_own_ranges() -> None:
    """Z.ai has temperatures up to 1, one stop string, and do_sample for a zero."""
    body, changed = openai.encode(ModelInput("hi", (), {"temperature": 5.0, "stop": ("a", "b")}), server="zai")
    assert (body["temperature"], body["stop"]) == (1.0, ["a"])
    assert "stream_options" not in body and len(changed) == 2
    body, _ = openai.encode(ModelInput("hi", (), {"temperature": 0.0}), server="zai")
    assert body["do_sample"] is False and "temperature" not in body


def read(reader_class: Any, data: bytes, content_type: str, size: int = 7) -> list[Delta]:
    reader = reader_class({"content-type": content_type})
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    found = [delta for piece in pieces for delta in reader.feed(piece)] + [*reader.close()]
    reader.check()
    return found


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def test_chatglm_reads_an_answer_without_history() -> None:
    """Many servers leave the history out; the answer is what counts."""
    (delta,) = read(chatglm.ChatGLMReader, '{"response":"你好👋"}'.encode(), "application/json")
    assert delta.text == "你好👋"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "empty_reply"),
        (b"[]", "bad_shape"),
        (b'"x"', "bad_shape"),
        (b'{"a":1}', "bad_shape"),
        (b'{"response":null}', "empty_reply"),
        (b'{"response":"CUDA out of memory","status":500}', "server_error"),
        (b'{"error":{"message":"no"}}', "server_error"),
        (b'{"detail":"no"}', "server_error"),
        (b'{"response":"a', "bad_json"),
        (b'{"response":"\xff"}', "bad_encoding"),
        (b"<!DOCTYPE html><title>Log in</title>", "not_a_model_server"),
        (b"[" * 100_000, "bad_json"),
    ],
)
def test_what_is_no_answer_is_an_error_that_says_so(body: bytes, kind: str) -> None:
    """Nothing that is no answer becomes an empty success or a foreign exception."""
    with pytest.raises(InvalidResponseError) as caught:
        read(chatglm.ChatGLMReader, body, "application/json", size=10_000)
    assert caught.value.kind == kind


def events(*chunks: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n" for chunk in chunks]
    return ("".join(lines) + ("data: [DONE]\r\n\r\n" if done else "")).encode()


VLLM = events(
    {"model": "glm", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"reasoning": "想"}}]},
    {"choices": [{"index": 0, "delta": {"content": "你"}}]},
    {"choices": [{"index": 0, "delta": {"content": "好"}, "finish_reason": "stop", "stop_reason": None}]},
    {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}},
)
ZAI = events(
    {
        "id": "1",
        "model": "glm",
        "choices": [{"index": 0, "delta": {"role": "assistant", "reasoning_content": "想"}}],
    },
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "你好"}}]},
    {
        "choices": [{"index": 0, "finish_reason": "stop", "delta": {"role": "assistant", "content": ""}}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
    },
)
SGLANG = events(
    {"model": "glm", "choices": [{"index": 0, "delta": {"content": None, "reasoning_content": "想"}}]},
    {"choices": [{"index": 0, "delta": {"content": "你好", "reasoning_content": None, "tool_calls": None}}]},
    {"choices": [{"index": 0, "delta": {"content": None}, "finish_reason": "stop", "matched_stop": None}]},
    {"choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}},
)
TRANSFORMERS = events(
    {"model": "glm", "choices": [{"delta": {"role": "assistant"}, "index": 0}]},
    {"choices": [{"delta": {"content": "<thi"}, "index": 0}]},
    {"choices": [{"delta": {"content": "nk>想</think>\n"}, "index": 0}]},
    {"choices": [{"delta": {"content": "你好"}, "index": 0}]},
    {
        "choices": [{"delta": {}, "finish_reason": "stop", "index": 0}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5},
    },
    done=False,
)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    "stream", [VLLM, ZAI, SGLANG, TRANSFORMERS], ids=["vllm", "zai", "sglang", "transformers"]
)
def test_the_streams_of_todays_servers(stream: bytes, size: int) -> None:
    """Each server's shape gives the same text, thought, count and end."""
    deltas = read(openai.OpenAIReader, stream, "text/event-stream", size)
    assert text_of(deltas) == "你好"
    assert "".join(delta.reasoning for delta in deltas) == "想"
    assert [d.usage for d in deltas if d.usage] == [
        {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
    ]
    assert [d.finish_reason for d in deltas if d.finish_reason] == ["stop"]
    assert [d.model for d in deltas if d.model] == ["glm"]


def test_pings_and_empty_events_say_nothing() -> None:
    """Keep-alive lines are no answer and no error."""
    data = b": ping\r\n\r\nevent: ping\r\n\r\ndata:\r\n\r\n" + VLLM
    assert text_of(read(openai.OpenAIReader, data, "text/event-stream", 3)) == "你好"


def test_a_stream_cut_short_is_incomplete() -> None:
    """An end without [DONE] and without a finish_reason is no whole answer."""
    cut = events({"choices": [{"index": 0, "delta": {"content": "hal"}}]}, done=False)
    reader = openai.OpenAIReader({"content-type": "text/event-stream"})
    assert text_of([*reader.feed(cut), *reader.close()]) == "hal"
    with pytest.raises(IncompleteAnswerError, match="incomplete"):
        reader.check()


@pytest.mark.parametrize(
    ("event", "kind"), [('{"error":{"message":"x"}}', "server_error"), ('{"choices":[', "bad_event")]
)
def test_a_stream_that_breaks_off_with_an_error(event: str, kind: str) -> None:
    """An error in the middle is an error of ours."""
    reader = openai.OpenAIReader({"content-type": "text/event-stream"})
    before = events({"choices": [{"index": 0, "delta": {"content": "hal"}}]}, done=False)
    pieces = reader.feed(before + f"data: {event}\n\n".encode())
    assert next(pieces).text == "hal"  # what came in the same bytes is not lost
    with pytest.raises(IncompleteAnswerError) as caught:
        list(pieces)
    assert caught.value.kind == kind


def test_a_whole_answer_to_a_streaming_question() -> None:
    """A server that ignores stream=true is understood."""
    body = {"model": "m", "choices": [{"index": 0, "message": {"content": "你好"}, "finish_reason": "stop"}]}
    deltas = read(openai.OpenAIReader, json.dumps(body).encode(), "application/json")
    assert text_of(deltas) == "你好"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, '{"error":"Unauthorized"}', "auth"),
        (403, "no", "auth"),
        (404, '{"detail":"Not Found"}', "not_found"),
        (405, '{"detail":"Method Not Allowed"}', "not_found"),
        (422, '{"detail":[{"loc":["body","prompt"],"msg":"field required"}]}', "bad_request"),
        (400, '{"message":"The input (9 tokens) is longer than the model\'s context length (5"}', "too_long"),
        (400, '{"error":{"code":"1261","message":"Prompt exceeds max length"}}', "too_long"),
        (429, '{"error":{"code":"1302","message":"slow"}}', "rate_limit"),
        (429, '{"error":{"code":"1113","message":"Insufficient balance"}}', "no_money"),
        (500, "Internal Server Error", "server_error"),
        (503, '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', "loading"),
        (302, "", "redirect"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do(status: int, body: str, kind: str) -> None:
    """Every refusal has a kind, the server's own words and advice, in one line."""
    error: ChatGLMError = parse_error_response(status, {}, body.encode(), "http://h/")
    assert error.kind == kind
    assert "\n" not in str(error) and str(status) in str(error)


def test_a_refusal_shows_the_servers_words_made_safe() -> None:
    """A server's text is untrusted: no control sequence of it reaches a terminal, and it is cut."""
    error = parse_error_response(
        400, {}, json.dumps({"error": {"message": "\x1b]52;c;eA==\x07" + "x" * 9999}}).encode(), "u"
    )
    assert "\x1b" not in str(error) and "\x07" not in str(error) and len(str(error)) < 800


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_thinking_is_parted_from_the_answer(size: int) -> None:
    """A leading <think> block is reasoning, however it is cut; a later tag is text."""
    text = "\n<think>a<b</think>\nanswer </think> <think>"
    splitter = ThinkSplitter()
    deltas = [d for at in range(0, len(text), size) for d in splitter.feed(text[at : at + size])]
    deltas += splitter.close()
    assert "".join(d.reasoning for d in deltas) == "a<b"
    assert text_of(deltas) == "answer </think> <think>"


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_stop_strings_hold_across_pieces(size: int) -> None:
    """Stop strings are plain text, hold across pieces, and the earliest wins."""
    stop = StopFilter(["", "AI)", "<|user|>", "."])
    text = "a < b (A) |user| AI) rest."
    out = "".join(stop.feed(text[at : at + size]) for at in range(0, len(text), size)) + stop.close()
    assert out == "a < b (A) |user| " and stop.hit


@pytest.mark.parametrize("pieces", [["xabcd!"], ["xabc", "d!"], ["x", "a", "b", "c", "d", "!"]])
def test_overlapping_stop_strings_do_not_depend_on_the_pieces(pieces: list[str]) -> None:
    """The one that begins first wins, also while it is not yet known to be whole."""
    stop = StopFilter(["abcd", "bc"])
    assert "".join(stop.feed(piece) for piece in pieces) + stop.close() == "x"
    other = StopFilter(["abcd", "bc"])
    assert other.feed("xabc") + other.close() == "xa"


def test_a_query_stays_behind_the_path() -> None:
    """An endpoint may carry a query; the path goes before it."""
    assert openai.url("http://h/v1?a=b") == "http://h/v1/chat/completions?a=b"


@pytest.mark.parametrize(
    "body", ['{"detail":[{"loc":5,"msg":"bad"}]}', '{"detail":{"error":7}}', '{"error":[[]]}', "[]", "5", "\x00"]
)
def test_an_odd_error_body_is_still_an_error_of_ours(body: str) -> None:
    """Whatever a server puts there, a refusal comes out."""
    assert parse_error_response(422, {}, body.encode(), "http://h/").kind == "bad_request"


def test_no_stop_strings_cut_nothing() -> None:
    """An empty list means none."""
    stop = StopFilter([])
    assert stop.feed("abc") + stop.close() == "abc"
