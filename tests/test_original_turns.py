"""The original's bugs about conversations and batches: shown in it, as control, and absent in ours."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError

from .support.servers import Asked, Script, ScriptedServer, chunk, legacy, reply, sse
from .test_original import original

__all__ = ["original"]


def test_an_answer_without_history_is_not_lost(original: Any) -> None:
    """The original ends with a bare ``KeyError`` after the answer came; ours keeps its own conversation."""
    with ScriptedServer(reply({"response": "你好"})) as server:
        with pytest.raises(KeyError):
            original(endpoint_url=server.url, with_history=True).invoke("x")
        llm = ChatGLM(endpoint_url=server.url, with_history=True)
        assert llm.invoke("x") == "你好" and llm.history == [["x", "你好"]]


def together(barrier: threading.Barrier) -> Script:
    """Answer each question only when all of them have come."""

    def script(connection: socket.socket, asked: Asked) -> None:
        barrier.wait(10)
        legacy(f"答{asked.body['prompt']}")(connection, asked)

    return script


def test_threads_do_not_race_for_the_history(original: Any) -> None:
    """Of two turns at the same time the original keeps one; ours keeps both, in whichever order they ended."""

    def kept(kind: Any) -> list[list[str]]:
        with ScriptedServer(together(threading.Barrier(2))) as server:
            llm = kind(endpoint_url=server.url, with_history=True)
            threads = [threading.Thread(target=llm.invoke, args=(prompt,)) for prompt in "ab"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(10)
            return sorted(llm.history)

    assert len(kept(original)) == 1
    assert kept(ChatGLM) == [["a", "答a"], ["b", "答b"]]


def test_a_failed_turn_is_not_recorded(original: Any) -> None:
    """The original takes a failed turn's history before it fails; ours has no trace of that turn."""
    failing = reply({"response": None, "history": [["x", None]], "status": 200})
    with ScriptedServer(failing) as server:
        theirs = original(endpoint_url=server.url, with_history=True)
        ours = ChatGLM(endpoint_url=server.url, with_history=True)
        with pytest.raises(ValueError):
            theirs.invoke("x")
        with pytest.raises(ChatGLMError):
            ours.invoke("x")
        assert (theirs.history, ours.history) == ([["x", None]], [])


@pytest.mark.parametrize("road", ["left", "broken", "cancelled"])
def test_an_unfinished_turn_is_not_recorded(road: str) -> None:
    """A stream that is left, breaks or is cancelled after its first piece adds nothing to the conversation."""
    hold = threading.Event()
    script = sse([chunk("一"), chunk("二")], done=False, hold=None if road == "broken" else hold)

    async def cancelled(llm: ChatGLM) -> None:
        first = asyncio.Event()

        async def read() -> None:
            async for _ in llm.astream("x"):
                first.set()

        task = asyncio.create_task(read())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ScriptedServer(script) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1", with_history=True)
        if road == "left":
            stream = llm.stream("x")
            assert next(stream) == "一"
            stream.close()  # type: ignore[attr-defined]
        elif road == "broken":
            with pytest.raises(ChatGLMError):
                llm.invoke("x")
        else:
            asyncio.run(cancelled(llm))
        assert llm.history == []


def test_a_batch_keeps_its_good_answers(original: Any) -> None:
    """One failure makes every item of the original's batch that error; ours keeps the others."""

    def script(connection: socket.socket, asked: Asked) -> None:
        bad = asked.body["prompt"] == "b"
        (reply("no", status=500) if bad else legacy(asked.body["prompt"] * 2))(connection, asked)

    with ScriptedServer(script) as server:
        theirs = original(endpoint_url=server.url).batch(["a", "b", "c"], return_exceptions=True)
        ours = ChatGLM(endpoint_url=server.url).batch(["a", "b", "c"], return_exceptions=True)
    assert all(isinstance(item, ValueError) for item in theirs)
    assert (ours[0], ours[2]) == ("aa", "cc") and isinstance(ours[1], ChatGLMError)


def test_a_batch_asks_at_the_same_time(original: Any) -> None:
    """The original has one question of a batch on its way at a time; ours has them all."""

    def most_at_once(kind: Any, patience: float) -> int:
        lock, all_here, here, most = threading.Lock(), threading.Event(), 0, 0

        def script(connection: socket.socket, asked: Asked) -> None:
            nonlocal here, most
            with lock:
                here += 1
                most = max(most, here)
            if here == 4:
                all_here.set()
            all_here.wait(patience)
            with lock:
                here -= 1
            legacy()(connection, asked)

        with ScriptedServer(script) as server:
            kind(endpoint_url=server.url).batch(["x"] * 4)
        return most

    assert most_at_once(original, 0.05) == 1
    assert most_at_once(ChatGLM, 5) == 4


def test_a_batch_is_no_conversation(original: Any) -> None:
    """The original's batch sends each answer with the next question; in ours no item sees another."""

    def histories(kind: Any) -> list[list[list[str]]]:
        with ScriptedServer(legacy("ok")) as server:
            llm = kind(endpoint_url=server.url, with_history=True, history=[["q", "a"]])
            llm.batch(["x", "y"])
            return [*(post.body["history"] for post in server.posts), llm.history]

    told = [["q", "a"]]
    assert histories(original) == [told, [*told, ["x", "ok"]], [*told, ["x", "ok"], ["y", "ok"]]]
    assert histories(ChatGLM) == [told] * 3
