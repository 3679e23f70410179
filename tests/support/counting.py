"""An answer that grows only as a test lets it: what stands in the page at any moment is known."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from .servers import Asked, chunk

if TYPE_CHECKING:
    from playwright.sync_api import Locator

WHOLE = "".join(f"word{n} " for n in range(30)) + "end"


class Counting:
    """A script that answers with thirty words and an end; each word is sent when the test lets it go."""

    def __init__(self) -> None:
        self._gate = threading.Semaphore(0)

    def __call__(self, connection: Any, asked: Asked) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        connection.sendall(head)
        for number in range(30):
            self._wait(connection, asked)
            self._say(connection, chunk(f"word{number} "))
        self._wait(connection, asked)
        self._say(connection, chunk("end", finish_reason="stop"))
        self._say(connection, {"choices": [], "usage": {"completion_tokens": 31}})
        connection.sendall(b"data: [DONE]\n\n")
        connection.shutdown(socket.SHUT_WR)

    def grow(self, text: Locator, words: int, sent: int = 0) -> None:
        """Let so many more words go, and read from the page that they are there, and no more than these."""
        self._gate.release(words)
        text.get_by_text(f"word{sent + words - 1}").wait_for()
        assert f"word{sent + words} " not in text.inner_text()

    def finish(self) -> None:
        """Let all the rest go."""
        self._gate.release(31)

    def _say(self, connection: socket.socket, event: Any) -> None:
        connection.sendall(f"data: {json.dumps(event)}\n\n".encode())

    def _wait(self, connection: socket.socket, asked: Asked) -> None:
        """Wait for leave to send, and note when the client closes."""
        connection.settimeout(0.01)
        while not self._gate.acquire(blocking=False):
            try:
                if not connection.recv(1):
                    asked.closed_at = time.monotonic()
                    raise ConnectionResetError("the client has gone")
            except TimeoutError:
                continue
        connection.settimeout(None)
