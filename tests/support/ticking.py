"""A server that says something of its own to each prompt."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable

from .servers import Asked, Script, answer, chunk, sse


def read_prompt(asked: Asked) -> str:
    """Return the question of a request in OpenAI's form."""
    return str(asked.body["messages"][-1]["content"])


def make_words(prompt: str, count: int = 12) -> list[str]:
    """Return an answer in pieces, each of which tells what it answers and its place: ``q7w0 q7w1 …``."""
    return [f"{prompt}w{number}" + " " * (number < count - 1) for number in range(count)]


def make_text(prompt: str, count: int = 12) -> str:
    """Return that answer whole."""
    return "".join(make_words(prompt, count))


def telling(
    count: int = 12, *, pause: float = 0.0, pieces: Callable[[str], Iterable[str]] | None = None
) -> Script:
    """Stream an answer of its own to each prompt, with a pause before each piece."""

    def script(connection: socket.socket, asked: Asked) -> None:
        prompt = read_prompt(asked)
        answer(*(pieces(prompt) if pieces else make_words(prompt, count)), pause=pause)(connection, asked)

    return script


def stalling(count: int) -> Script:
    """Say all but the end of an answer to each prompt, and wait until the client goes away."""

    def script(connection: socket.socket, asked: Asked) -> None:
        sse([chunk(word) for word in [*make_words(read_prompt(asked), count), ""]], hold=threading.Event())(
            connection, asked
        )

    return script


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


class Ticking:
    """Streams answers piece by piece and keeps a record of when each piece left.

    :param count: how many pieces the answer to a prompt has.
    :param pause: seconds between two pieces.
    """

    def __init__(self, count: Callable[[str], int], pause: float = 0.02) -> None:
        self._count, self._pause = count, pause
        self.sent: dict[str, list[tuple[float, str]]] = {}

    def __call__(self, connection: socket.socket, asked: Asked) -> None:
        """Answer one question."""
        prompt, told = read_prompt(asked), ""
        record = self.sent.setdefault(prompt, [])
        connection.sendall(HEAD)
        for word in make_words(prompt, self._count(prompt)):
            time.sleep(self._pause)
            connection.sendall(b"data: %s\n\n" % json.dumps(chunk(word)).encode())
            told += word
            record.append((time.monotonic(), told))
        end = json.dumps(chunk(None, finish_reason="stop")).encode()
        connection.sendall(b"data: %s\n\ndata: [DONE]\n\n" % end)
        connection.shutdown(socket.SHUT_WR)

    def before(self, prompt: str, moment: float) -> str:
        """Return the text of an answer that had left at a moment."""
        return next((told for at, told in reversed(self.sent[prompt]) if at <= moment), "")
