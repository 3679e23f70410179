"""An interrupt cancels all that is under way: a real process, a real SIGINT, and the server that sees it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.client.timeouts import Deadline
from chatglm_magic.client.transport_errors import translate_errors

from ..support.clock import assert_within
from ..support.inside import strike_at
from ..support.interrupted import PROMPTS, WAYS
from ..support.local_servers import wait_for
from ..support.models import both, endpoint_of, make_model, reply_with
from ..support.servers import ScriptedServer, hang


@contextmanager
def asking(url: str) -> Iterator[subprocess.Popen[str]]:
    """Run the process that is interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.interrupted", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@both
def test_calling_batch__ends_at_an_interrupt(dialect: str) -> None:
    """Within a second of SIGINT the caller has its KeyboardInterrupt and every request is closed; each way."""
    with ScriptedServer(hang()) as server, asking(endpoint_of(server, dialect)) as process:
        assert process.stdin is not None and process.stdout is not None
        for way in WAYS:
            server.asked.clear()
            count = 1 if way in ("invoke", "stream") else len(PROMPTS)
            process.stdin.write(way + "\n")
            process.stdin.flush()
            wait_for(lambda count=count: len(server.posts) == count, 10)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            said = process.stdout.readline()
            assert said.startswith("interrupted"), f"{way}: {said}"
            assert_within(time.monotonic() - sent, 1.0, of=way)
            for post in server.posts:
                assert_within(server.wait_closed(post) - sent, 1.0, of=way)
            assert len(server.posts) == count, way


@pytest.mark.parametrize("place", ["__init__ call", "__init__ return", "readinto call"])
@both
def test_calling_invoke__an_interrupt_is_not_lost(dialect: str, place: str) -> None:
    """Wherever it strikes while a connection's reads are set up, the caller has its KeyboardInterrupt."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        strike_at(f"client/sync_client.py:{place}")
        with pytest.raises(KeyboardInterrupt):
            llm.invoke("0")
        assert llm.invoke("0") == "ok"


def test_calling_invoke__an_interrupt_is_raised_where_cleaning_up_failed() -> None:
    """An error that a library raises while it handles an interrupt does not take its place."""
    call = ChatGLM(endpoint_url="http://127.0.0.1:1/").plan("x").request
    with pytest.raises(KeyboardInterrupt), translate_errors(call, Deadline(call.timeouts)):
        try:
            raise KeyboardInterrupt
        finally:
            raise ValueError("read of closed file")


@both
@pytest.mark.parametrize("way", ["abatch", "agenerate", "ainvoke"])
def test_calling_abatch__ends_when_it_is_cancelled(dialect: str, way: str) -> None:
    """A cancelled task closes each of its connections within a second."""

    async def cancelled() -> None:
        llm = make_model(server, dialect)
        ask = llm.ainvoke(PROMPTS[0]) if way == "ainvoke" else getattr(llm, way)(PROMPTS)
        task = asyncio.ensure_future(ask)
        count = 1 if way == "ainvoke" else len(PROMPTS)
        await asyncio.to_thread(server.wait_posts, count)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ScriptedServer(hang()) as server:
        asyncio.run(cancelled())
        for post in server.posts:
            server.wait_closed(post, 1.0)
