"""What the engine is given of a chat: whatever a text says, its role tokens are those of the template alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import requests

pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')

from chatglm_magic.server.app import bind, listen, make_app, url_of
from chatglm_magic.server.engine_client import EngineClient
from chatglm_magic.server.engine_process import Engine, EngineOptions
from chatglm_magic.server.guard import Guard
from chatglm_magic.server.models import local_model

from .support.local_servers import FIRST_SPECIAL, ROLE_TEXTS, SPECIALS, ask_engine, write_model
from .support.servers import Asked, ScriptedServer

pytestmark = pytest.mark.heavy


class Recorded(Engine):
    """A real engine behind a recorder: what it is asked can be looked at."""

    def __init__(self, model: Path) -> None:
        super().__init__(local_model(model), EngineOptions())
        self.start()
        self.real = self.url.result(20)
        self.recorder = ScriptedServer(self._pass_on, on_get=self._pass_on)
        self.recorder.__enter__()
        self.url = Future()
        self.url.set_result(self.recorder.url.rstrip("/"))

    def _pass_on(self, connection: Any, asked: Asked) -> None:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        got = requests.request(asked.method, self.real + asked.path, data=asked.raw, headers=headers, timeout=30)
        kind = got.headers["Content-Type"]
        head = (
            f"HTTP/1.1 {got.status_code} X\r\nContent-Type: {kind}\r\nContent-Length: {len(got.content)}\r\n\r\n"
        )
        connection.sendall(head.encode() + got.content)

    def role_tokens(self, messages: Any) -> list[int]:
        """Return the special tokens of a chat as the engine renders and reads it."""
        prompt = ask_engine(self, "/apply-template", {"messages": messages}).json()["prompt"]
        tokens = ask_engine(self, "/tokenize", {"content": prompt, "parse_special": True}).json()["tokens"]
        return [token for token in tokens if token >= FIRST_SPECIAL]

    def take_chats(self) -> list[Any]:
        """Return the messages of each chat that it was asked to answer since the last call."""
        bodies = [asked.body for asked in self.recorder.asked if asked.path == "/v1/chat/completions"]
        self.recorder.asked.clear()
        return [body["messages"] for body in bodies]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """An engine with a model of byte tokens, whose special ids are known."""
    started = Recorded(write_model(tmp_path_factory.mktemp("models") / "zero.gguf"))
    yield started
    started.recorder.__exit__()
    started.stop()


@pytest.fixture(scope="module")
def front(engine: Recorded) -> Iterator[str]:
    """The address of the local server's own front before that engine."""
    loop, bound, client = asyncio.new_event_loop(), bind("127.0.0.1", 0), EngineClient("zero")
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> None:
        await client.open(engine)
        await listen(make_app(client, Guard()), bound)

    asyncio.run_coroutine_threadsafe(begin(), loop).result(30)
    yield url_of(bound)

    async def end() -> None:
        await client.session().close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(end(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    bound.close()


def fields(text: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return a request for each field that takes text, with its path."""
    user = {"role": "user", "content": "hi"}
    chats = {
        "content": [{"role": "user", "content": text}],
        "parts": [{"role": "user", "content": [{"type": "text", "text": text}, {"type": "text", "text": text}]}],
        "split between parts": [
            {"role": "user", "content": [{"type": "text", "text": text[:3]}, {"type": "text", "text": text[3:]}]}
        ],
        "system": [{"role": "system", "content": text}, user],
        "assistant": [user, {"role": "assistant", "content": text}, user],
    }
    more = {"max_tokens": 1}
    found = {name: ("/v1/chat/completions", {"messages": messages, **more}) for name, messages in chats.items()}
    old = {"prompt": "hi", "history": [], "max_length": 200}
    found |= {
        "prompt": ("/", old | {"prompt": text}),
        "history's question": ("/", old | {"history": [[text, "yes"]]}),
        "history's answer": ("/", old | {"history": [["why", text]]}),
    }
    return found


@pytest.mark.parametrize("text", [*ROLE_TEXTS, "".join(SPECIALS)])
def test_no_field_brings_role_tokens_along(front: str, engine: Recorded, text: str) -> None:
    """The engine's rendering of what it was given has the role tokens of the same chat of plain words."""
    engine.take_chats()
    for name, (path, body) in fields(text).items():
        reply = requests.post(front + path, json=body, timeout=30)
        assert reply.status_code == 200, (name, reply.text)
        (given,) = engine.take_chats()
        plain = [message | {"content": "plain words"} for message in given]
        assert engine.role_tokens(given) == engine.role_tokens(plain), name


def test_the_engine_alone_takes_role_tokens_from_a_text(engine: Recorded) -> None:
    """The control: without the front the first spelling, and the bare tokens, are read as roles."""
    plain = engine.role_tokens([{"role": "user", "content": "plain words"}])
    for text in (ROLE_TEXTS[0], "".join(SPECIALS)):
        assert len(engine.role_tokens([{"role": "user", "content": text}])) > len(plain)
