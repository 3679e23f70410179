"""Rows C12, C15, C16, C27 to C29 and C31: the many shapes of a sound answer, and one of another protocol."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ..support.fault_requests import send, v1
from ..support.fault_scripts import DONE, STREAM, dumped, end, event, piece, say, stop, streamed, whole
from ..support.servers import ScriptedServer, chunk, reply


@pytest.mark.row("C12")
@v1
def test_an_end_without_done(dialect: str, road: str) -> None:
    """A finish_reason says as well that the answer is whole."""
    ends = {"by itself": (piece("a"), stop()), "with text": (piece("a", finish_reason="stop"),)}
    for name, steps in ends.items():
        with ScriptedServer(streamed(*steps)) as server:
            assert send(server, dialect, road).ok("a", of=name)["finish_reason"] == "stop"
            assert len(server.posts) == 1, name


@pytest.mark.row("C15")
@v1
def test_cut_by_the_servers_limit(dialect: str, road: str) -> None:
    """An answer that was cut at max_tokens is whole, and says so."""
    with ScriptedServer(streamed(piece("a"), stop("length"), DONE)) as server:
        assert send(server, dialect, road).ok("a")["finish_reason"] == "length"
        assert len(server.posts) == 1


@pytest.mark.row("C16")
@v1
def test_no_reason_to_the_end(dialect: str, road: str) -> None:
    """Ollama's answers end with [DONE] alone."""
    with ScriptedServer(streamed(piece("a"), piece("b"), DONE)) as server:
        assert "finish_reason" not in send(server, dialect, road).ok("ab")
        assert len(server.posts) == 1


USAGE = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}


@pytest.mark.row("C27")
@v1
def test_pieces_without_text(dialect: str, road: str) -> None:
    """Roles, nulls, counts, thoughts and second choices are not printed; what is worth knowing is kept."""
    two = chunk("b")
    two["choices"].append({"index": 1, "delta": {"content": "second"}, "finish_reason": "length"})
    other: dict[str, Any] = {"choices": [{"index": 1, "delta": {"content": "second"}, "finish_reason": None}]}
    steps = [
        event(chunk(None, role="assistant")),
        event(chunk(None, role="assistant", content=None)),
        event(chunk(None, reasoning_content="想", content=None)),
        event(chunk(None, reasoning="法")),
        piece("a", reasoning_content=None, tool_calls=None, refusal=None),
        event(two),
        event(other),
        event({"choices": []}),
        event({"choices": None}),
        event({"choices": [{"index": 0, "delta": None, "finish_reason": None}]}),
        event({"choices": [{"index": 0, "finish_reason": None}]}),
        event(chunk("c")),
        stop(),
        event({"choices": [], "usage": USAGE}),
        DONE,
    ]
    with ScriptedServer(streamed(*steps)) as server:
        info = send(server, dialect, road).ok("abc")
        assert {name: info.get(name) for name in ("reasoning", "finish_reason", "usage", "model")} == {
            "reasoning": "想法",
            "finish_reason": "stop",
            "usage": USAGE,
            "model": "test-glm",
        }
        assert len(server.posts) == 1


@pytest.mark.row("C28")
@v1
def test_the_content_type_decides(dialect: str, road: str) -> None:
    """Plain JSON for a stream, and a stream under a long content type, are understood."""
    with ScriptedServer(reply(whole(dialect, "你好", usage=USAGE))) as server:
        info = send(server, dialect, road).ok("你好")
        assert (info["finish_reason"], info["usage"], info["model"]) == ("stop", USAGE, "test-glm")
        assert server.posts[0].body["stream"] is True and len(server.posts) == 1
    for kind in (b"Text/Event-Stream", b"text/event-stream;charset=UTF-8"):
        head = STREAM.replace(b"text/event-stream", kind)
        with ScriptedServer(say(head, piece("你"), stop(), DONE, end)) as server:
            send(server, dialect, road).ok("你", of=kind)
            assert len(server.posts) == 1


NATIVE = [
    {"model": "glm4", "message": {"role": "assistant", "content": "你"}, "done": False},
    {"model": "glm4", "message": {"role": "assistant", "content": "好"}, "done": False},
    {"model": "glm4", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
]


@pytest.mark.row("C29")
@v1
def test_lines_of_json(dialect: str, road: str) -> None:
    """Ollama's own protocol is not OpenAI's, whatever content type it comes under; the error shows what to set."""
    lines = b"".join(dumped(line) + b"\n" for line in NATIVE)
    for kind in ("application/x-ndjson", "application/json", "text/event-stream"):
        with ScriptedServer(reply(lines, kind=kind)) as server:
            error = send(server, dialect, road).failed("not_sse", of=kind)
            assert "/v1" in str(error) and len(server.posts) == 1, kind


@pytest.mark.row("C31")
@v1
def test_numbers_out_of_order(dialect: str, road: str) -> None:
    """Pieces are shown as they arrive, whatever numbers they carry, and only those of the first choice."""
    swapped = chunk("c")
    swapped["choices"].insert(0, {"index": 1, "delta": {"content": "second"}, "finish_reason": None})
    steps = [
        b"id: 9\n" + piece("a"),
        b"id: 3\n" + piece("b"),
        b"id: 3\n" + event(swapped),
        event(chunk("d") | {"id": "another", "created": -1}),
        event({"choices": [{"index": None, "delta": {"content": "e"}}]}),
        event({"choices": [{"delta": {"content": "f"}}]}),
        stop(),
        DONE,
    ]
    with ScriptedServer(streamed(*steps)) as server:
        send(server, dialect, road).ok("abcdef")
        assert len(server.posts) == 1
    value = json.loads(json.dumps(whole(dialect, "first")))
    value["choices"].insert(0, {"index": 1, "message": {"content": "second"}, "finish_reason": "stop"})
    with ScriptedServer(reply(value)) as server:
        send(server, dialect, road).ok("first", of="plain JSON")
        assert len(server.posts) == 1
