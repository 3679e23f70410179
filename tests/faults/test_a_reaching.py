"""Rows A1 to A12 and A27: the way to a server, and what comes back that is no answer at all."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from ..support.clock import assert_within
from ..support.fault_requests import Heard, Outcome, both, both_waiting, run_at_once, send
from ..support.fault_scripts import Slow, chunked, end, good, head, reset, say
from ..support.servers import Asked, ScriptedServer, _watch, hang, raw, reply


@contextmanager
def nobody() -> Iterator[tuple[str, int]]:
    """A port of our own at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/", bound.getsockname()[1]


@contextmanager
def blackhole() -> Iterator[tuple[str, int]]:
    """A port that answers no SYN: Linux drops them while a listener's backlog is full."""
    with socket.socket() as listener, socket.socket() as filler:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filler.connect(listener.getsockname())  # heard too
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", listener.getsockname()[1]


@pytest.mark.row("A1")
@both_waiting
def test_a_closed_port_is_tried_three_times(dialect: str, road: str, heard: Heard) -> None:
    """The error names the address and how to start a server, after two retries."""
    with nobody() as (url, port):
        error = send(url, dialect, road).failed("connect")
        assert url in str(error) and "%chatglm_serve" in str(error)
        assert heard.at(port) == ["127.0.0.1"] * 3


@pytest.mark.row("A2")
@both_waiting
def test_an_unknown_name_is_no_server(dialect: str, road: str, heard: Heard) -> None:
    """The name is looked up again once, as max_retries says; nothing is connected to, and the limit holds."""
    host = f"{dialect}-{road}.invalid"
    outcome = send(f"http://{host}:81/", dialect, road, max_retries=1)
    assert host in str(outcome.failed("connect"))
    names = [name.decode() if isinstance(name, bytes) else name for name in tuple(heard.names)]
    assert names.count(host) == 2 and heard.at(81) == []
    assert_within(outcome.seconds, 2 * 5 + 0.5 + 0.5)


@pytest.mark.row("A3")
@both_waiting
def test_a_host_that_answers_no_syn(dialect: str, road: str, heard: Heard) -> None:
    """Each attempt ends with the connect limit."""
    with blackhole() as (url, port):
        outcome = send(url, dialect, road, timeout={"connect": 0.2}, max_retries=1)
        outcome.failed("connect_timeout")
        assert heard.at(port) == ["127.0.0.1"] * 3
        assert_within(
            outcome.seconds, 2 * 0.2 + 0.5 + 0.5
        )  # the limits, the longest wait between them, and the slack


@pytest.mark.row("A4")
@both
def test_accept_then_close(dialect: str, road: str) -> None:
    """A connection that is closed without a word is no reason to send a question again."""
    with ScriptedServer(raw(b"")) as server:
        send(server, dialect, road).failed("server_closed")
        assert len(server.posts) == 1


@pytest.mark.row("A5")
@both
def test_reset_before_the_headers(dialect: str, road: str) -> None:
    """Nor is one that is reset."""
    with ScriptedServer(reset) as server:
        send(server, dialect, road).failed("server_closed")
        assert len(server.posts) == 1


@pytest.mark.row("A6")
@both_waiting
def test_silence_before_the_headers(dialect: str, road: str) -> None:
    """The limit for the first byte holds, and the question is not sent again."""
    with ScriptedServer(hang()) as server:
        outcome = send(server, dialect, road, timeout={"first_byte": 0.3})
        outcome.failed("first_byte_timeout")
        assert outcome.seconds >= 0.3 - 0.05
        assert_within(outcome.seconds, 0.3 + 0.5)
        assert len(server.posts) == 1


