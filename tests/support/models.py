"""What the rows have in common: models for a server, handlers that listen, scripts that count."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler

from chatglm_magic import ChatGLM, LocalServer

from .servers import Asked, Script, ScriptedServer, answer, chunk, legacy

DIALECTS = ("chatglm", "openai")

both = pytest.mark.parametrize("dialect", DIALECTS)
"""A row that holds in both dialects."""

SMALL = {"temperature": 0, "max_token": 64}
"""Steady and short answers of the built-in model."""


def make_model(server: ScriptedServer, dialect: str, **fields: Any) -> ChatGLM:
    """Return a model that asks this scripted server in this dialect."""
    return ChatGLM(endpoint_url=endpoint_of(server, dialect), **fields)


def endpoint_of(server: ScriptedServer, dialect: str) -> str:
    """Return the endpoint of a scripted server in this dialect."""
    return server.url + ("v1" if dialect == "openai" else "")


def make_local_model(server: LocalServer, dialect: str, **fields: Any) -> ChatGLM:
    """Return a model that asks the local server in this dialect, greedily."""
    url = server.url if dialect == "openai" else server.base_url
    return ChatGLM(endpoint_url=url, api_key=server.token, **(SMALL | fields))


def read_prompt(body: Any) -> str:
    """Return the question in a body of either dialect."""
    return str(body["messages"][-1]["content"] if "messages" in body else body["prompt"])


def read_history(body: Any) -> list[list[str]]:
    """Return the conversation in a body of either dialect, as pairs."""
    if "messages" not in body:
        return list(body["history"])
    told = [message["content"] for message in body["messages"][:-1]]
    return [list(pair) for pair in zip(told[::2], told[1::2], strict=True)]


def reply_with(text: str | Callable[[str], str]) -> Script:
    """Answer in the dialect of the question; the text may depend on the prompt."""

    def script(connection: socket.socket, asked: Asked) -> None:
        said = text(read_prompt(asked.body)) if callable(text) else text
        (answer(said) if "messages" in asked.body else legacy(said))(connection, asked)

    return script


class Notes:
    """What a handler was told of each run."""

    def __init__(self) -> None:
        self.starts: list[tuple[str, tuple[str, ...], dict[str, Any]]] = []
        self.tokens: list[str] = []
        self.infos: list[dict[str, Any]] = []
        self.ends: list[str] = []
        self.errors: list[BaseException] = []

    def start(self, prompts: list[str], tags: Any, metadata: Any) -> None:
        self.starts += [(prompt, tuple(tags or ()), dict(metadata or {})) for prompt in prompts]

    def token(self, token: str, chunk: Any) -> None:
        self.tokens.append(token)
        self.infos.append(dict(chunk.generation_info or {}))

    def end(self, response: Any) -> None:
        self.ends += [generations[0].text for generations in response.generations]


class Heard(Notes, BaseCallbackHandler):
    """A handler of the ordinary kind."""

    def on_llm_start(self, serialized: Any, prompts: list[str], *, tags: Any = None, **more: Any) -> None:
        self.start(prompts, tags, more.get("metadata"))

    def on_llm_new_token(self, token: str, *, chunk: Any = None, **more: Any) -> None:
        self.token(token, chunk)

    def on_llm_end(self, response: Any, **more: Any) -> None:
        self.end(response)

    def on_llm_error(self, error: BaseException, **more: Any) -> None:
        self.errors.append(error)


class AsyncHeard(Notes, AsyncCallbackHandler):
    """A handler of the asynchronous kind."""

    async def on_llm_start(self, serialized: Any, prompts: list[str], *, tags: Any = None, **more: Any) -> None:
        self.start(prompts, tags, more.get("metadata"))

    async def on_llm_new_token(self, token: str, *, chunk: Any = None, **more: Any) -> None:
        self.token(token, chunk)

    async def on_llm_end(self, response: Any, **more: Any) -> None:
        self.end(response)

    async def on_llm_error(self, error: BaseException, **more: Any) -> None:
        self.errors.append(error)


class Crowd:
    """A script that holds each question until ``full`` are here, and a moment longer for more to come."""

    def __init__(self, full: int, patience: float = 5.0, script: Script | None = None) -> None:
        self.most = 0
        self._full, self._patience, self._here = full, patience, 0
        self._script = script or reply_with(lambda prompt: f"答{prompt}")
        self._lock, self._all = threading.Lock(), threading.Event()

    def __call__(self, connection: socket.socket, asked: Asked) -> None:
        with self._lock:
            self._here += 1
            self.most = max(self.most, self._here)
            if self._here >= self._full:
                self._all.set()
        if self._all.wait(self._patience):
            time.sleep(0.02)
        with self._lock:
            self._here -= 1
        self._script(connection, asked)


class CountingServer(ScriptedServer):
    """Counts the connections that were made, and those that are open."""

    def __init__(self, *scripts: Script, **options: Any) -> None:
        super().__init__(*scripts, **options)
        self.made = self.open = 0
        self._counting = threading.Lock()

    def _serve(self, connection: socket.socket) -> None:
        with self._counting:
            self.made, self.open = self.made + 1, self.open + 1
        try:
            super()._serve(connection)
        finally:
            with self._counting:
                self.open -= 1


def clean_stream(*texts: str, apart: float = 0.0, header: str = "") -> Script:
    """Stream an answer in chunks of HTTP/1.1, and keep the connection; ``apart`` delays the end of the body.

    ``header`` is a further header line.
    """

    def script(connection: socket.socket, asked: Asked) -> None:
        events = [json.dumps(chunk(text)) for text in texts]
        events += [json.dumps(chunk(None, finish_reason="stop")), "[DONE]"]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        head += f"{header}\r\n\r\n".encode() if header else b"\r\n"
        parts = [f"data: {event}\n\n".encode() for event in events]
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
        if apart:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(head + body)
            time.sleep(apart)
            connection.sendall(b"0\r\n\r\n")
        else:
            connection.sendall(head + body + b"0\r\n\r\n")

    return script


async def _abatch_as_completed(llm: Any, prompts: list[str], *args: Any, **more: Any) -> list[Any]:
    found = {index: answer async for index, answer in llm.abatch_as_completed(prompts, *args, **more)}
    return [found[index] for index in range(len(prompts))]


def _batch_as_completed(llm: Any, prompts: list[str], *args: Any, **more: Any) -> list[Any]:
    found = dict(llm.batch_as_completed(prompts, *args, **more))
    return [found[index] for index in range(len(prompts))]


WAYS: dict[str, Callable[..., list[Any]]] = {
    "batch": lambda llm, *args, **more: llm.batch(*args, **more),
    "abatch": lambda llm, *args, **more: asyncio.run(llm.abatch(*args, **more)),
    "batch_as_completed": _batch_as_completed,
    "abatch_as_completed": lambda llm, *args, **more: asyncio.run(_abatch_as_completed(llm, *args, **more)),
}
ways = pytest.mark.parametrize("way", WAYS)
"""A row that holds for every kind of batch."""


async def ainvoke_in_turn(llm: ChatGLM, count: int) -> None:
    """Send so many requests, each after the end of the one before."""
    for _ in range(count):
        assert await llm.ainvoke("x")
