"""``history`` and ``with_history``: what was said before, and whether it grows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatglm_magic import LocalServer
from chatglm_magic.errors import ParameterError

from ..support.models import both, make_local_model, make_model, read_history, reply_with
from ..support.servers import ScriptedServer


@both
def test_field_history(dialect: str, local: LocalServer) -> None:
    """The model knows what was said before, and the object's list stays as it was given."""
    pairs = [("Tell me a joke.", "Why did the token cross the road?")]
    llm = make_local_model(local, dialect, history=pairs, max_token=200)
    assert llm.invoke("What did I just ask?") == "You asked:\n\nTell me a joke."
    assert llm.history == [list(pairs[0])] and llm.history is not pairs
    assert "not asked anything" in make_local_model(local, dialect, max_token=200).invoke("What did I just ask?")


@both
@pytest.mark.parametrize("wrong", [None, "ab", [["a"]], [["a", None]], [{"role": "user", "content": "x"}], [1]])
def test_field_history__takes_pairs_alone(dialect: str, wrong: Any) -> None:
    """What is no list of pairs is refused with the field's name, and nothing is sent."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect)
        for attempt in (
            lambda: make_model(server, dialect, history=wrong),
            lambda: setattr(llm, "history", wrong),
            lambda: llm.invoke("x", history=wrong),
        ):
            with pytest.raises(ParameterError, match="history"):
                attempt()
        assert server.posts == []


@both
@pytest.mark.parametrize("wrong", [("q",), ["a", None], "ab", 3, {"role": "user"}])
def test_field_history__changed_in_place(dialect: str, wrong: Any) -> None:
    """A pair that was appended is sent; what is none is refused as at construction, and not sent."""
    with ScriptedServer(reply_with("ok")) as server:
        llm = make_model(server, dialect, history=[["a", "b"]])
        llm.history.append(("c", "d"))
        llm.invoke("x")
        assert read_history(server.posts[0].body) == [["a", "b"], ["c", "d"]]
        llm.history.append(wrong)
        with pytest.raises(ParameterError, match="history"):
            llm.invoke("x")
        assert len(server.posts) == 1


@both
def test_field_with_history(dialect: str, local: LocalServer) -> None:
    """Each finished exchange is added, on every road that asks one question."""
    llm = make_local_model(local, dialect, with_history=True, max_token=300)

    async def later() -> list[str]:
        return [await llm.ainvoke("c"), "".join([piece async for piece in llm.astream("d")])]

    answers = [llm.invoke("a"), "".join(llm.stream("b")), *asyncio.run(later())]
    assert llm.history == [[question, said] for question, said in zip("abcd", answers, strict=True)]


@both
def test_field_with_history__sends_what_was_said(dialect: str) -> None:
    """The next question carries the exchanges before it; off again, they are sent but not added to."""
    with ScriptedServer(reply_with(lambda prompt: prompt * 2)) as server:
        llm = make_model(server, dialect, with_history=True)
        llm.invoke("a")
        llm.invoke("b")
        llm.with_history = False
        llm.invoke("c")
        told = [read_history(post.body) for post in server.posts]
        assert told == [[], [["a", "aa"]], [["a", "aa"], ["b", "bb"]]] and len(llm.history) == 2
