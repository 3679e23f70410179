"""An answer in the form of LangChain's serialized objects stays text: nothing is made of it or looked up."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumps, loads

from chatglm_magic import ChatGLM, Session, Turn
from chatglm_magic.render.answers import mime_bundle

from .support.canary import travel
from .support.servers import ScriptedServer, answer, chunk, legacy, reply, sse

SECRET = {"lc": 1, "type": "secret", "id": ["HOME"]}
TEXT = json.dumps(SECRET)


@pytest.mark.row("S30")
def test_langchain_does_read_such_a_text() -> None:
    """The control: its own loader makes of it what the environment says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert loads(TEXT, secrets_from_env=True) == os.environ["HOME"]


@pytest.mark.row("S30")
@pytest.mark.parametrize("manner", ["sync", "async", "stream", "batch"])
@pytest.mark.parametrize("ending", ["", "v1"], ids=["chatglm", "openai"])
def test_a_reply_that_is_such_a_text_stays_text(manner: str, ending: str) -> None:
    """Asked, cached, kept as a turn, exported, imported and shown: the same letters, and no secret."""
    with ScriptedServer(answer(TEXT[:9], TEXT[9:]) if ending else legacy(TEXT)) as server:
        llm = ChatGLM(endpoint_url=server.url + ending, cache=InMemoryCache())
        assert travel(manner, llm) is None
        assert llm.invoke("x") == llm.invoke("x") == TEXT
        generation = llm.generate(["y"]).generations[0][0]
        session = Session()
        session.llm = llm
        kept = session.ask(TEXT)
        turn = Turn.from_json(json.loads(json.dumps(session.turns[-1].to_json())))
        unpickled = str(pickle.loads(pickle.dumps(kept)))  # noqa: S301
        assert (turn.prompt, turn.answer, kept, unpickled) == (TEXT,) * 4
        assert json.loads(mime_bundle(turn)[0]["text/plain"]) == SECRET
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again: Any = loads(dumps(generation), secrets_from_env=True, allowed_objects="all")
        assert again.text == TEXT and os.environ["HOME"] not in repr(again)


@pytest.mark.row("S30")
def test_such_an_object_beside_the_text_stays_data() -> None:
    """Usage, model and reason are a server's own words too: dumped and loaded again, nothing is looked up."""
    odd = {**chunk("ok", finish_reason="stop"), "usage": SECRET, "model": TEXT}
    with ScriptedServer(sse([odd])) as server:
        generation = ChatGLM(endpoint_url=server.url + "v1").generate(["x"]).generations[0][0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again: Any = loads(dumps(generation), secrets_from_env=True, allowed_objects="all")
    assert os.environ["HOME"] not in repr(again) and os.environ["HOME"] not in repr(generation)
    turn = Turn.from_json({"prompt": "a", "answer": "b", "usage": SECRET, "sent": SECRET, "lc": 1, "id": ["HOME"]})
    assert os.environ["HOME"] not in repr(turn) and turn.usage == SECRET


@pytest.mark.row("S30")
def test_a_whole_body_that_is_such_an_object_is_no_answer() -> None:
    """It has another shape than an answer, and is said to."""
    with ScriptedServer(reply(SECRET)) as server:
        for ending in ("", "v1"):
            error = travel("sync", ChatGLM(endpoint_url=server.url + ending))
            assert error is not None and error.kind == "bad_shape" and os.environ["HOME"] not in str(error)
