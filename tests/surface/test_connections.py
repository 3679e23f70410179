"""Connections are pooled, stay apart after a fork, are not pickled, and are closed when their object goes."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from chatglm_magic import ChatGLM, LocalServer

from ..support.local_servers import wait_for
from ..support.models import (
    CountingServer,
    ainvoke_in_turn,
    both,
    clean_stream,
    endpoint_of,
    make_local_model,
    make_model,
    reply_with,
)
from ..support.servers import answer

ROADS: dict[str, Callable[[ChatGLM, int], object]] = {
    "invoke": lambda llm, count: [llm.invoke("x") for _ in range(count)],
    "stream": lambda llm, count: ["".join(llm.stream("x")) for _ in range(count)],
    "ainvoke": lambda llm, count: asyncio.run(ainvoke_in_turn(llm, count)),
    "batch": lambda llm, count: llm.batch(["x"] * count, {"max_concurrency": 1}),
    "batches": lambda llm, count: [llm.batch(["x"]) for _ in range(count)],
}
roads = pytest.mark.parametrize("road", ROADS)


@roads
@pytest.mark.parametrize(
    ("dialect", "script"),
    [
        pytest.param("chatglm", reply_with("ok"), id="chatglm"),
        pytest.param("openai", clean_stream("o", "k"), id="openai"),
        pytest.param("openai", clean_stream("o", "k", apart=0.01), id="openai-end_apart"),
    ],
)
def test_connections_pooled(dialect: str, script: Any, road: str) -> None:
    """Twenty questions in a row go over one connection, where the server keeps it."""
    with CountingServer(script) as server:
        ROADS[road](make_model(server, dialect), 20)
        assert (len(server.posts), server.made) == (20, 1)


@both
def test_connections_pooled__of_the_local_server(dialect: str, local: LocalServer) -> None:
    """The real server's connections can be asked over again and again, by both roads in turn."""
    llm = make_local_model(local, dialect, max_token=32)
    answers = {
        *(llm.invoke("hi") for _ in range(5)),
        *llm.batch(["hi"] * 5),
        *(llm.batch(["hi"])[0] for _ in range(5)),
    }
    assert len(answers) == 1 and all(answers)


@roads
def test_connections_pooled__not_where_the_server_closes(road: str) -> None:
    """openai: a server that closes after each answer is asked over new connections, and none stays open."""
    with CountingServer(answer("ok")) as server:
        llm = make_model(server, "openai")
        ROADS[road](llm, 5)
        assert server.made == 5
        wait_for(lambda: server.open == 0, 2)


@both
def test_connections_pooled__for_many_threads(dialect: str) -> None:
    """Threads that ask at the same time need a connection each at most, and all are used again."""
    with CountingServer(clean_stream("ok") if dialect == "openai" else reply_with("ok")) as server:
        llm = make_model(server, dialect)

        def ask() -> None:
            for _ in range(5):
                llm.invoke("x")

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(server.posts) == 20 and server.made <= 4


@both
@pytest.mark.parametrize("road", ["invoke", "batch", "ainvoke"])
def test_connections_closed(dialect: str, road: str) -> None:
    """The connections go with their object, without a call of close()."""
    with CountingServer(clean_stream("ok") if dialect == "openai" else reply_with("ok")) as server:
        llm: Any = make_model(server, dialect)
        ROADS[road](llm, 3)
        assert server.made >= 1
        del llm
        gc.collect()
        wait_for(lambda: server.open == 0, 2)


@both
@pytest.mark.parametrize("road", ["invoke", "batch", "ainvoke"])
def test_connections_closed__out_of_a_cycle(dialect: str, road: str, caplog: pytest.LogCaptureFixture) -> None:
    """An object that the garbage collector has to find, as one in a traceback, goes as quietly."""
    with CountingServer(clean_stream("ok") if dialect == "openai" else reply_with("ok")) as server:
        cycle: list[Any] = [make_model(server, dialect)]
        cycle.append(cycle)
        ROADS[road](cycle[0], 3)
        del cycle
        gc.collect()
        wait_for(lambda: server.open == 0, 2)
    assert [record.getMessage() for record in caplog.records] == []


