"""Rows C1 to C5 and C7 to C11: however a stream is cut and decked, the same events come out of it."""

from __future__ import annotations

import json
import threading
import time
from itertools import pairwise
from socket import IPPROTO_TCP, TCP_NODELAY, socket

import pytest

from ..support.clock import assert_within
from ..support.fault_requests import make_model, send, send_many, v1
from ..support.fault_scripts import DONE, STREAM, end, event, piece, say, stay, stop, streamed
from ..support.servers import Asked, ScriptedServer

SHORT = (
    '\ufeffdata: {"choices":[{"delta":{"content":"入🤖"}}]}\n\n:\n'
    'data:{"choices":[{"delta":{"content":"b"},\ndata:"finish_reason":""}]}\n\ndata: [DONE]\n\n'
)
LINE_ENDS = ("\n", "\r", "\r\n")
SIZES = (1, 2, 3, 97, 4093)


def cuts() -> list[str]:
    """Return, as JSON, each line end with each place of one cut, and with each size of pieces."""
    places = []
    for line_end in LINE_ENDS:
        length = len(SHORT.replace("\n", line_end).encode())
        places += [json.dumps([line_end, 0, at, length]) for at in range(1, length)]
        places += [json.dumps([line_end, *range(0, length, size), length]) for size in SIZES]
    return places


@pytest.mark.row("C1")
@v1
def test_every_split_of_a_stream(dialect: str, road: str) -> None:
    """One cut at every place, and pieces of every size, with every line end, give the same text."""

    def script(connection: socket, asked: Asked) -> None:
        line_end, *places = json.loads(asked.body["messages"][0]["content"])
        data = SHORT.replace("\n", line_end).encode()
        connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        connection.sendall(STREAM)
        for start, over in pairwise(places):
            connection.sendall(data[start:over])
            time.sleep(0.0005)  # so that most pieces travel by themselves
        end(connection, asked)

    with ScriptedServer(script) as server:
        prompts = cuts()
        for prompt, outcome in zip(prompts, send_many(make_model(server, dialect), road, prompts), strict=True):
            outcome.ok("入🤖b", of=prompt)
        assert len(server.posts) == len(prompts) > 400


@pytest.mark.row("C2")
@v1
def test_a_line_end_cut_in_two(dialect: str, road: str) -> None:
    """A CR ends a line at once; an LF that comes later belongs to it, and makes no further event."""
    first = piece("a").replace(b"\n", b"\r\n")
    second = b'data: {"choices":[{"delta":\r\ndata: {"content":"b"},"finish_reason":"stop"}]}\r\n\r\n'
    inside = second.index(b"\r") + 1
    cuts = {
        "after an event": (first[:-1], first[-1:] + second),
        "inside one": (first + second[:inside], second[inside:]),
    }
    for name, (before, after) in cuts.items():
        shown = threading.Event()  # set by the first event, which comes in one piece with the CR
        with ScriptedServer(streamed(before, shown, after)) as server:
            send(server, dialect, road, seen=lambda text, shown=shown: shown.set()).ok("ab", of=name)
            assert len(server.posts) == 1, name


@pytest.mark.row("C3")
@v1
def test_a_letter_cut_in_pieces(dialect: str, road: str) -> None:
    """The bytes of 入 and 🤖 may come one by one, with or without the declared charset."""
    data = piece("入🤖")
    for kind in (b"text/event-stream", b"text/event-stream; charset=utf-8"):
        steps = [step for at in range(len(data)) for step in (data[at : at + 1], 0.0005)]
        head = STREAM.replace(b"text/event-stream", kind)
        with ScriptedServer(say(head, *steps, stop() + DONE, end)) as server:
            send(server, dialect, road).ok("入🤖", of=kind)
            assert len(server.posts) == 1


@pytest.mark.row("C4")
@v1
def test_separators_that_end_no_line(dialect: str, road: str) -> None:
    """U+2028, U+2029, U+0085, VT, FF and the ASCII separators are letters like others."""
    raw = "a\u2028b\u2029c\u0085d"
    escaped = "e\x0bf\x0cg\x1ch\x1di\x1ej"
    comments = b"".join(b": x" + bytes([mark]) + piece("evil")[:-1] for mark in (0x0B, 0x0C, 0x1C, 0x1D, 0x1E))
    comments += ": x\u2028".encode() + piece("evil")[:-1] + ": x\u0085".encode() + piece("evil")[:-1]
    with ScriptedServer(streamed(piece(raw), comments, b"\n", piece(escaped), stop() + DONE)) as server:
        send(server, dialect, road).ok(raw + escaped)
        assert len(server.posts) == 1


