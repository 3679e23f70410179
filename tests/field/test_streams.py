"""Rows H1 to H8: shapes of answers and errors that servers in the field send, on every road."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic import ChatGLM, Session
from chatglm_magic.render.views import TerminalView

from ..support.fault_requests import make_model
from ..support.fault_scripts import DONE, closing_body, dumped, end, event, head, piece, say, stop, streamed, whole
from ..support.four_roads import ROADS, ask, fact, roads
from ..support.servers import Script, ScriptedServer, chunk, reply


def at(number: int, text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": number, "delta": {"content": text}, "finish_reason": None} | more]}


END = event({"choices": [{"index": 9, "delta": {}, "finish_reason": "stop"}]}) + DONE

NUMBERED = {
    "a number for each token": [at(0, "Wh"), at(1, "is"), at(2, "per")],
    "from one": [at(1, "Wh"), at(1, "is"), at(1, "per")],
    "as a text": [at("0", "Wh"), at("1", "is"), at("2", "per")],  # type: ignore[arg-type]
    "falling": [at(7, "Wh"), at(3, "is"), at(-1, "per")],
    "several, from one": [
        {"choices": [*at(2, "no")["choices"], *at(1, "Whis")["choices"]]},
        at(1, "per"),
        at(2, "no"),
    ],
}


@pytest.mark.row("H1")
@roads
@pytest.mark.parametrize("name", NUMBERED)
def test_a_choice_counts_whatever_its_number(name: str, road: str) -> None:
    """Only where an event holds several choices do their numbers tell them apart."""
    last = stop() + DONE if name != "several, from one" else DONE
    ask(streamed(*map(event, NUMBERED[name]), last), road).ok("Whisper")


@pytest.mark.row("H1")
def test_several_answers_that_were_asked_for_are_not_mixed() -> None:
    """With n in the body the numbers tell whose a piece is, also in events of their own."""
    script = streamed(event(at(0, "a")), event(at(1, "x")), event(at(0, "b")), event(at(1, "y")), stop() + DONE)
    ask(script, "invoke", model_kwargs={"n": 2}).ok("ab")


RATE = "您当前使用该API的并发数过高"
ERRORS: dict[str, tuple[bytes, str, str]] = {
    "FastChat": (event({"text": "NETWORK ERROR: no worker", "error_code": 50001}), "server_error", "no worker"),
    "FastChat's limit": (event({"text": "slow down", "error_code": 42901}), "rate_limit", "slow down"),
    "a gateway's code": (event({"code": 1302, "msg": RATE}), "rate_limit", RATE),
    "a gateway's code as text": (event({"code": "1113", "message": "余额不足"}), "no_money", "余额不足"),
    "a field named error": (b'error: {"code":400,"message":"bad grammar"}\n\n', "bad_request", "bad grammar"),
    "a field named error, in words": (b"error: out of memory\n\n", "server_error", "out of memory"),
    "an object with a code": (event({"error": {"code": 401, "message": "no key"}}), "auth", "no key"),
    "bare JSON": (b'{"error":{"message":"out of memory","code":500}}\n', "server_error", "out of memory"),
    "bare JSON on several lines": (
        b'{\n  "error": {\n    "message": "out of memory"\n  }\n}\n',
        "server_error",
        "out of memory",
    ),
    "a status in words": (event({"status": 503, "error": "Service Unavailable"}), "server_error", "Unavailable"),
    "in words alone": (event({"error": "rate limit reached for glm"}), "rate_limit", "rate limit reached"),
}


@pytest.mark.row("H2")
@roads
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_inside_a_stream_is_an_error(name: str, road: str) -> None:
    """In the server's words, its kind by its code or its words; text that came before it is kept."""
    data, kind, words = ERRORS[name]
    outcome = ask(streamed(data), road, posts=None, max_retries=0)
    assert words in str(outcome.failed(kind))
    outcome = ask(streamed(piece("你好"), data, piece("evil"), stop(), DONE), road)
    assert words in str(outcome.failed(kind, "你好"))


