"""What faulty servers say: bytes, framings, pauses and ends, beyond what :mod:`tests.support.servers` has."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Any

from .servers import Asked, Script, ScriptedServer, _watch, answer, chunk, legacy

Step = bytes | float | threading.Event | Script

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
"""The head of a stream that ends with its connection."""

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
"""The head of a stream in HTTP's own chunks."""

DONE = b"data: [DONE]\n\n"


def say(*steps: Step) -> Script:
    """Send bytes, wait (seconds, or for an event), or run a script, step by step."""

    def script(connection: socket.socket, asked: Asked) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for step in steps:
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, float):
                _watch(connection, asked, step)
            elif isinstance(step, threading.Event):
                until(step, connection, asked)
            else:
                step(connection, asked)

    return script


def until(event: threading.Event, connection: socket.socket, asked: Asked) -> None:
    """Wait for an event, at most 30 s; note when the client closes."""
    end = time.monotonic() + 30
    while not event.is_set() and time.monotonic() < end:
        _watch(connection, asked, 0.01)


def end(connection: socket.socket, asked: Asked) -> None:
    """End the answer with its connection, in order."""
    connection.shutdown(socket.SHUT_WR)


def reset(connection: socket.socket, asked: Asked) -> None:
    """Break the connection off: the client gets a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def gone(connection: socket.socket, asked: Asked) -> None:
    """Close the connection at once and entirely."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def stay(connection: socket.socket, asked: Asked) -> None:
    """Keep the connection open until the client closes it, at most 30 s."""
    until(threading.Event(), connection, asked)


def head(*lines: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """Return a head with these further header lines."""
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *lines, "", ""]).encode("latin-1")


def closing_body(data: bytes, *, kind: str = "application/json") -> Script:
    """Answer with a body that ends with its connection."""
    return say(head("Connection: close", kind=kind) + data, end)


def chunked(data: bytes) -> bytes:
    """Return one of HTTP's chunks."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def event(value: Any, line_end: str = "\n") -> bytes:
    """Return a server-sent event with this JSON."""
    return f"data: {json.dumps(value, ensure_ascii=False)}{line_end}{line_end}".encode()


def piece(text: str, **delta: Any) -> bytes:
    """Return the event that brings a piece of text."""
    return event(chunk(text, **delta))


def stop(reason: str = "stop") -> bytes:
    """Return the event that says why the answer ends."""
    return event(chunk(None, finish_reason=reason))


def streamed(*steps: Step) -> Script:
    """Send the head of a stream, these steps, and the end of the connection."""
    return say(STREAM, *steps, end)


def good(dialect: str, text: str = "你好") -> Script:
    """Answer as a healthy server of this dialect does."""
    return legacy(text) if dialect == "chatglm" else answer(*text)


def whole(dialect: str, text: Any = "你好", **more: Any) -> dict[str, Any]:
    """Return a whole answer in this dialect's JSON."""
    if dialect == "chatglm":
        return {"response": text, "history": [["hi", text]], "status": 200, "time": "2026-01-01 00:00:00"} | more
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "model": "test-glm", "choices": [choice]} | more


def dumped(value: Any) -> bytes:
    """Return JSON with its letters as they are."""
    return json.dumps(value, ensure_ascii=False).encode()


class Counting(ScriptedServer):
    """Counts its connections too."""

    connections = 0

    def _serve(self, connection: socket.socket) -> None:
        with self._arrived:
            self.connections += 1
        self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        super()._serve(connection)


class Slow(Counting):
    """Reads what it is sent little by little, or, without a ``pause``, not at all."""

    def __init__(self, *scripts: Script, pause: float | None = None) -> None:
        super().__init__(*scripts)
        self._pause = pause
        self._over = threading.Event()
        size = 4096 if pause is None else 2**17
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)  # what it accepts inherits this

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        super().__exit__(*exc)

    def _talk(self, connection: socket.socket) -> None:
        if self._pause is None:
            self._over.wait(30)
            self._open.discard(connection)
            connection.close()
            return
        super()._talk(_Slowly(connection, self._pause))  # type: ignore[arg-type]


class _Slowly:
    """A connection that rests before it takes the next 256 KiB."""

    def __init__(self, connection: socket.socket, pause: float) -> None:
        self._connection, self._pause = connection, pause

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def recv(self, size: int) -> bytes:
        data = b""
        time.sleep(self._pause)
        while len(data) < 2**18 and not data.endswith(b"}"):
            block = self._connection.recv(2**18)
            if not block:
                break
            data += block
        return data
