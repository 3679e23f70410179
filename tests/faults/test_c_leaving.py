"""Rows C32 and C33: a caller who has had enough is heard by the server within a second."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from socket import socket
from typing import Any

import pytest

from chatglm_magic import ChatGLM

from ..support.fault_requests import make_model, v1
from ..support.fault_scripts import STREAM, good, piece, say, stay
from ..support.servers import Asked, ScriptedServer

SECOND = 1.0


@contextmanager
def silence(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing is warned of, and nothing logged: no connection or task is left to the collector."""
    gc.collect()  # what earlier tests have left is not ours
    caplog.clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(warning.message) for warning in warned] == []
    assert [record.getMessage() for record in caplog.records] == []


def break_off(llm: ChatGLM) -> None:
    for _ in llm.stream("hi"):
        break


def close(llm: ChatGLM) -> None:
    stream: Any = llm.stream("hi")
    next(stream)
    stream.close()


def forget(llm: ChatGLM) -> None:
    stream = llm.stream("hi")
    next(stream)
    del stream


def fail(llm: ChatGLM) -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in llm.stream("hi"):
            raise ZeroDivisionError


async def abreak_off(llm: ChatGLM) -> None:
    async for _ in llm.astream("hi"):
        break


async def aclose(llm: ChatGLM) -> None:
    async with aclosing(llm.astream("hi")) as stream:  # type: ignore[type-var]
        await anext(stream)


async def aforget(llm: ChatGLM) -> None:
    stream = llm.astream("hi")
    await anext(stream)
    del stream


async def afail(llm: ChatGLM) -> None:
    with pytest.raises(ZeroDivisionError):
        async for _ in llm.astream("hi"):
            raise ZeroDivisionError
    gc.collect()


WAYS: dict[str, list[Callable[[ChatGLM], Any]]] = {
    "sync": [break_off, close, forget, fail],
    "async": [abreak_off, aclose, aforget, afail],
}


@pytest.mark.row("C32")
@v1
def test_leaving_early(dialect: str, road: str, caplog: pytest.LogCaptureFixture) -> None:
    """Broken off, closed, forgotten or failed: the connection closes in silence, and another question works."""

    async def left(llm: ChatGLM, leave: Any, server: ScriptedServer) -> None:
        await leave(llm)
        await asyncio.to_thread(server.wait_closed, server.posts[0], SECOND, leave)
        assert await llm.ainvoke("again") == "你好"

    with silence(caplog):
        for leave in WAYS[road]:
            with ScriptedServer(say(STREAM, piece("a"), stay), good(dialect)) as server:
                llm = make_model(server, dialect)
                if road == "async":
                    asyncio.run(left(llm, leave, server))
                else:
                    leave(llm)
                    server.wait_closed(server.posts[0], SECOND, of=leave)
                    assert llm.invoke("again") == "你好"
                assert len(server.posts) == 2
        del llm


@pytest.mark.row("C33")
@v1
def test_cancelled_inside_an_event(dialect: str, road: str, caplog: pytest.LogCaptureFixture) -> None:
    """A cancelled task, and an interrupted call, end as they should, and the connection closes."""
    half = threading.Event()

    def halfway(connection: socket, asked: Asked) -> None:
        half.set()
        if road == "sync":
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    async def cancelled(llm: ChatGLM, seen: list[str]) -> None:
        async def consume() -> None:
            async for text in llm.astream("hi"):
                seen.append(text)

        task = asyncio.create_task(consume())
        await asyncio.to_thread(half.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(server.wait_closed, server.posts[0], SECOND)
        assert await llm.ainvoke("again") == "你好"

    script = say(STREAM, piece("a"), 0.05, piece("好")[:30], 0.05, halfway, stay)
    with ScriptedServer(script, good(dialect)) as server, silence(caplog):
        llm, seen = make_model(server, dialect, with_history=True), []
        if road == "async":
            asyncio.run(cancelled(llm, seen))
        else:
            with pytest.raises(KeyboardInterrupt):
                seen += llm.stream("hi")
            server.wait_closed(server.posts[0], SECOND)
            assert llm.invoke("again") == "你好"
        assert llm.history == [["again", "你好"]] and len(server.posts) == 2
        assert "".join(seen) in ("", "a")
        del llm
