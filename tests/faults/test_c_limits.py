"""Rows C6, C22 to C26 and C30: streams that take long, or much; and how soon a piece is shown."""

from __future__ import annotations

import threading
import time
from socket import socket

import pytest

from chatglm_magic.errors import IncompleteAnswerError

from ..support.clock import assert_within
from ..support.fault_requests import make_model, read_whole, send, v1, v1_waiting
from ..support.fault_scripts import (
    CHUNKED,
    DONE,
    STREAM,
    chunked,
    dumped,
    end,
    event,
    piece,
    say,
    stay,
    stop,
    streamed,
)
from ..support.isolation import measure_memory, run_isolated
from ..support.servers import Asked, ScriptedServer, _watch

MIB = 1024
"""In KiB, as the kernel counts memory."""


@pytest.mark.row("C6")
@v1
def test_ten_thousand_pings(dialect: str, road: str) -> None:
    """Comments say nothing, with and without a blank line, and take no memory."""
    small = b": ping\n\n: ping\r\n:\n" * 3334
    large = b": " + b"x" * 4000 + b"\n"
    with (
        ScriptedServer(streamed(small, piece("a"), small, piece("b"), small, stop(), DONE)) as server,
        ScriptedServer(streamed(piece("a"), large * 10_000, piece("b"), stop(), DONE)) as heavy,
    ):
        send(server, dialect, road).ok("ab")
        (outcome,), grown = run_isolated(measure_memory, [heavy.url], dialect, road, {})
        outcome.ok("ab")
        assert grown < 8 * MIB  # of 38 MiB that were sent
        assert len(server.posts) == len(heavy.posts) == 1


@pytest.mark.row("C22")
@v1_waiting
def test_silence_in_the_middle(dialect: str, road: str) -> None:
    """The limit between two bytes holds, and what came is kept."""
    with ScriptedServer(say(STREAM, piece("你"), stay)) as server:
        outcome = send(server, dialect, road, timeout={"idle": 0.3})
        assert isinstance(outcome.failed("idle_timeout", "你"), IncompleteAnswerError)
        assert outcome.seconds >= 0.3 - 0.05 and len(server.posts) == 1
        assert_within(outcome.seconds, 0.3 + 0.5)


def dripping(connection: socket, asked: Asked) -> None:
    """Send a byte of a comment again and again, each in good time."""
    connection.sendall(STREAM + piece("你") + b":")
    for _ in range(1000):
        connection.sendall(b" ")
        _watch(connection, asked, 0.1)


@pytest.mark.row("C23")
@v1_waiting
def test_bytes_without_content(dialect: str, road: str) -> None:
    """A line that is kept open with comments alone is given up when no text came for too long."""
    with ScriptedServer(dripping) as server:
        outcome = send(server, dialect, road, timeout={"idle": 1.0, "content": 1.2})
        assert isinstance(outcome.failed("stalled", "你"), IncompleteAnswerError)
        assert outcome.seconds >= 1.2 - 0.05 and len(server.posts) == 1
        assert_within(outcome.seconds, 1.2 + 0.5)


@pytest.mark.row("C24")
@v1_waiting
def test_a_stream_without_end(dialect: str, road: str) -> None:
    """The whole time has a limit too; all that was shown is kept."""
    sent = 0

    def endless(connection: socket, asked: Asked) -> None:
        nonlocal sent
        connection.sendall(STREAM)
        while True:
            sent += 1  # before it goes: the other side may be done with it at once
            connection.sendall(piece(f"{sent - 1},"))
            _watch(connection, asked, 0.01)

    with ScriptedServer(endless) as server:
        outcome = send(server, dialect, road, timeout={"total": 1.0})
        numbers = outcome.text.split(",")
        assert numbers == [*map(str, range(len(numbers) - 1)), ""] and 1 < len(numbers) <= sent + 1
        assert isinstance(outcome.failed("total_timeout", outcome.text), IncompleteAnswerError)
        assert outcome.seconds >= 1.0 - 0.05
        assert_within(outcome.seconds, 1.0 + 0.5)
        server.wait_closed(server.posts[0], 1.0)
        assert len(server.posts) == 1


@pytest.mark.row("C25")
@v1
def test_one_huge_event(dialect: str, road: str) -> None:
    """8 MiB in one event are read within a second; above 64 MiB reading stops."""
    text = "汉" * (8 * 2**20 // 3)
    with ScriptedServer(streamed(piece(text), stop(), DONE)) as server:
        outcome = read_whole(make_model(server, dialect), road)
        outcome.ok(text)
        assert len(server.posts) == 1
        assert_within(outcome.seconds, 1 + 0.5)
    start, over = piece("LARGE").split(b"LARGE")

    def huge(connection: socket, asked: Asked) -> None:
        connection.sendall(STREAM + piece("你") + start)
        for _ in range(64):
            connection.sendall(b"x" * 2**20)
        connection.sendall(b"x" + over + stop() + DONE)
        end(connection, asked)

    with ScriptedServer(huge) as server:
        outcome = send(server, dialect, road)
        assert isinstance(outcome.failed("too_large", "你"), IncompleteAnswerError)
        assert len(server.posts) == 1


@pytest.mark.row("C26")
@v1
def test_many_lines_and_many_events(dialect: str, road: str) -> None:
    """An event of 10 000 lines, and 100 000 events sent at once, are read whole."""
    many = b"".join(b"data: %s\n" % line for line in [b'{"x":[', *[b"0,"] * 9_998, b"0],"])
    lines = many + b"data: " + dumped({"choices": [{"delta": {"content": "a"}}]})[1:] + b"\n\n"
    events = event({"choices": [{"delta": {"content": "b"}}]}) * 100_000
    with ScriptedServer(say(CHUNKED, chunked(lines), chunked(events), chunked(stop() + DONE), stay)) as server:
        outcome = read_whole(make_model(server, dialect), road)
        outcome.ok("a" + "b" * 100_000)
        assert len(server.posts) == 1


@pytest.mark.row("C30")
@v1
def test_the_first_piece_is_shown_at_once(dialect: str, road: str) -> None:
    """Each framing hands a piece to the caller while the server still holds the rest."""
    rest = piece("好") + stop() + DONE
    length = b"Content-Length: %d" % (len(piece("你")) + len(rest))
    framings = {
        "until the connection closes": (STREAM, piece("你"), rest),
        "chunks": (CHUNKED, chunked(piece("你")), chunked(rest) + b"0\r\n\r\n"),
        "a length": (STREAM.replace(b"Connection: close", length), piece("你"), rest),
    }
    for name, (head, first, second) in framings.items():
        shown, times = threading.Event(), []

        def note(connection: socket, asked: Asked, times: list[float] = times) -> None:
            times.append(time.monotonic())

        def saw(text: str, shown: threading.Event = shown, times: list[float] = times) -> None:
            times.append(time.monotonic())
            shown.set()

        with ScriptedServer(say(head, 0.02, note, first, shown, second, end)) as server:
            send(server, dialect, road, seen=saw).ok("你好", of=name)
            assert times[1] - times[0] <= 0.2, name
            assert len(server.posts) == 1
