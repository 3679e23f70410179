"""A scripted server on a socket: it says exactly the bytes a test wants, and keeps what it was asked."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .clock import bound


@dataclass
class Asked:
    """One request as it came in, and when its connection was seen to close."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    at: float = field(default_factory=time.monotonic)
    closed_at: float | None = None

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


Script = Callable[[socket.socket, Asked], None]


class ScriptedServer:
    """Runs one script for each question; a list of scripts is used up in order, its last one for ever.

    A GET, which is a look and no question, gets ``on_get``: by default what THUDM's api.py says to it.
    """

    def __init__(self, *scripts: Script, on_get: Script | None = None) -> None:
        self.scripts = list(scripts)
        self.on_get = on_get or reply({"detail": "Method Not Allowed"}, status=405)
        self.asked: list[Asked] = []
        self._arrived = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def posts(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.method == "POST"]

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # close() alone would not wake a thread that waits on it
            sock.close()
        self._thread.join(5)

    def close_idle(self) -> None:
        """Close all connections, as a server does that has waited long enough for the next request."""
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def wait_closed(self, asked: Asked, seconds: float = 2.0, of: object = "") -> float:
        """Wait until the client has closed the connection of a request; return when. The limit is ``seconds``."""
        end = time.monotonic() + bound(seconds)
        while asked.closed_at is None:
            assert time.monotonic() < end, f"{of or 'the connection'}: still open after {seconds:g} s"
            time.sleep(0.005)
        return asked.closed_at

    def wait_posts(self, count: int = 1, seconds: float = 30.0) -> list[Asked]:
        """Wait until so many questions have come in; return them."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.posts) >= count, seconds)
        posts = self.posts
        assert len(posts) >= count, f"{len(posts)} of {count} questions came in {seconds:g} s"
        return posts

    def wait_paths(self, paths: set[str], seconds: float = 10.0) -> None:
        """Wait until each of these paths has been asked for."""

        def find_missing() -> set[str]:
            return paths - {asked.path for asked in self.asked}

        with self._arrived:
            self._arrived.wait_for(lambda: not find_missing(), seconds)
        assert not find_missing(), f"not asked for: {sorted(find_missing())}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _next(self, asked: Asked) -> Script:
        if asked.method == "GET":
            return self.on_get
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]

    def _serve(self, connection: socket.socket) -> None:
        try:
            while asked := _read(connection):
                with self._arrived:
                    self.asked.append(asked)
                    script = self._next(asked)
                    self._arrived.notify_all()
                try:
                    script(connection, asked)
                except OSError:
                    asked.closed_at = time.monotonic()
                    return
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()


def _read(connection: socket.socket) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        block = connection.recv(65536)
        if not block:
            return None
        data += block
    head, _, raw = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    size = int(headers.get("content-length", 0))
    while len(raw) < size:
        block = connection.recv(65536)
        if not block:
            return None
        raw += block
    return Asked(method, path, headers, raw)


def raw(data: bytes, *, then_close: bool = True) -> Script:
    """Say these bytes, whatever they are."""

    def script(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(data)
        if then_close:
            connection.shutdown(socket.SHUT_WR)

    return script


def reply(body: bytes | str | Any, *, status: int = 200, kind: str = "application/json", **headers: str) -> Script:
    """Answer with one whole body; anything but text or bytes becomes JSON."""
    if not isinstance(body, bytes | str):
        body = json.dumps(body, ensure_ascii=False)
    data = body.encode() if isinstance(body, str) else body
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{extra}\r\n"
    return raw(head.encode() + data, then_close=False)


def legacy(text: str | Callable[[Any], str] = "你好") -> Script:
    """Answer as THUDM's api.py does."""

    def script(connection: socket.socket, asked: Asked) -> None:
        body = asked.body
        answer = text(body) if callable(text) else text
        history = [*body.get("history", []), [body["prompt"], answer]]
        whole = {"response": answer, "history": history, "status": 200, "time": "2026-01-01 00:00:00"}
        reply(json.dumps(whole))(connection, asked)

    return script


def chunk(text: str | None = None, **delta: Any) -> dict[str, Any]:
    """One chat.completion.chunk with a piece of content."""
    finish = delta.pop("finish_reason", None)
    content = {} if text is None else {"content": text}
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "model": "test-glm",
        "choices": [{"index": 0, "delta": content | delta, "finish_reason": finish}],
    }


def sse(
    events: Iterable[Any],
    *,
    pause: float = 0.0,
    done: bool = True,
    hold: threading.Event | None = None,
    end: str = "\n",
) -> Script:
    """Stream events; ``hold`` is waited for (at most 30 s) before the last one."""
    events = list(events)

    def script(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for number, event in enumerate(events):
            if pause:
                _watch(connection, asked, pause)
            if hold is not None and number == len(events) - 1:
                _hold(connection, asked, hold)
            data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
            connection.sendall(f"data: {data}{end}{end}".encode())
        if done:
            connection.sendall(f"data: [DONE]{end}{end}".encode())
        connection.shutdown(socket.SHUT_WR)

    return script


def answer(*texts: str, usage: dict[str, int] | None = None, **options: Any) -> Script:
    """Stream an answer in pieces, ended as it should be."""
    events: list[Any] = [chunk("", role="assistant"), *(chunk(text) for text in texts)]
    events.append(chunk(None, finish_reason="stop"))
    if usage:
        events.append({"choices": [], "usage": usage})
    return sse(events, **options)


def hang(seconds: float = 30.0) -> Script:
    """Say nothing until the client goes away."""

    def script(connection: socket.socket, asked: Asked) -> None:
        _watch(connection, asked, seconds)

    return script


def drip(seconds: float = 30.0) -> Script:
    """Send headers, and then a byte every 0.3 s."""

    def script(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            connection.sendall(b" ")
            _watch(connection, asked, 0.3)

    return script


def _hold(connection: socket.socket, asked: Asked, hold: threading.Event) -> None:
    end = time.monotonic() + 30
    while not hold.is_set() and time.monotonic() < end:
        _watch(connection, asked, 0.02)


def _watch(connection: socket.socket, asked: Asked, seconds: float) -> None:
    """Wait, and note when the client closes."""
    connection.settimeout(seconds)
    try:
        if not connection.recv(1):
            asked.closed_at = time.monotonic()
            raise ConnectionResetError("the client has gone")
    except TimeoutError:
        pass
    finally:
        connection.settimeout(None)


def by_body(choose: Callable[[Any], Script]) -> Script:
    """Answer with the script that a request's body chooses."""

    def script(connection: socket.socket, asked: Asked) -> None:
        choose(asked.body)(connection, asked)

    return script
