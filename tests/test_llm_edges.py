"""What a model must remember, hand over or bound: refused keys, text held back, questions at once."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic import ChatGLM, Session
from chatglm_magic.errors import ChatGLMError, IncompleteAnswerError, ParameterError, ResponseError

from .support.servers import Asked, Script, ScriptedServer, answer, by_body, chunk, legacy, raw, reply, sse

MANNERS = ("sync", "async", "stream", "astream", "batch")


def ask(llm: ChatGLM, manner: str, prompt: str = "q", **options: Any) -> str:
    """Ask one question in one of the ways there are."""
    if manner == "sync":
        return llm.invoke(prompt, **options)
    if manner == "async":
        return asyncio.run(llm.ainvoke(prompt, **options))
    if manner == "stream":
        return "".join(llm.stream(prompt, **options))
    if manner == "batch":
        return llm.batch([prompt], **options)[0]

    async def gathered() -> str:
        return "".join([piece async for piece in llm.astream(prompt, **options)])

    return asyncio.run(gathered())


def refuses_usage(body: Any) -> Script:
    """Answer as a server that refuses ``stream_options``."""
    return (
        reply({"error": {"message": "Unexpected keys: stream_options"}}, status=400)
        if "stream_options" in body
        else answer("ok")
    )


@pytest.mark.parametrize("manner", MANNERS)
def test_a_server_that_refuses_token_counts_is_asked_for_them_once(manner: str) -> None:
    """The first question is asked twice, every later one once; the other keys stay."""
    with ScriptedServer(by_body(refuses_usage)) as server:
        llm = ChatGLM(endpoint_url=server.url + "v1", temperature=0.5)
        assert [ask(llm, manner) for _ in range(3)] == ["ok"] * 3
        assert ["stream_options" in post.body for post in server.posts] == [True, False, False, False]
        assert {post.body["temperature"] for post in server.posts} == {0.5}
        with ScriptedServer(answer("other")) as other:
            assert ask(llm, manner, endpoint_url=other.url + "v1") == "other"
            assert "stream_options" in other.posts[0].body, "another server may take it"
        assert ask(llm.model_copy(), manner) == "ok"
        llm.close()


def test_a_session_asks_such_a_server_once_for_each_question() -> None:
    """By every way a notebook has."""
    with ScriptedServer(by_body(refuses_usage)) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = server.url + "v1", "off"
        session.ask("a")
        session.ask("b")
        session.submit(session.aask("c")).result(20)
        assert len(server.posts) == 4
        session.close()


def test_a_server_that_goes_on_refusing_is_asked_no_more_than_twice() -> None:
    """Its refusal stands, also where it was not asked for token counts at all."""
    refusal = reply({"error": {"message": "stream_options is wrong"}}, status=400)
    for wished, posts in ((True, 2), (False, 1)):
        with ScriptedServer(refusal) as server:
            with pytest.raises(ResponseError):
                ChatGLM(endpoint_url=server.url + "v1", stream_usage=wished).invoke("q")
            assert len(server.posts) == posts


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_question_is_asked_again_as_often_as_was_wished(count: int) -> None:
    """A busy server is asked once, and max_retries times more."""
    busy = reply({"detail": "busy"}, status=429, Retry_After="0.01")
    with ScriptedServer(busy) as server:
        with pytest.raises(ResponseError) as raised:
            ChatGLM(endpoint_url=server.url, max_retries=count).invoke("q")
        assert raised.value.kind == "rate_limit" and len(server.posts) == count + 1


@pytest.mark.parametrize(("wait", "posts"), [("120.5", 1), ("121", 1), ("1e9", 2), ("-1", 2), ("nan", 2), ("", 2)])
def test_a_wait_that_is_too_long_is_an_error_and_one_without_sense_is_none(wait: str, posts: int) -> None:
    """More than two minutes are not waited for; more than a week, or no number, is a mistake of the server."""
    busy = reply({"detail": "busy"}, status=503, Retry_After=wait)
    with ScriptedServer(busy, legacy("ok")) as server:
        llm = ChatGLM(endpoint_url=server.url, timeout={"total": 100})  # less than the wait
        if posts == 2:
            assert llm.invoke("q") == "ok"
        else:
            with pytest.raises(ResponseError, match=r"asks to wait 12\d s"):
                llm.invoke("q")
        assert len(server.posts) == posts


@pytest.mark.parametrize("name", ["model.json", "model.yaml"])
def test_a_saved_model_is_its_owners_alone(tmp_path: Path, name: str) -> None:
    """The conversation is in it, and no key."""
    llm = ChatGLM(endpoint_url="http://127.0.0.1:1/", api_key="sk-secret-key-of-mine", history=[["a", "b"]])
    llm.save(tmp_path / "new" / name)
    text = (tmp_path / "new" / name).read_text()
    assert "history" in text and "sk-secret" not in text and "api_key" not in text
    assert os.name == "nt" or (tmp_path / "new" / name).stat().st_mode & 0o777 == 0o600


class Notices:
    """A view that keeps what is told while an answer is waited for."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def update(self, draft: Any) -> None:
        self.seen += [draft.notice] if draft.notice else []

    def close(self, turn: Any) -> None:
        pass


