"""A key that must show up nowhere, and the servers, roads and searches that would find it if it did."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import ssl
import threading
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import pytest
import trustme

from chatglm_magic import ChatGLM, Session
from chatglm_magic.errors import ChatGLMError

from .servers import Asked, Script, ScriptedServer, chunk, hang, legacy, raw, reply, sse

KEY = "sk-canary-QzVx7JkWq9GhTbNy"
PROMPT = "prompt-canary-MpRt4LsDf2"
SHOWN = 4
"""How many of a key's last characters a mask may show."""

PARTS = tuple(KEY[at : at + 6] for at in range(len("sk-canary-"), len(KEY) - 5))


def has_leaked(*found: object) -> bool:
    """Tell whether six characters in a row of the key stand in a text, in bytes, or in an object's repr or str."""
    for item in found:
        texts = [item.decode("latin-1")] if isinstance(item, bytes) else [str(item), repr(item)]
        if any(part in text for part in PARTS for text in texts):
            return True
    return False


class Recorder:
    """Takes any connection and keeps the bytes that come: what must stay without any."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.connections, self.data = 0, b""
        self._listener = socket.create_server((host, 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                with connection, suppress(OSError):
                    connection.settimeout(5)
                    self.data += connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 502 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


class ServerAt(ScriptedServer):
    """A scripted server at another address than 127.0.0.1; ``name`` is the host its URL says."""

    def __init__(self, host: str, *scripts: Script, name: str | None = None) -> None:
        super().__init__(*scripts)
        self._listener.close()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._name = name or (f"[{host}]" if ":" in host else host)

    @property
    def url(self) -> str:
        return f"http://{self._name}:{self.port}/"


@cache
def make_authority() -> trustme.CA:
    """Return a certificate authority that nobody trusts unasked."""
    return trustme.CA()


class TLSServer(ScriptedServer):
    """A scripted server behind TLS, with a certificate for ``names``; only whole requests are counted."""

    def __init__(self, *scripts: Script, names: tuple[str, ...] = ("127.0.0.1", "localhost")) -> None:
        super().__init__(*scripts)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        make_authority().issue_cert(*names).configure_cert(self._context)

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):  # what a client that does not trust us says
            super()._serve(self._context.wrap_socket(connection, server_side=True))


def find_other_address() -> str | None:
    """Return an address of this machine that is not loopback; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(OSError):
        sock.connect(("192.0.2.1", 9))
        return str(sock.getsockname()[0])
    return None


STREAMED = ("broken_off", "echo_events")


def interrupt_client(connection: socket.socket, asked: Asked) -> None:
    """Send this process what Ctrl-C sends, once the question has come."""
    os.kill(os.getpid(), signal.SIGINT)
    hang(10)(connection, asked)


ROADS = ("refused", "401", "bad_header", "500", "tls", "closed", "timeout", "broken_off")
"""The ways to fail that each sync and async question has; ``interrupt`` is one more of the sync one."""

ECHOES = ("echo_401", "echo_200", "echo_html", "echo_events")
"""Servers that repeat the key they were sent in what they say."""

PLACES = ("api_key", "headers", "environment")


def echo_request(where: str) -> Script:
    """Say the key that came, as servers do that explain why they don't like it."""

    def script(connection: socket.socket, asked: Asked) -> None:
        words = f"Incorrect API key provided: {asked.headers.get('authorization') or asked.headers['x-auth']}"
        says = {
            "echo_401": reply({"error": {"message": words, "code": "invalid_api_key"}}, status=401),
            "echo_200": reply({"error": words}),
            "echo_html": reply(f"<html><title>{words}</title></html>", kind="text/html"),
            "echo_events": sse([chunk("half"), {"error": {"message": words}}], done=False),
        }
        says[where](connection, asked)

    return script


