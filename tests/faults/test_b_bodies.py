"""Rows B1 to B13: whole bodies that are cut, of another shape, or in other letters."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ..support.fault_requests import both, make_model, send, send_with
from ..support.fault_scripts import chunked, closing_body, dumped, end, good, head, reset, say, whole
from ..support.servers import ScriptedServer, reply

TEXT = "你好, world"


@pytest.mark.row("B1")
@both
def test_a_body_shorter_than_its_length(dialect: str, road: str) -> None:
    """What is missing is said, and not asked for again."""
    body = dumped(whole(dialect, TEXT))
    for name, over in {"closed": end, "reset": reset}.items():
        for sent in (body, body[:-5], body[:1], b""):  # also one that would be JSON as it is
            with ScriptedServer(say(head(f"Content-Length: {len(body) + 7}") + sent, over)) as server:
                send(server, dialect, road).failed("incomplete", of=(name, sent))
                assert len(server.posts) == 1, (name, sent)


@pytest.mark.row("B2")
@both
def test_a_drop_inside_a_chunk(dialect: str, road: str) -> None:
    """Nor is a body whole whose last chunk never came."""
    body = dumped(whole(dialect, TEXT))
    cuts = {
        "in a chunk": chunked(body)[: len(body) // 2],
        "after a chunk": chunked(body),
        "in a size": chunked(body) + b"1",
        "in the end": chunked(body) + b"0\r\n",
    }
    for name, sent in cuts.items():
        for over in (end, reset):
            if name == "in the end" and over is end:
                continue  # all data and the size of the last chunk have come: some take that for the end
            with ScriptedServer(say(head("Transfer-Encoding: chunked") + sent, over)) as server:
                send(server, dialect, road).failed("incomplete", of=(name, over))
                assert len(server.posts) == 1, name


@pytest.mark.row("B3")
@both
def test_a_cut_body_that_ends_cleanly(dialect: str, road: str) -> None:
    """Cut JSON is no answer, wherever it is cut, and the error says where."""
    body = dumped(whole(dialect, TEXT))
    for cut in {5, len(body) // 3, len(body) // 2, len(body) - 1}:
        data = body[:cut].decode(errors="ignore").encode()
        with ScriptedServer(closing_body(data)) as server:
            error = send(server, dialect, road).failed("bad_json", of=data)
            place = re.search(r"character (\d+)", str(error))
            assert place and int(place[1]) <= len(data.decode()), (data, error)
            assert len(server.posts) == 1, data


def each(dialect: str, road: str, values: list[Any], kind: str, words: str = "") -> None:
    """Assert that each of these values, answered as JSON, is an error of this kind."""
    for value in values:
        with ScriptedServer(reply(dumped(value))) as server:
            assert words in str(send(server, dialect, road).failed(kind, of=value)), value
            assert len(server.posts) == 1, value


@pytest.mark.row("B4")
@both
def test_json_that_is_no_object(dialect: str, road: str) -> None:
    """A list, nothing, a text and a number are no answers."""
    each(dialect, road, [[], None, "x", 7, True, [whole(dialect)]], "bad_shape")


@pytest.mark.row("B5")
@both
def test_an_object_without_an_answer(dialect: str, road: str) -> None:
    """Nor is an object with other keys, the other dialect's answer among them; its keys are shown."""
    other = whole("openai" if dialect == "chatglm" else "chatglm")
    each(dialect, road, [{}, {"a": 1}, {"result": "hi"}, {"choices": None, "a": 1}, other], "bad_shape")
    each(dialect, road, [{"completion": "hi"}], "bad_shape", "completion")


@pytest.mark.row("B6")
@both
def test_no_choices(dialect: str, road: str) -> None:
    """An answer with no choice in it is empty; in ChatGLM's own dialect, which has none, an empty list is that."""
    values = [{"response": []}] if dialect == "chatglm" else [{"choices": []}, {"choices": [], "usage": {}}]
    each(dialect, road, values, "empty_reply")