@pytest.mark.parametrize("wait", ["-1", "0", "nan", "1e9", "soon", "١"])
def test_a_wait_without_sense_is_told_as_the_short_one_that_takes_its_place(wait: str) -> None:
    """A number below nought, none at all, or one of another script: at most half a second."""
    busy = reply({"detail": "busy"}, status=429, Retry_After=wait)
    with ScriptedServer(busy, legacy("ok")) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = server.url, "off"
        view = Notices()
        assert session.ask("q", view=view).turn.changed == ("request: retried once",)
        assert re.search(r"answered 429; retrying in 0\.[0-5] s \(1 of 2\)", view.seen[0])
        session.close()


@pytest.mark.parametrize("manner", ["sync", "async"])
@pytest.mark.parametrize("script", [raw(b""), raw(b"HTTP/1.1 200 OK\r\nContent-Le"), reply("no", status=500)])
def test_a_question_that_reached_the_server_is_not_asked_again(script: Script, manner: str) -> None:
    """It may have been answered, and paid for: the connection closed, or something failed there."""
    with ScriptedServer(script) as server:
        with pytest.raises(ChatGLMError):
            ask(ChatGLM(endpoint_url=server.url, max_retries=5), manner)
        assert len(server.posts) == 1


def test_an_account_without_money_is_not_asked_again() -> None:
    """429 means something else there."""
    with ScriptedServer(reply({"error": {"code": "1113", "message": "余额不足"}}, status=429)) as server:
        with pytest.raises(ResponseError) as raised:
            ChatGLM(endpoint_url=server.url + "v1").invoke("q")
        assert raised.value.kind == "no_money" and len(server.posts) == 1


BROKEN = [
    sse([chunk("hello"), chunk(" EN")], done=False),
    sse([chunk("hello EN"), {"error": {"message": "gone"}}]),
    sse([chunk("hello"), chunk(" "), chunk("E"), chunk("N"), "{broken"]),
]


@pytest.mark.parametrize("script", BROKEN, ids=["closed", "error", "no-json"])
@pytest.mark.parametrize("manner", MANNERS)
def test_what_was_held_back_for_a_stop_word_is_part_of_a_broken_answer(manner: str, script: Script) -> None:
    """Its beginning had come, and might have been one; the error has all that came."""
    with ScriptedServer(script) as server:
        with pytest.raises(IncompleteAnswerError) as raised:
            ask(ChatGLM(endpoint_url=server.url + "v1"), manner, stop=["END", " ENOUGH"])
        assert raised.value.partial == "hello EN"


@pytest.mark.parametrize("manner", ["sync", "async"])
def test_a_turn_that_broke_off_has_what_was_held_back_too(manner: str) -> None:
    """So it is kept, in memory and in the store."""
    with ScriptedServer(BROKEN[0]) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = server.url + "v1", "off"
        with pytest.raises(IncompleteAnswerError):
            if manner == "sync":
                session.ask("q", stop=["END"])
            else:
                session.submit(session.aask("q", stop=["END"])).result(20)
        assert [(turn.answer, turn.status) for turn in session.turns] == [("hello EN", "incomplete")]
        assert [turn.answer for turn in session.history] == ["hello EN"]
        session.close()