DRIPS = {
    "a header": (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
    "many headers": (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "the status line": (b"HTTP/1.1 200 O", b"K"),
    "one interim answer after the other": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.row("A6")
@both_waiting
def test_a_head_that_drips(dialect: str, road: str) -> None:
    """A byte now and then is no beginning of an answer: the limits hold."""

    def dripped(start: bytes, each: bytes) -> tuple[Outcome, int]:
        def script(connection: socket.socket, asked: Asked) -> None:
            connection.sendall(start)
            for _ in range(600):
                connection.sendall(each)
                _watch(connection, asked, 0.05)

        with ScriptedServer(script) as server:
            return send(server, dialect, road, timeout={"first_byte": 0.2, "total": 0.3}), len(server.posts)

    found = run_at_once(*(partial(dripped, *parts) for parts in DRIPS.values()))
    for name, (outcome, posts) in zip(DRIPS, found, strict=True):
        assert outcome.error is not None, (name, str(outcome))
        assert outcome.error.kind in ("first_byte_timeout", "total_timeout"), (name, str(outcome))
        assert posts == 1, name
        assert_within(outcome.seconds, 0.3 + 0.5, of=name)


@pytest.mark.row("A7")
@both_waiting
def test_a_server_that_stops_reading(dialect: str, road: str) -> None:
    """A question that nobody takes is given up; one that is taken slowly is not."""
    with Slow() as deaf:
        outcome = send(deaf, dialect, road, "x" * 12_000_000, timeout={"connect": 1.5})
        outcome.failed("write_timeout")
        assert (len(deaf.posts), deaf.connections) == (0, 1)
    with Slow(good(dialect), pause=0.07) as slow:
        outcome = send(slow, dialect, road, "x" * 8_000_000, timeout={"connect": 1.0})
        outcome.ok("你好")
        assert len(slow.posts) == 1 and outcome.seconds > 1.0  # longer than the limit for one block


GARBAGE = {
    "words": b"nonsense\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "bytes": bytes(range(128, 256)) * 4 + b"\r\n\r\n",
    "long": b"x" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.row("A9")
@both
def test_a_status_line_that_is_none(dialect: str, road: str) -> None:
    """Whatever answers there does not speak HTTP."""
    for name, data in GARBAGE.items():
        with ScriptedServer(raw(data)) as server:
            send(server, dialect, road).failed("protocol", of=name)
            assert len(server.posts) == 1, name


@pytest.mark.row("A11")
@both
def test_a_100_before_the_200(dialect: str, road: str) -> None:
    """An interim answer is none."""
    with ScriptedServer(say(b"HTTP/1.1 100 Continue\r\n\r\n", good(dialect))) as server:
        send(server, dialect, road).ok("你好")
        assert len(server.posts) == 1


EMPTY = {
    "204": say(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "length 0": reply(""),
    "blanks": reply(" \r\n "),
    "closed": say(head("Connection: close"), end),
    "chunked": say(head("Transfer-Encoding: chunked") + chunked(b"")),
}


@pytest.mark.row("A12")
@both
def test_an_empty_answer(dialect: str, road: str) -> None:
    """Nothing is never a success."""
    for name, script in EMPTY.items():
        with ScriptedServer(script) as server:
            send(server, dialect, road).failed("empty_reply", of=name)
            assert len(server.posts) == 1, name


@pytest.mark.row("A27")
@both
def test_localhost_where_ipv6_is_refused(
    dialect: str, road: str, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with two addresses is reached at the one that answers."""
    families = {"::1": (socket.AF_INET6, (0, 0)), "127.0.0.1": (socket.AF_INET, ())}

    def resolved(host: str, port: int, *more: Any, **options: Any) -> list[Any]:
        return [
            (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, *rest))
            for address, (family, rest) in families.items()
            if host in ("localhost", address)
        ]

    with ScriptedServer(good(dialect)) as server:
        monkeypatch.setattr(socket, "getaddrinfo", resolved)  # as a machine with both families would answer
        outcome = send(f"http://localhost:{server.port}/", dialect, road)
        outcome.ok("你好")
        assert len(server.posts) == 1
        assert_within(outcome.seconds, 5)
        assert heard.at(server.port) == ["::1", "127.0.0.1"]