@both
def test_connections_closed__by_close(dialect: str) -> None:
    """close() closes all that is idle; the next question opens a new one; closing again does no harm."""
    with CountingServer(clean_stream("ok") if dialect == "openai" else reply_with("ok")) as server:
        llm = make_model(server, dialect)
        llm.close()
        for _ in range(2):
            llm.invoke("x")
            llm.batch(["x", "x"])
            llm.close()
            llm.close()
            wait_for(lambda: server.open == 0, 2)
        assert len(server.posts) == 6


@both
@pytest.mark.parametrize("road", ["invoke", "stream", "ainvoke", "batch"])
def test_connections_closed__while_asking(dialect: str, road: str) -> None:
    """close() is about idle connections: a question that is under way gets its answer."""
    closed = threading.Event()

    def late(connection: Any, asked: Any) -> None:
        closed.wait(5)
        time.sleep(0.05)
        reply_with("ok")(connection, asked)

    def close() -> None:
        wait_for(lambda: server.posts, 5)
        llm.close()
        closed.set()

    with CountingServer(late) as server:
        llm = make_model(server, dialect)
        closing = threading.Thread(target=close)
        closing.start()
        ROADS[road](llm, 1)
        closing.join()
        assert len(server.posts) == 1


@both
def test_connections_closed__with_a_loop_that_ends(dialect: str) -> None:
    """A loop of the user's takes its connections along, and the object works on the next loop."""
    with CountingServer(clean_stream("ok") if dialect == "openai" else reply_with("ok")) as server:
        llm = make_model(server, dialect)
        for _ in range(3):
            asyncio.run(ainvoke_in_turn(llm, 3))
            wait_for(lambda: server.open == 0, 2)
        assert len(server.posts) == 9


QUIET = """
import asyncio, sys
from chatglm_magic import ChatGLM
for url in sys.argv[1:]:
    for _ in range(2):  # the first one goes, the last one is there at the end
        llm = ChatGLM(endpoint_url=url)
        llm.invoke("x"), llm.batch(["x", "y"]), list(llm.batch_as_completed(["x"])), asyncio.run(llm.ainvoke("x"))
        stream = llm.stream("x")
        next(stream)
"""


def test_connections_closed__without_a_word_at_exit() -> None:
    """A process that has asked in every way ends at once and says nothing of unclosed connections."""
    with CountingServer(reply_with("ok")) as chatglm, CountingServer(clean_stream("o", "k")) as openai:
        urls = endpoint_of(chatglm, "chatglm"), endpoint_of(openai, "openai")
        command = [sys.executable, "-W", "always::ResourceWarning", "-c", QUIET, *urls]
        done = subprocess.run(command, capture_output=True, text=True, timeout=25)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@both
def test_connections_fork(dialect: str) -> None:
    """After a fork the child asks over connections of its own, and the parent's are as they were."""
    script = clean_stream("a", "a") if dialect == "openai" else reply_with(lambda prompt: prompt * 2)
    with CountingServer(script) as server:
        command = [sys.executable, "-m", "tests.support.forking", endpoint_of(server, dialect)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=25)
        assert (done.stdout, done.stderr) == ("True 0 True True\n", "")
        assert len(server.posts) == 25


@both
def test_connections_pickling(dialect: str) -> None:
    """An object that has asked can be pickled; what comes back opens connections of its own."""
    with CountingServer(clean_stream("ok") if dialect == "openai" else reply_with("ok")) as server:
        llm = make_model(server, dialect)
        llm.invoke("x")
        llm.batch(["x", "x"])
        made, back = server.made, pickle.loads(pickle.dumps(llm))  # noqa: S301 - our own bytes
        back.invoke("x")
        back.batch(["x"])
        assert server.made > made
        back.close()
        assert llm.invoke("x") == "ok" and llm.batch(["x"]) == ["ok"]