@pytest.mark.parametrize("manner", MANNERS)
def test_what_was_held_back_is_part_of_a_whole_answer(manner: str) -> None:
    """Unless the stop word came whole: then it and all that follows is left out."""
    with ScriptedServer(answer("hello", " EN")) as server:
        assert ask(ChatGLM(endpoint_url=server.url + "v1"), manner, stop=["END"]) == "hello EN"
    with ScriptedServer(answer("hello", " EN", "D and more")) as server:
        assert ask(ChatGLM(endpoint_url=server.url + "v1"), manner, stop=["END"]) == "hello "


class Counting:
    """Counts how many questions are under way at once; each waits until ``most`` are, or a little."""

    def __init__(self, most: int) -> None:
        self.now = self.top = 0
        self._most, self._full = most, threading.Event()
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket, asked: Asked) -> None:
        with self._lock:
            self.now += 1
            self.top = max(self.top, self.now)
            if self.now >= self._most:
                self._full.set()
        self._full.wait(5)
        with self._lock:
            self.now -= 1
        legacy("ok")(connection, asked)


@pytest.mark.parametrize(("wished", "most"), [(0, 1), (-3, 1), (1, 1), (2, 2), (None, 3)])
def test_a_batch_asks_as_many_at_once_as_was_wished_and_at_least_one(wished: int | None, most: int) -> None:
    """LangChain's max_concurrency holds, also with nought, which would wait for ever; else the field's."""
    script = Counting(most)
    with ScriptedServer(script) as server:
        llm = ChatGLM(endpoint_url=server.url, max_concurrency=3)
        config: Any = None if wished is None else {"max_concurrency": wished}

        async def batch() -> list[str]:
            return await asyncio.wait_for(llm.abatch(["q"] * 6, config), 20)

        assert asyncio.run(batch()) == ["ok"] * 6
        assert script.top == most


def test_a_field_takes_no_concurrency_below_one() -> None:
    """Nor a number of retries below nought."""
    for wrong in ({"max_concurrency": 0}, {"max_concurrency": -1}, {"max_retries": -1}, {"max_retries": 101}):
        with pytest.raises(ParameterError):
            ChatGLM(**wrong)


def test_the_first_error_of_a_batch_stops_what_is_under_way() -> None:
    """And with return_exceptions it stands in its answer's place, in the order of the questions."""

    def choose(body: Any) -> Script:
        return reply({"detail": "no"}, status=500) if body["prompt"] == "b" else legacy(body["prompt"])

    with ScriptedServer(by_body(choose)) as server:
        llm = ChatGLM(endpoint_url=server.url)
        found = llm.batch(["a", "b", "c"], return_exceptions=True)
        assert [found[0], type(found[1]), found[2]] == ["a", ResponseError, "c"]
        with pytest.raises(ResponseError):
            llm.batch(["a", "b", "c"])


def test_the_tokens_of_several_answers_are_added_up() -> None:
    """Each name by itself; what isn't a number is left out."""
    usage = {"prompt_tokens": 2, "completion_tokens": 3}
    with ScriptedServer(answer("x", usage=usage)) as server:
        found = ChatGLM(endpoint_url=server.url + "v1").generate(["a", "b", "c"])
        assert found.llm_output is not None
        assert found.llm_output["token_usage"] == {"prompt_tokens": 6, "completion_tokens": 9}
        assert found.llm_output["model_name"] == "test-glm"


def test_what_was_changed_is_told_once_and_with_the_servers_own_words() -> None:
    """What the package changed before it asked, and what the server says it changed."""
    events = [chunk("a"), chunk("b"), chunk(None, finish_reason="stop")]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    with ScriptedServer(reply(body, kind="text/event-stream", X_ChatGLM_Changed="seed=1->2")) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = server.url + "v1", "off"
        turn = session.ask("q", top_p=0.0).turn
        expected = ("top_p: 0 sent as 0.01, the lowest that servers take", "seed=1->2")
        assert turn.changed == expected
        found = ChatGLM(endpoint_url=server.url + "v1").generate(["q"], top_p=0.0).generations[0][0]
        assert found.generation_info is not None and found.generation_info["changed"] == list(expected)
        session.close()


def test_a_deadline_counts_the_waits_between_attempts() -> None:
    """A wait that would end after it is not begun."""
    busy = reply({"detail": "busy"}, status=503, Retry_After="3")
    with ScriptedServer(busy, legacy("ok")) as server:
        with pytest.raises(ResponseError):
            ChatGLM(endpoint_url=server.url, timeout={"total": 2}).invoke("q")
        assert len(server.posts) == 1