@pytest.mark.row("C5")
@v1
def test_byte_order_marks(dialect: str, road: str) -> None:
    """One at the beginning is none of the answer; one inside is."""
    for head in (b"\xef\xbb\xbf", b"\xef\xbb\xbf: ping\n\n"):
        with ScriptedServer(streamed(head, piece("a"), piece("\ufeffb"), stop() + DONE)) as server:
            send(server, dialect, road).ok("a\ufeffb", of=head)
            assert len(server.posts) == 1
    parts = [b"\xef", 0.01, b"\xbb", 0.01, b"\xbf", 0.01, piece("a"), stop() + DONE]
    with ScriptedServer(streamed(*parts)) as server:
        send(server, dialect, road).ok("a")
        assert len(server.posts) == 1


def decked(road: str, dialect: str, *between: bytes) -> None:
    """Assert that each of these, put before, between and behind the pieces, says nothing."""
    for noise in between:
        steps = [noise, piece("a"), noise, noise, piece("b"), noise, stop(), noise, DONE, noise]
        with ScriptedServer(streamed(*steps)) as server:
            assert send(server, dialect, road).ok("ab", of=noise)["finish_reason"] == "stop"
            assert len(server.posts) == 1, noise


@pytest.mark.row("C7")
@v1
def test_events_without_data(dialect: str, road: str) -> None:
    """A name, a time for reconnecting and a number are no events."""
    decked(road, dialect, b"event: ping\n\n", b"retry: 3000\n\n", b"id: 7\n\n", b"event: ping\r\nid: 7\r\n\r\n")


@pytest.mark.row("C8")
@v1
def test_empty_data(dialect: str, road: str) -> None:
    """Nor is an event with nothing in it."""
    decked(
        road, dialect, b"data:\n\n", b"data: \n\n", b"data\n\n", b"data:\ndata:\n\n", b"data:   \n\n", b"\n\n\n"
    )


@pytest.mark.row("C9")
@v1
def test_a_comment_after_a_number(dialect: str, road: str) -> None:
    """An id line with a comment behind it makes no empty event."""
    decked(road, dialect, b"id: 7\n: comment\n\n", b"id: 7\n\n:\n\n", b"id\n:comment\n\nid: 8\n\n")


@pytest.mark.row("C10")
@v1
def test_fields_as_the_standard_has_them(dialect: str, road: str) -> None:
    """Data of several lines, without colon, without or with two spaces; unknown fields say nothing."""
    forms = {
        "several lines": b'data: {"choices":[{"delta":\ndata: {"content":\ndata:"a"}}]}\n\n',
        "an empty line among them": b'data: {"choices":\ndata\ndata:\ndata: [{"delta":{"content":"a"}}]}\n\n',
        "no space": b'data:{"choices":[{"delta":{"content":"a"}}]}\n\n',
        "two spaces": b'data:  {"choices":[{"delta":{"content":"a"}}]}\n\n',
        "unknown fields": b'x\ny: z\ndata : no\ndata: {"choices":[{"delta":{"content":"a"}}]}\ndatax: no\n\n',
        "a space before": b' data: no\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        "a colon in it": b'data:{"x":":data: :","choices":[{"delta":{"content":"a"}}]}\n:data: no\n\n',
        "a name": b'event: message\ndata: {"choices":[{"delta":{"content":"a"}}]}\nid: \x00\n\n',
    }
    for name, data in forms.items():
        with ScriptedServer(streamed(data, piece("b"), stop() + DONE)) as server:
            send(server, dialect, road).ok("ab", of=name)
            assert len(server.posts) == 1, name


@pytest.mark.row("C11")
@v1
def test_the_word_done(dialect: str, road: str) -> None:
    """[DONE] ends the answer at once, however it is written; what follows is not shown, and not waited for."""
    for form in (b"data: [DONE]\n\n", b"data:  [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE] \r\n\r\n"):
        script = say(STREAM, piece("a"), form + piece("evil") + event({"error": "evil"}), stay)
        with ScriptedServer(script) as server:
            outcome = send(server, dialect, road, timeout={"idle": 25})
            outcome.ok("a", of=form)
            server.wait_closed(server.posts[0], 1.0, of=form)
            assert len(server.posts) == 1, form
            assert_within(outcome.seconds, 1, of=form)
    with ScriptedServer(streamed(piece("a"), stop())) as server:
        send(server, dialect, road).ok("a", of="no [DONE]")
        assert len(server.posts) == 1