@contextmanager
def open_road(name: str, place: str = "api_key") -> Iterator[ChatGLM]:
    """Give a model whose question will fail in one way, and whose key was given at one place."""
    scripts: dict[str, Script] = {
        "401": reply({"error": "Unauthorized"}, status=401),
        "500": reply("Internal Server Error", status=500, kind="text/plain"),
        "timeout": hang(),
        "broken_off": sse([chunk("half")], done=False),
        "closed": raw(b""),
        "interrupt": interrupt_client,
        **{name: echo_request(name) for name in ECHOES},
    }
    script = scripts.get(name, legacy())
    with TLSServer(script) if name == "tls" else ScriptedServer(script) as server:
        url = "http://127.0.0.1:1/" if name == "refused" else server.url + ("v1" if name in STREAMED else "")
        key = KEY + ("\r\nX: y" if name == "bad_header" else "")
        fields: dict[str, Any] = {"endpoint_url": url, "max_retries": 0}
        fields |= {"timeout": {"first_byte": 0.05}} if name == "timeout" else {}
        if place == "environment":
            os.environ["CHATGLM_API_KEY"] = key
        else:
            fields |= {"api_key": key} if place == "api_key" else {"headers": {"X-Auth": key}}
        try:
            yield ChatGLM(**fields)
        finally:
            os.environ.pop("CHATGLM_API_KEY", None)


def make_model_with_key(place: str, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> ChatGLM:
    """Return a model whose key was given at one place."""
    if place == "environment":
        monkeypatch.setenv("CHATGLM_API_KEY", KEY)
        return ChatGLM(**fields)
    return ChatGLM(**fields, **({"api_key": KEY} if place == "api_key" else {"headers": {"X-Auth": KEY}}))


def ask_by(llm: ChatGLM, way: str, prompt: str = PROMPT) -> str:
    """Ask by the sync or the async road."""
    return llm.invoke(prompt) if way == "sync" else asyncio.run(llm.ainvoke(prompt))


WAYS = ("sync", "async")
SKIPPED = (
    *(types.TracebackType, types.FrameType, types.ModuleType, type),
    *(types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.CodeType),
)


def walk_chain(error: BaseException) -> list[BaseException]:
    """Return an error with every cause and context it has."""
    found: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        item = todo.pop()
        if item is not None and all(item is not known for known in found):
            found.append(item)
            todo += [item.__cause__, item.__context__]
    return found


def walk_carried(error: BaseException) -> Iterator[str | bytes]:
    """Yield each text that an error, its causes and what they hold lead to, but by way of frames and code."""
    seen: dict[int, Any] = {}
    todo: list[Any] = list(walk_chain(error))
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, SKIPPED):
            continue
        seen[id(item)] = item
        if isinstance(item, str | bytes):
            yield item
        todo += gc.get_referents(item)


def list_frames(error: BaseException) -> Iterator[str]:
    """Yield, as a debugger would show them, the local variables of each frame of an error and of its causes."""
    for item in walk_chain(error):
        for frame, _ in traceback.walk_tb(item.__traceback__):
            for name, value in frame.f_locals.items():
                yield f"{frame.f_code.co_qualname}: {name} = {value!r}"


PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def _probe(llm: ChatGLM) -> None:
    session = Session()
    session.llm = llm
    session.probe()


MANNERS: dict[str, Callable[[ChatGLM], object]] = {
    "sync": lambda llm: llm.invoke(PROMPT),
    "async": lambda llm: asyncio.run(llm.ainvoke(PROMPT)),
    "batch": lambda llm: llm.batch([PROMPT, PROMPT]),
    "stream": lambda llm: list(llm.stream(PROMPT)),
    "probe": _probe,
    "tokens": lambda llm: llm.get_num_tokens(PROMPT),
}
"""Every manner in which this package opens a connection."""

QUIET = ("probe", "tokens")
"""Manners that make do with what they get, instead of raising."""


def travel(manner: str, llm: ChatGLM) -> ChatGLMError | None:
    """Open a connection in one manner; return the error at its end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an estimated number of tokens says that it is one
        try:
            MANNERS[manner](llm)
        except ChatGLMError as error:
            return error
    return None