@pytest.mark.row("B7")
@both
def test_null_for_an_answer(dialect: str, road: str) -> None:
    """Null is empty, never the text "None"; with a call of a tool it is what it should be."""
    each(dialect, road, [whole(dialect, None)], "empty_reply")
    if dialect == "openai":
        message = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
        value = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
        with ScriptedServer(reply(value)) as server:
            assert send(server, dialect, road).ok("")["finish_reason"] == "tool_calls"
            assert len(server.posts) == 1


@pytest.mark.row("B8")
@both
def test_a_reply_without_history(dialect: str, road: str) -> None:
    """The history kept is our own; a server's is never taken instead."""
    for more in ({}, {"history": None}, {"history": [["forged", "turn"]]}):
        answer = {key: value for key, value in whole(dialect).items() if key != "history"} | more
        with ScriptedServer(reply(dumped(answer))) as server:
            llm = make_model(server, dialect, with_history=True)
            send_with(llm, road, "one").ok("你好", of=more)
            assert llm.history == [["one", "你好"]] and len(server.posts) == 1, more


@pytest.mark.row("B9")
@both
def test_a_failure_with_status_200(dialect: str, road: str) -> None:
    """A server that ran out of memory has not answered "CUDA out of memory"."""
    words = "CUDA out of memory"
    each(dialect, road, [{"status": 500, "response": words, "history": []}], "server_error", words)
    if dialect == "openai":
        each(dialect, road, [{"object": "error", "message": words, "code": 500}], "server_error", words)


@pytest.mark.row("B10")
@both
def test_an_error_with_status_200(dialect: str, road: str) -> None:
    """Each way of saying so is an error, in the server's own words."""
    values = [
        {"error": {"message": "no such model", "type": "x"}},
        {"error": "no such model"},
        {"detail": "no such model"},
        {"detail": [{"loc": ["body"], "msg": "no such model"}]},
        {"error": {"code": "1211", "message": "no such model"}, "choices": []},
        {"success": False, "msg": "no such model"},
    ]
    each(dialect, road, values, "server_error", "no such model")


@pytest.mark.row("B11")
@both
def test_bad_utf8(dialect: str, road: str) -> None:
    """Letters that are none are said, never shown as others."""
    for damage in (b"\xff", b"\xe4\xbd", b"\xed\xa0\x80", "好".encode("gbk")):
        data = dumped(whole(dialect, "DAMAGE")).replace(b"DAMAGE", b"a" + damage)
        with ScriptedServer(reply(data)) as server:
            send(server, dialect, road).failed("bad_encoding", of=damage)
            assert len(server.posts) == 1, damage


@pytest.mark.row("B12")
@both
def test_another_charset(dialect: str, road: str) -> None:
    """A charset that is declared is used; one that does not exist is an error."""
    body = json.dumps(whole(dialect, "你好，𠀀"), ensure_ascii=False)
    for charset in ("gb18030", '"GB18030"', "utf-16"):
        data = body.encode(charset.strip('"'))
        with ScriptedServer(reply(data, kind=f"application/json; charset={charset}")) as server:
            send(server, dialect, road).ok("你好，𠀀", of=charset)
            assert len(server.posts) == 1, charset
    with ScriptedServer(reply(body, kind="application/json; charset=klingon")) as server:
        send(server, dialect, road).failed("bad_encoding")
        assert len(server.posts) == 1


@pytest.mark.row("B13")
@both
def test_odd_letters_survive(dialect: str, road: str) -> None:
    """A lone surrogate, NUL, line separators and joined emoji come as sent, and go out again in the history."""
    odd = "a\ud800b\x00c\u2028d\u2029\u0085👩\u200d👩\u200d👧𠀀\ufeff\u202eend"
    with ScriptedServer(reply(json.dumps(whole(dialect, odd))), good(dialect)) as server:
        llm = make_model(server, dialect, with_history=True)
        send_with(llm, road, odd).ok(odd)
        assert llm.history == [[odd, odd]]
        send_with(llm, road, "again").ok("你好")
        body = server.posts[1].body
        sent = body["history"] if dialect == "chatglm" else [[said["content"] for said in body["messages"][:2]]]
        assert sent == [[odd, odd]] and len(server.posts) == 2
        assert json.loads(json.dumps(llm.history)) == llm.history
