"""Many at once: order, limits, good answers beside bad ones, the first error."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from chatglm_magic.errors import ResponseError

from ..support.clock import assert_within
from ..support.local_servers import wait_for
from ..support.models import (
    WAYS,
    CountingServer,
    Crowd,
    Heard,
    both,
    clean_stream,
    make_model,
    read_prompt,
    reply_with,
    ways,
)
from ..support.servers import Asked, Script, ScriptedServer, hang, reply

PROMPTS = [str(number) for number in range(12)]


def backwards() -> Script:
    """Answer each prompt once the one after it is answered."""
    answered = {str(number): threading.Event() for number in range(len(PROMPTS) + 1)}
    answered[str(len(PROMPTS))].set()

    def script(connection: socket.socket, asked: Asked) -> None:
        prompt = read_prompt(asked.body)
        assert answered[str(int(prompt) + 1)].wait(20)
        reply_with(lambda prompt: f"答{prompt}")(connection, asked)
        answered[prompt].set()

    return script


@both
@ways
def test_calling_batch__keeps_the_order(dialect: str, way: str) -> None:
    """Answers stand where their questions stood, though they come the other way round."""
    with ScriptedServer(backwards()) as server:
        assert WAYS[way](make_model(server, dialect), PROMPTS) == [f"答{prompt}" for prompt in PROMPTS]
        assert len(server.posts) == len(PROMPTS)


@both
def test_calling_batch_as_completed__yields_what_comes_first(dialect: str) -> None:
    """The first to come is the first to be had, while the others are still waited for."""
    with ScriptedServer(backwards()) as server:
        found = [index for index, _ in make_model(server, dialect).batch_as_completed(PROMPTS)]
    assert found[0] > found[-1] and sorted(found) == list(range(12))


@both
@ways
@pytest.mark.parametrize(
    ("field", "config", "limit"),
    [
        (3, None, 3),
        (8, {"max_concurrency": 3}, 3),
        (2, {"max_concurrency": 6}, 6),
        (9, [{"max_concurrency": 4}] * 12, 4),
        (9, {"max_concurrency": 4, "callbacks": [Heard()]}, 4),
    ],
)
def test_calling_abatch__asks_so_many_at_once(dialect: str, way: str, field: int, config: Any, limit: int) -> None:
    """The server sees as many at once as the configuration says, or the field where it says nothing."""
    crowd = Crowd(limit)
    with ScriptedServer(crowd) as server:
        answers = WAYS[way](make_model(server, dialect, max_concurrency=field), PROMPTS, config)
    assert answers == [f"答{prompt}" for prompt in PROMPTS] and crowd.most == limit


@both
@pytest.mark.parametrize("road", ["generate", "agenerate"])
def test_calling_generate__asks_so_many_at_once(dialect: str, road: str) -> None:
    """Several prompts of one call are a batch too."""
    crowd = Crowd(5)
    with ScriptedServer(crowd) as server:
        llm = make_model(server, dialect, max_concurrency=5)
        found = llm.generate(PROMPTS) if road == "generate" else asyncio.run(llm.agenerate(PROMPTS))
    assert [said[0].text for said in found.generations] == [f"答{prompt}" for prompt in PROMPTS]
    assert crowd.most == 5


def no_to(*bad: str) -> Callable[[socket.socket, Asked], None]:
    """Refuse these prompts and answer the others."""

    def script(connection: socket.socket, asked: Asked) -> None:
        refuse = read_prompt(asked.body) in bad
        (reply({"error": "no"}, status=400) if refuse else reply_with("ok"))(connection, asked)

    return script


@both
@ways
def test_calling_batch__keeps_good_answers(dialect: str, way: str) -> None:
    """With return_exceptions an error stands in the place of its answer alone."""
    with ScriptedServer(no_to("3", "7")) as server:
        found = WAYS[way](make_model(server, dialect), PROMPTS, return_exceptions=True)
    assert [n for n, said in enumerate(found) if isinstance(said, ResponseError)] == [3, 7]
    assert [said for said in found if isinstance(said, str)] == ["ok"] * 10


@both
@ways
@pytest.mark.parametrize("handlers", [[], [Heard()]], ids=["unheard", "heard"])
def test_calling_batch__stops_at_the_first_error(dialect: str, way: str, handlers: list[Any]) -> None:
    """Without it the first error is raised, what is under way is cancelled, and the rest is never asked."""
    all_here = threading.Event()

    def script(connection: socket.socket, asked: Asked) -> None:
        if len(server.posts) == 4:
            all_here.set()
        if read_prompt(asked.body) == "2":
            all_here.wait(5)
            reply({"error": "no"}, status=400)(connection, asked)
        else:
            hang()(connection, asked)

    with ScriptedServer(script) as server:
        with pytest.raises(ResponseError):
            WAYS[way](make_model(server, dialect, max_concurrency=4, callbacks=handlers), PROMPTS)
        ended = time.monotonic()
        waiting = [post for post in server.posts if read_prompt(post.body) != "2"]
        assert len(waiting) == 3
        for post in waiting:
            assert_within(server.wait_closed(post) - ended, 1.0)


@both
def test_calling_batch_as_completed__left_early_cancels_the_rest(dialect: str) -> None:
    """Who leaves the loop closes what is under way."""

    def script(connection: socket.socket, asked: Asked) -> None:
        (reply_with("ok") if read_prompt(asked.body) == "0" else hang())(connection, asked)

    with ScriptedServer(script) as server:
        for index, answer in make_model(server, dialect, max_concurrency=4).batch_as_completed(PROMPTS):
            assert (index, answer) == (0, "ok")
            break
        for post in server.posts:
            if read_prompt(post.body) != "0":
                server.wait_closed(post, 1.0)


@both
@pytest.mark.parametrize("way", ["batch", "batch_as_completed"])
def test_calling_batch__asks_nothing_after_the_first_error(dialect: str, way: str) -> None:
    """Not even where idle connections would take the next question at once."""

    def script(connection: socket.socket, asked: Asked) -> None:
        prompt = read_prompt(asked.body)
        if prompt == "warm":
            warm(connection, asked)
        elif prompt == "2":
            wait_for(lambda: sum(read_prompt(post.body) != "warm" for post in server.posts) == 4, 5)
            reply({"error": "no"}, status=400)(connection, asked)
        else:
            hang()(connection, asked)

    warm = Crowd(8, script=clean_stream("ok") if dialect == "openai" else reply_with("ok"))
    with CountingServer(script) as server:
        llm = make_model(server, dialect, max_concurrency=4)
        llm.batch(["warm"] * 8, {"max_concurrency": 8})
        assert server.made == server.open == 8
        with pytest.raises(ResponseError):
            WAYS[way](llm, PROMPTS)
        asked = [read_prompt(post.body) for post in server.posts]
        assert sorted(asked[8:]) == ["0", "1", "2", "3"]
