"""Rows B14 to B17: bodies that would burst the process, or only look as if they would."""

from __future__ import annotations

import gzip
import struct
import zlib
from socket import socket

import pytest

from ..support.fault_requests import both, make_model, read_whole, send
from ..support.fault_scripts import dumped, good, head, whole
from ..support.isolation import measure_memory, run_isolated
from ..support.servers import Asked, ScriptedServer, reply

MIB = 1024
"""In KiB, as the kernel counts memory."""

CAP = 64
"""MiB of a body that are read."""


@pytest.fixture(scope="session")
def bomb() -> bytes:
    """1 GiB of zeros, gzipped: the same MiB over and over, each ended so that the next can follow."""
    zeros, times = bytes(2**20), 1024
    press = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = press.compress(zeros) + press.flush(zlib.Z_FULL_FLUSH)
    last, crc = press.flush(), 0
    for _ in range(times):
        crc = zlib.crc32(zeros, crc)
    data = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + first * times + last
    return data + struct.pack("<II", crc, times * 2**20)


@pytest.mark.row("B14")
@both
def test_compression_nobody_asked_for(dialect: str, road: str, bomb: bytes) -> None:
    """What is not compressed as it says is refused; a bomb goes off in no memory; sound gzip is undone."""
    body = dumped(whole(dialect))
    bad = {
        "no gzip": reply(body, Content_Encoding="gzip"),
        "damaged gzip": reply(gzip.compress(body)[:20] + b"x" * 20, Content_Encoding="gzip"),
        "unknown": reply(body, Content_Encoding="x-rot13"),
        "brotli": reply(b"\x8b\x02\x80", Content_Encoding="br"),
    }
    for name, script in bad.items():
        with ScriptedServer(script) as server:
            send(server, dialect, road).failed("bad_encoding", of=name)
            assert len(server.posts) == 1, name
    cut = gzip.compress(body)[:-12]
    with ScriptedServer(reply(cut, Content_Encoding="gzip")) as server:
        outcome = send(server, dialect, road)
        assert outcome.error is not None and outcome.error.kind in ("bad_encoding", "incomplete"), str(outcome)
        assert len(server.posts) == 1
    for name, data in {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}.items():
        with ScriptedServer(reply(data, Content_Encoding=name)) as server:
            send(server, dialect, road).ok("你好", of=name)
            assert len(server.posts) == 1, name
    with ScriptedServer(reply(bomb, Content_Encoding="gzip")) as server:
        (outcome,), grown = run_isolated(measure_memory, [server.url], dialect, road, {})
        assert outcome.error is not None and outcome.error.kind in ("too_large", "bad_encoding"), str(outcome)
        assert grown <= (CAP + 32) * MIB and outcome.error.partial == ""
        assert len(server.posts) == 1


@pytest.mark.row("B15")
@both
def test_a_body_above_the_cap(dialect: str, road: str) -> None:
    """Reading stops at the cap, and with it the sending."""
    sent = 0

    def endless(connection: socket, asked: Asked) -> None:
        nonlocal sent
        start = dumped(whole(dialect, "x")).partition(b'"x"')[0] + b'"'
        connection.sendall(head("Connection: close") + start)
        block = b"x" * 2**20
        for _ in range(4 * CAP):
            connection.sendall(block)
            sent += 1

    with ScriptedServer(endless) as server:
        send(server, dialect, road).failed("too_large")
        server.wait_closed(server.posts[0])
        assert CAP <= sent <= CAP + 40 and len(server.posts) == 1  # 40 MiB fit into the buffers of both sockets


NESTED = b"[" * 100_000 + b"]" * 100_000
HOSTILE = {
    "deep": b'{"response":"x","choices":[],"x":' + NESTED + b"}",
    "deep alone": NESTED,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a long number": b'{"response":"x","choices":[],"x":' + b"7" * 10**7 + b"}",
    "NaN": b'{"response":"x","choices":[],"x":NaN}',
    "Infinity": b'{"response":"x","choices":[],"x":-Infinity}',
}


@pytest.mark.row("B16")
@both
def test_json_that_is_an_attack(dialect: str, road: str) -> None:
    """Depth, a number of ten million digits, words that are no JSON, a key said twice: refused."""
    twice = {
        "chatglm": b'{"response":"one","response":"two"}',
        "openai": b'{"choices":[{"index":0,"message":{"content":"one","content":"two"},"finish_reason":"stop"}]}',
    }
    for name, data in (HOSTILE | {"a key twice": twice[dialect]}).items():
        with ScriptedServer(reply(data)) as server:
            send(server, dialect, road).failed("bad_json", of=name)
            assert len(server.posts) == 1, name
    with ScriptedServer(good(dialect)) as server:
        send(server, dialect, road).ok("你好")


@pytest.mark.row("B17")
@both
def test_ten_mib_of_legal_text(dialect: str, road: str) -> None:
    """A long answer is an answer, and is kept in full."""
    text = "汉字与 text, " * (10 * 2**20 // 15)
    with ScriptedServer(reply(dumped(whole(dialect, text)))) as server:
        llm = make_model(server, dialect, with_history=True)
        read_whole(llm, road).ok(text)
        assert len(llm.history) == 1 and llm.history[0][1] == text
        assert len(server.posts) == 1