@pytest.mark.row("H2")
@roads
def test_a_refusal_for_now_inside_a_stream_is_asked_again(road: str) -> None:
    """Before any text it is the refusal that its code says; after text nothing is asked twice."""
    refusal = streamed(event({"error": {"code": "1302", "message": RATE}}))
    good = streamed(piece("你好"), stop(), DONE)
    with ScriptedServer(refusal, good) as server:
        ROADS[road](make_model(server, "openai")).ok("你好")
        assert len(server.posts) == 2


def with_content(content: Any, **more: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": None}]})


def in_place(**choice: Any) -> bytes:
    return event({"choices": [{"index": 0, "finish_reason": None} | choice]})


TEXT_PART, THINKING = {"type": "text", "text": "你好"}, {"type": "thinking", "thinking": "想"}
CONTENTS: dict[str, tuple[list[bytes], str]] = {
    "a list of parts": ([with_content([TEXT_PART])], ""),
    "thinking among the parts": ([with_content([THINKING, TEXT_PART])], "想"),
    "Mistral's thinking": (
        [with_content([{"type": "thinking", "thinking": [{"type": "text", "text": "想"}]}]), with_content("你好")],
        "想",
    ),
    "a part of another name": ([with_content([{"type": "output_text", "text": "你"}, "好"])], ""),
    "one part, not in a list": ([with_content(TEXT_PART)], ""),
    "a refusal": ([with_content(None, refusal="你"), with_content(None, refusal="好")], ""),
    "message": ([in_place(message={"content": "你"}), in_place(message={"content": "好"})], ""),
    "text": ([in_place(text="你"), in_place(text="好")], ""),
    "all three in turn": ([in_place(text="你"), in_place(message={"content": "好"}), with_content("")], ""),
    "an empty delta beside text": ([in_place(delta={}, text="你好")], ""),
    "the whole once more": ([with_content("你"), with_content("好"), event(whole("openai", "你好"))], ""),
}


@pytest.mark.row("H3")
@roads
@pytest.mark.parametrize("name", CONTENTS)
def test_a_content_of_another_shape_is_read(name: str, road: str) -> None:
    """Parts, a refusal, and ``message`` or ``text`` where ``delta`` should stand: nothing of it is lost."""
    events, reasoning = CONTENTS[name]
    ask(streamed(*events, stop(), DONE), road).ok("你好")
    found = fact(streamed(*events, stop(), DONE))
    assert found.get("reasoning", "") == reasoning
    assert ("refused" in str(found.get("changed"))) == (name == "a refusal")


def whole_piece(text: str, **more: Any) -> bytes:
    """Return an event that calls itself a whole answer, and has a piece of one."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **more}}
    return event({"object": "chat.completion", "choices": [choice]})


PIECEWISE: dict[str, tuple[list[bytes], str]] = {
    "pieces that repeat themselves": ([whole_piece("ha"), whole_piece("ha"), whole_piece("!")], "haha!"),
    "the whole once more, in parts": ([piece("hi"), whole_piece([TEXT_PART | {"text": "hi"}])], "hi"),  # type: ignore[arg-type]
    "the whole once more, without its blanks": ([piece(" hi"), whole_piece("hi")], " hi"),
    "the whole once more, without its thinking": (
        [piece("<think>x</think>hi"), whole_piece("hi", reasoning_content="x")],
        "hi",
    ),
    "bare JSON before any event": ([piece("a").removeprefix(b"data: "), piece("b")], "ab"),
    "bare lines": (
        [b": ping\n\n", piece("a"), piece("b")[6:-1] + piece("c").removeprefix(b"data: ")],
        "abc",
    ),
    "a role, and the text beside it": ([in_place(delta={"role": "assistant"}, message={"content": "hi"})], "hi"),
    "an empty delta with its role": ([in_place(delta={"role": "assistant", "content": ""}, text="hi")], "hi"),
    "a delta that is a text": ([in_place(delta="hi")], "hi"),
    "thinking in the part of the text": ([with_content([TEXT_PART | {"reasoning": "r"}])], "你好"),
}


@pytest.mark.row("H3")
@roads
@pytest.mark.parametrize("name", PIECEWISE)
def test_odd_mixtures_lose_nothing(name: str, road: str) -> None:
    """And nothing comes twice."""
    events, text = PIECEWISE[name]
    ask(streamed(*events, stop(), DONE), road).ok(text)


@pytest.mark.row("H3")
@roads
def test_pieces_that_call_themselves_whole_do_not_end_the_answer(road: str) -> None:
    """Several of them, and then the connection ends: it is cut."""
    ask(streamed(whole_piece("The "), whole_piece("answer ")), road).failed("incomplete", "The answer ")


@pytest.mark.row("H2")
@roads
def test_the_last_words_beside_an_error_are_kept(road: str) -> None:
    """In one event."""
    last = event(chunk(" last words") | {"error": {"message": "boom", "code": 502}})
    assert "boom" in str(ask(streamed(piece("a"), last), road).failed("server_error", "a last words"))


@pytest.mark.row("H3")
def test_a_content_that_is_nested_deep_is_no_crash() -> None:
    """What lies too deep is no text."""
    content: Any = "x"
    for _ in range(400):
        content = {"text": content}
    ask(streamed(with_content([content]), piece("hi"), stop(), DONE), "invoke").ok("hi")


@pytest.mark.row("H3")
@roads
def test_a_refusal_in_a_whole_answer_is_the_answer(road: str) -> None:
    """``content`` is null, and the model's refusal says why."""
    message = {"role": "assistant", "content": None, "refusal": "I can't help with that."}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    ask(reply(body), road).ok("I can't help with that.")
    assert "refused" in str(fact(reply(body))["changed"])


EVENT_STREAM = "text/event-stream"
WHOLE_OBJECTS = {
    "alone": dumped(whole("openai")),
    "with the end of a stream": dumped(whole("openai")) + b"\n\n" + DONE,
    "on many lines": dumped(whole("openai")).replace(b",", b",\n  ") + b"\n\ndata: [DONE]",
    "in one event": event(whole("openai")) + DONE,
    "in one event, with no end": event(whole("openai")),
    "with no reason to end": event({"object": "chat.completion", "choices": [{"message": {"content": "你好"}}]}),
}


@pytest.mark.row("H4")
@roads
@pytest.mark.parametrize("name", WHOLE_OBJECTS)
def test_a_whole_answer_under_the_type_of_a_stream_is_read(name: str, road: str) -> None:
    """One JSON object where events were promised, bare or in a single event."""
    ask(closing_body(WHOLE_OBJECTS[name], kind=EVENT_STREAM), road).ok("你好")


BROKEN = {
    "abort": "server_error",
    "error": "server_error",
    "insufficient_system_resource": "server_error",
    "network_error": "server_error",
    "sensitive": "content_filter",
    "content_filter": "content_filter",
    "null": "incomplete",
}


@pytest.mark.row("H5")
@roads
@pytest.mark.parametrize("reason", BROKEN)
def test_an_answer_that_the_server_ended_is_not_whole(reason: str, road: str) -> None:
    """The reason is told in words, and the text that came is kept."""
    events = piece("你"), piece("好"), event(chunk(None, finish_reason=reason))
    error = ask(streamed(*events, *([] if reason == "null" else [DONE])), road).failed(BROKEN[reason], "你好")
    assert reason in str(error) or reason in ("null", "error")


@pytest.mark.row("H5")
@roads
@pytest.mark.parametrize("reason", ["max_tokens", "length", "model_context_window_exceeded"])
def test_an_answer_that_was_cut_says_so(reason: str, road: str) -> None:
    """An answer as long as was allowed, or as there is room for, is what there is of it; it is marked."""
    script = streamed(piece("你"), piece("好"), stop(reason), DONE)
    ask(script, road).ok("你好")
    found = fact(script)
    assert found["finish_reason"] == ("length" if reason == "max_tokens" else reason)
    assert ("context is full" in str(found.get("changed"))) == (reason == "model_context_window_exceeded")


THOUGHTS = {
    "whole": ["thought</think>answer"],
    "with line ends": ["thought\n</think>\n\nanswer"],
    "split": ["tho", "ught<", "/thi", "nk", ">ans", "wer"],
    "first": ["</think>", "answer"],
    "after blanks": ["\n", "</think>\n\nanswer"],
    "opened too": ["<think>thought</think>answer"],
    "with code in the thought": ["thought `x`\n```\n</think>\n```\n</think>answer"],
}


@pytest.mark.row("H6")
@pytest.mark.parametrize("dialect", ["openai", "chatglm"])
@pytest.mark.parametrize("name", THOUGHTS)
def test_thinking_that_nothing_opened_is_no_answer(name: str, dialect: str) -> None:
    """A lone ``</think>`` ends a thought that the template began: it is kept apart, in history too."""
    pieces = THOUGHTS[name]
    script = (
        streamed(*map(piece, pieces), stop(), DONE)
        if dialect == "openai"
        else reply({"response": "".join(pieces), "history": []})
    )
    with ScriptedServer(script) as server:
        for invoke in (ChatGLM.invoke, lambda llm, prompt: asyncio.run(llm.ainvoke(prompt))):
            llm = make_model(server, dialect, with_history=True)
            assert invoke(llm, "hi") == "answer"
            assert llm.history == [["hi", "answer"]]
    found = fact(script, dialect)
    assert found["text"] == "answer" and "think>" not in found.get("reasoning", "").replace("\n</think>\n```", "")
    assert ("thought" in found.get("reasoning", "")) == (name not in ("first", "after blanks"))


@pytest.mark.row("H6")
@roads
def test_a_stream_never_shows_the_tag(road: str) -> None:
    """What was handed out can't be called back, but the tag is not among it, and what follows is the answer."""
    outcome = ask(streamed(piece("thought"), piece("</think>"), piece("answer"), stop(), DONE), road)
    assert outcome.error is None and outcome.text in ("answer", "thoughtanswer")
    assert outcome.text == "answer" or "stream" in road


@pytest.mark.row("H6")
def test_a_session_keeps_thought_and_answer_apart(tmp_path: Path) -> None:
    """In the turn, in what goes along with the next question, in the terminal, and on a tape."""
    lone = streamed(piece("hm, a"), piece("h\n</think>\n\n"), piece("answer"), stop(), DONE)
    with ScriptedServer(lone) as server:
        session, screen = Session(), io.StringIO()
        session.settings.endpoint_url, session.settings.store = f"{server.url}v1", "off"
        session.settings.tape, session.settings.tape_mode = str(tmp_path / "tape.jsonl"), "record"
        turn = session.ask("q1", view=TerminalView(screen)).turn
        assert (turn.answer, turn.reasoning) == ("answer", "hm, ah\n")
        assert screen.getvalue().endswith("answer\n") and "</think>" not in screen.getvalue()
        session.ask("q2")
        assert server.posts[1].body["messages"][1] == {"role": "assistant", "content": "answer"}
    session.settings.tape_mode = "replay"
    session.reset()
    again = session.ask("q1").turn
    assert (again.answer, again.reasoning) == ("answer", "hm, ah\n")
    session.close()


TAG_TEXTS = [
    "Close it with `</think>`.",
    "```html\n</think>\n```",
    "Between <think> and </think> it thinks.",
    "``a ` </think>`` ends",
    "1. Use this:\n- ```xml\n  <a>\n  </think>\n  ```\nok",
    "> ```\n> </think>\n> ```\nok",
]


@pytest.mark.row("H6")
@roads
@pytest.mark.parametrize("dialect", ["openai", "chatglm"])
@pytest.mark.parametrize("text", TAG_TEXTS)
def test_a_tag_that_an_answer_speaks_of_stays(text: str, dialect: str, road: str) -> None:
    """In code, or after its own beginning, it is the answer's own words."""
    script = (
        streamed(*map(piece, text), stop(), DONE)
        if dialect == "openai"
        else reply({"response": text, "history": []})
    )
    ask(script, road, dialect).ok(text)


def answered(status: str, kind: str, data: bytes) -> Script:
    return say(head("Connection: close", status=status, kind=kind) + data, end)


@pytest.mark.row("H7")
@roads
@pytest.mark.parametrize("dialect", ["openai", "chatglm"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("201 Created", "application/json"),
        ("203 Non-Authoritative", "application/json"),
        ("200 OK", "text/html"),
        ("200 OK", "text/plain; charset=utf-8"),
        ("202 Accepted", "text/html; charset=utf-8"),
    ],
)
def test_a_good_body_counts_under_any_success(status: str, kind: str, dialect: str, road: str) -> None:
    """Whatever the status of 200 to 299 and the type: JSON is told by its bytes."""
    ask(answered(status, kind, dumped(whole(dialect))), road, dialect).ok("你好")


@pytest.mark.row("H7")
@roads
@pytest.mark.parametrize("dialect", ["openai", "chatglm"])
def test_a_web_page_is_no_answer_under_any_success(dialect: str, road: str) -> None:
    """Control: what is no JSON stays what it is."""
    page = b"<!doctype html><title>Sign in</title>"
    for kind in ("text/html", "application/json"):
        error = ask(answered("201 Created", kind, page), road, dialect).failed("not_a_model_server")
        assert "Sign in" in str(error)
    ask(answered("204 No Content", "application/json", b""), road, dialect).failed("empty_reply")


@pytest.mark.row("H7")
@roads
@pytest.mark.parametrize("dialect", ["openai", "chatglm"])
def test_words_on_the_way_are_passed_over(dialect: str, road: str) -> None:
    """102 and 103 come before an answer, and are none."""
    before = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    body = head("Connection: close") + dumped(whole(dialect))
    ask(say(before, before + body, end), road, dialect).ok("你好")


@pytest.mark.row("H7")
@roads
@pytest.mark.parametrize(
    "status", ["completed", "Success", "finished", "done", "200", 200, 0, 1, None, "stop", "no error"]
)
def test_a_status_that_says_it_went_well_is_no_error(status: Any, road: str) -> None:
    """Servers have many words for that."""
    ask(reply({"response": "你好", "history": [], "status": status}), road, "chatglm").ok("你好")


@pytest.mark.row("H7")
@roads
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"response": "CUDA out of memory", "success": False}, "CUDA out of memory"),
        ({"response": "", "error": "CUDA out of memory"}, "CUDA out of memory"),
        ({"response": "", "error": {"message": "CUDA out of memory"}}, "CUDA out of memory"),
        ({"response": "no GPU", "status": "failed"}, "no GPU"),
        ({"response": "wait", "status": "processing"}, "processing"),
        ({"response": "no GPU", "status": "500"}, "no GPU"),
    ],
)
def test_an_error_where_the_answer_should_stand_is_an_error(body: Any, words: str, road: str) -> None:
    """In the server's words; its text is never taken for an answer."""
    assert words in str(ask(reply(body), road, "chatglm").failed("server_error"))


