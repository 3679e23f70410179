"""Rows A8, A10, A26 and A28: many connections, swollen headers, dead connections, a server with one hand."""

from __future__ import annotations

import threading
from collections import Counter
from socket import create_server, socket

import pytest

from ..support.clock import assert_within
from ..support.fault_requests import both, make_model, run_at_once, send, send_in_turn, send_with
from ..support.fault_scripts import (
    CHUNKED,
    DONE,
    STREAM,
    chunked,
    dumped,
    end,
    gone,
    good,
    head,
    piece,
    reset,
    say,
    stop,
    until,
    whole,
)
from ..support.isolation import WAIT, crowd_files, measure_memory, run_isolated
from ..support.servers import Asked, Script, ScriptedServer, reply

MIB = 1024
"""In KiB, as the kernel counts memory."""


def held(dialect: str, release: threading.Event) -> Script:
    """Begin an answer, and end it when released."""
    if dialect == "openai":
        return say(STREAM + piece("你"), release, piece("好") + stop() + DONE, end)
    data = dumped(whole(dialect))
    return say(head("Connection: close") + data[:10], release, data[10:], end)


@pytest.mark.row("A8")
@both
def test_more_questions_than_connections(dialect: str, road: str) -> None:
    """Threads all get through; tasks that find every connection taken, for as long as they may wait, say so."""
    if road == "sync":
        together = threading.Barrier(70)

        def script(connection: socket, asked: Asked) -> None:
            together.wait(15)  # nobody is answered before all have asked
            good(dialect)(connection, asked)

        with ScriptedServer(script) as server:
            llm = make_model(server, dialect)
            for outcome in run_at_once(*[lambda: send_with(llm, road)] * 70):
                outcome.ok("你好")
            assert len(server.posts) == 70
        return

    release = threading.Event()

    def let_go(connection: socket, asked: Asked) -> None:
        release.set()
        reply("{}")(connection, asked)

    questions, files, room = 100, 200, 200 - 128
    with ScriptedServer(held(dialect, release), on_get=let_go) as server:
        outcomes = run_isolated(crowd_files, server.url, dialect, questions, files, room)
        for outcome in outcomes[:room]:
            outcome.ok("你好")
        for outcome in outcomes[room:]:
            outcome.failed("pool_timeout")
            assert outcome.seconds >= WAIT - 0.05
            assert_within(outcome.seconds, WAIT + 0.5)
        assert len(server.posts) == room


def lines(number: int) -> bytes:
    """Return this many header lines."""
    return b"".join(b"X-%d: y\r\n" % at for at in range(number))


def endless_header(connection: socket, asked: Asked) -> None:
    """Send a header that goes on, until the client has had enough."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
    for _ in range(256):
        connection.sendall(b"x" * 2**20)


def endless_headers(connection: socket, asked: Asked) -> None:
    """Send headers, until the client has had enough."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(256):
        connection.sendall(b"X-A: y\r\n" * 2**17)


SWOLLEN = {
    "one above 64 KiB": say(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 66_000 + b"\r\n" + head()[17:], end),
    "101 of them": say(b"HTTP/1.1 200 OK\r\n" + lines(101) + head()[17:], end),
    "1000 of them": say(b"HTTP/1.1 200 OK\r\n" + lines(1000) + head()[17:], end),
    "one without end": endless_header,
    "without end": endless_headers,
}


@pytest.mark.row("A10")
@both
def test_swollen_headers(dialect: str, road: str) -> None:
    """Long headers, and many of them, are refused, and take no memory."""
    servers = [ScriptedServer(script) for script in SWOLLEN.values()]
    for server in servers:
        server.__enter__()
    try:
        outcomes, grown = run_isolated(measure_memory, [server.url for server in servers], dialect, road, {})
        for name, server, outcome in zip(SWOLLEN, servers, outcomes, strict=True):
            outcome.failed("protocol", of=name)
            assert len(server.posts) == 1, name
        assert grown < 32 * MIB
    finally:
        for server in servers:
            server.__exit__()
    many = b"HTTP/1.1 200 OK\r\n" + lines(90) + head("Connection: close")[17:]
    with ScriptedServer(say(many + dumped(whole(dialect)), end)) as server:
        send(server, dialect, road).ok("你好")  # the control


def kept(dialect: str) -> Script:
    """Answer, and leave the connection fit for another question."""
    if dialect == "chatglm":
        return reply(whole(dialect))
    return say(CHUNKED, *(chunked(part) for part in (piece("你"), piece("好"), stop() + DONE)), b"0\r\n\r\n")


@pytest.mark.row("A26")
@both
def test_a_kept_connection_that_is_dead(dialect: str, road: str) -> None:
    """However a connection ends between or under two questions, neither is asked twice."""
    ends = {"closed": gone, "half closed": end, "reset": reset}
    for name, over in ends.items():
        with ScriptedServer(say(kept(dialect), over), good(dialect)) as server:  # between the two
            first, second = send_in_turn(make_model(server, dialect), road, "one", "two")
            first.ok("你好", of=name)
            if second.error is None:
                second.ok("你好", of=name)
            else:
                second.failed("server_closed", of=name)
            assert max(Counter(post.raw for post in server.posts).values()) == 1, name
        with ScriptedServer(kept(dialect), over, good(dialect)) as server:  # as the second comes in
            first, second = send_in_turn(make_model(server, dialect), road, "one", "two")
            first.ok("你好", of=name)
            second.failed("server_closed", of=name)
            assert sorted(Counter(post.raw for post in server.posts).values()) == [1, 1], name


@pytest.mark.row("A26")
@both
def test_a_server_that_restarted(dialect: str, road: str) -> None:
    """A new server at the same port is asked once, over a new connection."""
    with ScriptedServer(kept(dialect)) as old:
        new, old_port = ScriptedServer(kept(dialect)), old.port

        def restart() -> None:
            old.__exit__()
            new._listener.close()
            new._listener = create_server(("127.0.0.1", old_port))
            new.__enter__()

        first, second = send_in_turn(make_model(old, dialect), road, "one", "two", between=restart)
        try:
            first.ok("你好")
            second.ok("你好")
            assert (len(old.posts), len(new.posts)) == (1, 1)
        finally:
            new.__exit__()


@pytest.mark.row("A28")
@both
def test_a_server_with_one_worker(dialect: str, road: str) -> None:
    """A question that has to wait for another one is answered when that is done."""
    one_at_a_time, both_in = threading.Lock(), threading.Event()

    def script(connection: socket, asked: Asked) -> None:
        if len(server.posts) == 2:
            both_in.set()
        with one_at_a_time:
            until(both_in, connection, asked)
            good(dialect)(connection, asked)

    with ScriptedServer(script) as server:
        llm = make_model(server, dialect)
        for outcome in run_at_once(lambda: send_with(llm, road, "one"), lambda: send_with(llm, road, "two")):
            outcome.ok("你好")
        assert len(server.posts) == 2
