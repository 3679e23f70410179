"""A server on loopback, fast enough to be no bottleneck: a process of its own, answers made beforehand.

The path of a request says what it gets:

``/``                     ChatGLM's own answer, at once
``/wait/MS``              the same after so many milliseconds
``/wait/MS/v1``           OpenAI's answer after that time, as a stream if the request asks for one
``/tokens/N/v1``          a stream of N tokens, in one go
``/paced/N/v1``           a stream of N tokens, each in a write of its own, 0.5 ms apart
``/event/BYTES/v1``       a stream with one event of so many bytes
``/together/M/N/v1``      M streams of N tokens: none begins before M have been asked for

It ends when its standard input does, which is when the benchmark ends, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import ClassVar

PIECES = ("今天", "天气", "真好", "，", "我们", "去", "公园", "走走", "吧", "。")
STEPS = 20
"""In how many writes each of many streams comes."""
PATIENCE = 5.0
"""Seconds after which streams that were to begin together begin anyway."""


def body(text: str) -> bytes:
    """Return an answer in ChatGLM's own protocol."""
    whole = {"response": text, "history": [["x", text]], "status": 200, "time": "2026-01-01 00:00:00"}
    data = json.dumps(whole).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data


def chat_body(text: str) -> bytes:
    """Return a whole answer in OpenAI's protocol."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
    whole = {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "glm",
        "choices": [choice],
        "usage": usage,
    }
    data = json.dumps(whole).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data


def block(data: bytes) -> bytes:
    """Return one block of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(text: str, finish: str | None = None) -> bytes:
    """Return one event as vLLM sends it, in a block of its own."""
    chunk = {
        "id": "chatcmpl-3f0c6a1de8f84c3b9b1b0e2f6f7d9a55",
        "object": "chat.completion.chunk",
        "created": 1763801234,
        "model": "glm-5.1-fp8",
        "choices": [{"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": finish}],
    }
    return block(f"data: {json.dumps(chunk, ensure_ascii=False, separators=(',', ':'))}\n\n".encode())


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
END = event("", "stop") + block(b"data: [DONE]\n\n") + b"0\r\n\r\n"


@cache
def tokens(first: int, last: int) -> bytes:
    """Return the events of some of a stream's tokens."""
    return b"".join(event(PIECES[number % len(PIECES)]) for number in range(first, last))


@cache
def long_event(size: int) -> bytes:
    """Return a stream with one event, about ``size`` bytes of Chinese text."""
    return HEAD + event("爱" * (size // 3)) + END


def text_of(number: int) -> str:
    """Return the text that ``number`` tokens make."""
    return "".join(PIECES[at % len(PIECES)] for at in range(number))


REPLY = body("北京是首都，上海是经济中心。")
CHAT_REPLY = chat_body("好的。")


class Connection(asyncio.Protocol):
    """One client's connection."""

    waiting: ClassVar[list[Connection]] = []
    """Those that will begin together."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.received = b""
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.received) < end + 4 + size:
                return
            path = self.received[: self.received.index(b"\r\n")].split(b" ")[1].decode()
            self.streams = b'"stream":true' in self.received[end:].replace(b" ", b"")
            self.received = self.received[end + 4 + size :]
            self.answer(path.strip("/").split("/"))

    def answer(self, path: list[str]) -> None:
        """Do what the path says."""
        if path[0] == "wait":
            spoken = REPLY if "v1" not in path else HEAD + tokens(0, 3) + END if self.streams else CHAT_REPLY
            self.loop.call_later(int(path[1]) / 1000, self.write, spoken)
        elif path[0] == "tokens":
            self.write(HEAD + tokens(0, int(path[1])) + END)
        elif path[0] == "paced":
            self.write(HEAD)
            self.paced(0, int(path[1]), self.loop.time())
        elif path[0] == "event":
            self.write(long_event(int(path[1])))
        elif path[0] == "together":
            self.together(int(path[1]), int(path[2]))
        else:
            self.write(REPLY)

    def write(self, data: bytes) -> None:
        """Send, unless the client has gone."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def paced(self, number: int, last: int, began: float) -> None:
        """Send the next token when it is due, and go on."""
        if number == last:
            self.write(END)
            return
        self.write(tokens(number, number + 1))
        self.loop.call_at(began + (number + 1) * 0.0005, self.paced, number + 1, last, began)

    def together(self, streams: int, number: int) -> None:
        """Wait for the others, then let all begin."""
        self.waiting.append(self)
        if len(self.waiting) == streams:
            self.all_begin(number)
        elif len(self.waiting) == 1:
            self.loop.call_later(PATIENCE, self.all_begin, number)

    def all_begin(self, number: int) -> None:
        """Send every waiting stream's tokens, a step of each in turn."""
        begun, self.waiting[:] = list(self.waiting), []
        for each in begun:
            each.write(HEAD)
            each.step(0, number)

    def step(self, at: int, number: int) -> None:
        """Send a share of the tokens, and go on."""
        size = -(-number // STEPS)
        if at >= number:
            self.write(END)
            return
        self.write(tokens(at, min(at + size, number)))
        self.loop.call_later(0.01, self.step, at + size, number)


@contextmanager
def serving() -> Iterator[str]:
    """Run the server in a process of its own; give its address, without a slash at the end."""
    command = [sys.executable, str(Path(__file__).resolve())]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.communicate()


def end_with_input() -> None:
    """End when nobody holds the other end of standard input any more."""
    sys.stdin.read()
    os._exit(0)


async def main() -> None:
    """Serve until the input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    threading.Thread(target=end_with_input, daemon=True).start()
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