AFTER = {
    "DONE": b"data: DONE\n\n",
    "[done]": b"data: [done]\n\n",
    "junk": b"data: <EOT>\n\n",
    "half an object": b'data: {"x\n\n',
    "an empty object": b"data: {}\n\n",
    "an error of a later step": event({"error": {"message": "could not count", "code": 500}}),
}


@pytest.mark.row("H8")
@roads
@pytest.mark.parametrize("name", AFTER)
def test_what_follows_the_end_does_not_spoil_an_answer(name: str, road: str) -> None:
    """The answer has said that it is whole."""
    ask(streamed(piece("你"), piece("好"), stop(), AFTER[name]), road).ok("你好")
    ask(streamed(piece("你"), piece("好"), stop(), AFTER[name], DONE), road).ok("你好")


NO_ERRORS: list[Any] = [
    None,
    "",
    {},
    {"code": 0, "message": ""},
    {"code": "0", "message": "ok"},
    {"message": ""},
    [],
]


@pytest.mark.row("H8")
@roads
@pytest.mark.parametrize("error", NO_ERRORS, ids=str)
def test_an_error_that_says_nothing_is_none(error: Any, road: str) -> None:
    """Some servers send an empty one with every event, or with a whole answer."""
    events = [event(chunk(text) | {"error": error}) for text in "你好"]
    ask(streamed(*events, event(chunk(None, finish_reason="stop") | {"error": error}), DONE), road).ok("你好")
    ask(reply(whole("openai", error=error)), road).ok("你好")
    ask(reply(whole("chatglm", error=error)), road, "chatglm").ok("你好")
