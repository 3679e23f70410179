"""Rows C13, C14 and C17 to C21: streams that break off keep what came, and never pass for whole."""

from __future__ import annotations

import threading

import pytest

from chatglm_magic.errors import IncompleteAnswerError

from ..support.fault_requests import send, v1
from ..support.fault_scripts import (
    CHUNKED,
    DONE,
    STREAM,
    chunked,
    end,
    event,
    piece,
    reset,
    say,
    stay,
    stop,
    streamed,
)
from ..support.servers import Script, ScriptedServer


def broken(script: Script, dialect: str, road: str, kind: str, partial: str, of: object = "") -> str:
    """Assert that an answer breaks off like this, after one POST; return the error's message."""
    with ScriptedServer(script) as server:
        error = send(server, dialect, road).failed(kind, partial, of)
        assert isinstance(error, IncompleteAnswerError), of
        assert len(server.posts) == 1, of
        return str(error)


@pytest.mark.row("C13")
@v1
def test_an_end_that_says_nothing(dialect: str, road: str) -> None:
    """A clean end of the connection is no end of an answer."""
    broken(streamed(piece("你"), piece("好")), dialect, road, "incomplete", "你好")
    last_chunk = say(CHUNKED, chunked(piece("你")), chunked(piece("好")), b"0\r\n\r\n", stay)
    broken(last_chunk, dialect, road, "incomplete", "你好", "chunked")
    with ScriptedServer(streamed()) as server:
        send(server, dialect, road).failed("incomplete", of="no event at all")
        assert [post.body["stream"] for post in server.posts] == [True, False], "an empty stream: asked without"


@pytest.mark.row("C14")
@v1
def test_a_last_event_without_its_blank_line(dialect: str, road: str) -> None:
    """The last piece is kept, and the answer is whole only if it has said so."""
    for missing in (1, 2):
        broken(streamed(piece("你"), piece("好")[:-missing]), dialect, road, "incomplete", "你好", missing)
    broken(streamed(piece("你"), piece("好")[:-8]), dialect, road, "incomplete", "你", "half an event")
    for last in (stop()[:-1], stop() + DONE[:-1], stop() + DONE[:-2]):
        with ScriptedServer(streamed(piece("你"), last)) as server:
            send(server, dialect, road).ok("你", of=last)
            assert len(server.posts) == 1


@pytest.mark.row("C17")
@v1
def test_an_error_in_the_middle(dialect: str, road: str) -> None:
    """Each way of saying so ends the answer, with the server's words, and nothing after it is read."""
    ways = {
        "object": event({"error": {"message": "out of memory", "code": 500}}),
        "text": event({"error": "out of memory"}),
        "vllm": event({"object": "error", "message": "out of memory", "code": 500}),
        "named": b"event: error\n" + event({"message": "out of memory"}),
        "named, no JSON": b"event: error\ndata: out of memory\n\n",
        "detail": event({"detail": "out of memory"}),
    }
    for name, data in ways.items():
        script = streamed(piece("你"), data, piece("evil"), stop(), DONE)
        assert "out of memory" in broken(script, dialect, road, "server_error", "你", name), name


@pytest.mark.row("C18")
@v1
def test_an_event_that_is_no_json(dialect: str, road: str) -> None:
    """One event that can't be read ends the answer; it is not left out in silence."""
    for data in (
        b'{"choices":[',
        b"oops",
        b"{'a':1}",
        b'data: {"choices":[]}',
        b'{"choices":[]}{"choices":[]}',
        b"\x00",
    ):
        script = streamed(piece("你"), b"data: " + data + b"\n\n", piece("好"), stop(), DONE)
        broken(script, dialect, road, "bad_event", "你", data)


@pytest.mark.row("C19")
@v1
def test_bad_utf8_in_an_event(dialect: str, road: str) -> None:
    """What is no letter is replaced, and the answer says so; a replacement that was sent is none."""
    for damage in (b"\xff", b"\xe4\xbd", b"\xed\xa0\x80"):
        data = piece("xDAMAGEy").replace(b"DAMAGE", damage)
        with ScriptedServer(streamed(piece("a"), data, stop(), DONE)) as server:
            outcome = send(server, dialect, road)
            info = outcome.ok("ax" + damage.decode(errors="replace") + "y", of=damage)
            assert "UTF-8" in str(info.get("changed")) and len(server.posts) == 1, damage
    with ScriptedServer(streamed(piece("a\ufffdb"), stop(), DONE)) as server:
        assert "changed" not in send(server, dialect, road).ok("a\ufffdb")
        assert len(server.posts) == 1


class Waiter:
    """Sets an event once a piece was seen."""

    def __init__(self, event: threading.Event, awaited: str) -> None:
        self._event, self._awaited = event, awaited

    def __call__(self, text: str) -> None:
        if self._awaited in text:
            self._event.set()


@pytest.mark.row("C20")
@v1
def test_a_drop_inside_a_chunk(dialect: str, road: str) -> None:
    """All that came is kept, however the connection ends, and nothing is asked twice."""
    first, second = chunked(piece("你")), chunked(piece("好"))
    cuts = {
        "in a chunk": (first, second[:20], "你"),
        "at its very end": (first + second[:-2], b"", "你好"),
        "after it": (first + second, b"", "你好"),
        "in a size": (first + second, b"1", "你好"),
        "no size": (first + second, b"xyz\r\n", "你好"),
    }
    for name, (data, rest, partial) in cuts.items():
        for over in (end, reset):
            shown = threading.Event()  # a reset, and what is no chunk, may undo what was not yet read
            seen = Waiter(shown, partial[-1])
            with ScriptedServer(say(CHUNKED, data, shown, rest, over)) as server:
                outcome = send(server, dialect, road, seen=seen, timeout={"idle": 1.0})
                kind = "incomplete"
                if name == "no size" and road == "async" and outcome.error:
                    kind = outcome.error.kind  # aiohttp 3.14 closes the connection, and tells nobody
                    assert kind in ("incomplete", "idle_timeout")
                assert isinstance(outcome.failed(kind, partial, of=(name, over)), IncompleteAnswerError)
                assert len(server.posts) == 1, (name, over)
    for missing in (1, 50):
        head = STREAM.replace(b"Connection: close", b"Content-Length: %d" % (len(piece("你")) + missing))
        broken(say(head, piece("你"), end), dialect, road, "incomplete", "你", f"{missing} missing")


@pytest.mark.row("C21")
@v1
def test_a_reset_in_the_middle(dialect: str, road: str) -> None:
    """What the caller has seen before a reset is in the error."""
    for head in (STREAM, CHUNKED):
        shown = threading.Event()
        data = piece("你") if head is STREAM else chunked(piece("你"))
        with ScriptedServer(say(head, data, shown, reset)) as server:
            outcome = send(server, dialect, road, seen=Waiter(shown, "你"))
            assert isinstance(outcome.failed("incomplete", "你"), IncompleteAnswerError) and outcome.text == "你"
            assert len(server.posts) == 1
