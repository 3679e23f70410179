"""Thinking as a figure: its tokens, its times, and an answer that it left no room for."""

from __future__ import annotations

import json
import socket
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.lib.pretty import pretty

from chatglm_magic import Session, Turn, sweep
from chatglm_magic.render.answers import answer_text, incomplete_reason, mime_bundle
from chatglm_magic.session.draft import Draft
from chatglm_magic.store import History, Query, Store
from chatglm_magic.values import reasoning_tokens_in
from chatglm_magic.widgets.words import answer_facts

from .support.servers import Asked, Script, ScriptedServer, by_body, chunk, reply, sse

THOUGHTS = ("Hm", ", ", "let me", " see", ".")


def think(thoughts: int, answer: str = "Blue.", *, counted: int | None = None, tokens: int = 9) -> Script:
    """Stream so many pieces of thinking, and an answer; ``counted`` is the server's count of the thinking."""
    events: list[Any] = [chunk(None, reasoning_content=THOUGHTS[at % 5]) for at in range(thoughts)]
    events += [chunk(answer)] if answer else []
    usage: dict[str, Any] = {"prompt_tokens": 4, "completion_tokens": tokens}
    if counted is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": counted}
    last = chunk(None, finish_reason="stop" if answer else "length")
    return sse([*events, last | {"usage": usage}])


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session with a store of its own."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path))
    session = Session()
    yield session
    session.close()


def ask(session: Session, script: Script) -> Turn:
    """Ask a server with a script; return the turn."""
    with ScriptedServer(script) as server:
        session.settings.endpoint_url = f"{server.url}v1"
        return session.ask("Why is the sky blue?").turn


@pytest.mark.parametrize(
    ("script", "tokens"),
    [
        (think(5, counted=7), 7),
        (think(5), 5),
        (think(5, counted=0), 5),
        (think(0), None),
        (think(1), None),
        (think(5, "", counted=9), 9),
    ],
    ids=[
        "the server's count",
        "pieces",
        "none by its count",
        "no thinking",
        "one piece",
        "no answer",
    ],
)
def test_the_tokens_of_thinking_are_counted(session: Session, script: Script, tokens: int | None) -> None:
    """By the server where it does, else by the pieces; thinking that came in one piece has no count."""
    assert ask(session, script).reasoning_tokens == tokens


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, 3),
        ({"reasoning_tokens": 3}, 3),
        ({"completion_tokens_details": None}, None),
        ({"completion_tokens_details": {"reasoning_tokens": True}}, None),
        ({"completion_tokens_details": {"reasoning_tokens": -1}}, None),
        ({"completion_tokens_details": {"reasoning_tokens": "3"}}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_servers_count_is_read_where_it_is_one(usage: dict[str, Any], tokens: int | None) -> None:
    """Other values are no count."""
    assert reasoning_tokens_in(usage) == tokens


class Releasing:
    """A view that lets a server go on once thinking has come, and notes when the first token had."""

    def __init__(self) -> None:
        self.hold = threading.Event()
        self.first: list[float | None] = []

    def update(self, draft: Draft) -> None:
        """Release the server."""
        if draft.reasoning:
            self.first.append(draft.first_token)
            self.hold.set()

    def close(self, turn: Turn) -> None:
        """Nothing is shown."""


def think_and_wait(view: Releasing, *thinking: dict[str, Any]) -> Script:
    """Send what is thinking, wait until it was seen, and answer."""
    rest = [chunk("Blue."), chunk(None, finish_reason="stop")]

    def script(connection: socket.socket, asked: Asked) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for part in (thinking, rest):
            for event in part:
                connection.sendall(f"data: {json.dumps(event)}\n\n".encode())
            assert part is rest or view.hold.wait(30)
        connection.sendall(b"data: [DONE]\n\n")
        connection.shutdown(socket.SHUT_WR)

    return script


@pytest.mark.parametrize(
    "thinking",
    [[chunk(None, reasoning_content="Hm")], [chunk("Hm"), chunk(" so"), chunk("</think>")]],
    ids=["a field", "a lone tag"],
)
def test_thinking_and_answer_have_a_first_token_each(session: Session, thinking: list[dict[str, Any]]) -> None:
    """The answer's comes after what was waited for between the two; the first of all is the thinking's."""
    view = Releasing()
    with ScriptedServer(think_and_wait(view, *thinking)) as server:
        session.settings.endpoint_url = f"{server.url}v1"
        turn = session.ask("hi", view=view).turn
    assert view.first[0] is not None and turn.first_answer is not None
    assert turn.first_thinking == turn.first_token == round(view.first[0], 4) < turn.first_answer
    assert turn.answer == "Blue." and turn.reasoning.startswith("Hm")
    without = ask(session, think(0))
    assert without.first_thinking is None and without.first_answer == without.first_token


def test_an_answer_that_thinking_left_no_room_for_says_how_to_mend_it(session: Session) -> None:
    """In cell and terminal, as an error is; an answer that was cut is none of that kind."""
    empty = ask(session, think(5, "", counted=9))
    assert empty.spent_on_thinking and empty.status == "complete"
    for text in (incomplete_reason(empty), answer_text(empty), mime_bundle(empty)[0]["text/html"]):
        assert "thinking used up max_token" in text and "Raise max_token" in text
    cut = ask(session, sse([chunk("Bl"), chunk(None, finish_reason="length")]))
    nothing = ask(session, sse([chunk(None, finish_reason="length")]))
    assert not cut.spent_on_thinking and not nothing.spent_on_thinking
    assert "thinking" not in incomplete_reason(cut) + incomplete_reason(nothing)


def test_the_figures_stand_where_an_answer_is_told_of(session: Session, tmp_path: Path) -> None:
    """Footer, metadata, the panel's line, the table, the exported files; and in the store, read again."""
    turn = ask(session, think(5, counted=7))
    data, metadata = mime_bundle(turn)
    assert "9 tokens, 7 for reasoning" in data["text/html"] and ("Thinking", "7 tokens") in answer_facts(turn)
    assert metadata["chatglm"]["reasoning_tokens"] == 7 and metadata["chatglm"]["first_answer"] is not None
    assert metadata["chatglm"]["first_thinking"] == turn.first_token
    assert "Thinking" not in dict(answer_facts(ask(session, think(0))))
    row = session.history.to_dataframe().iloc[0]
    assert row["first_thinking"] == turn.first_token and not row["spent_on_thinking"]
    assert row["reasoning_tokens"] == 7 and row["first_answer"] == turn.first_answer
    path = session.history.export(tmp_path / "out.csv")
    assert "reasoning_tokens" in path.read_text(encoding="utf-8-sig").splitlines()[0]
    session.close()
    reopened = Session()
    again = next(found for found in reopened.history.all if found.id == turn.id)
    reopened.close()
    assert (again.reasoning_tokens, again.first_answer) == (7, turn.first_answer)


def test_an_older_file_gets_the_figures_and_stays_readable(tmp_path: Path) -> None:
    """A file without their columns is read, also where nobody may write to it, and written to."""
    path = tmp_path / "h.sqlite"
    old = Turn(prompt="hi", answer="ho", id=f"{1:032x}", conversation="0123456789ab")
    store = Store(path)
    store.add([(old, 0)])
    store.close()
    with sqlite3.connect(path) as db:
        for name in ("first_answer", "reasoning_tokens"):
            db.execute(f"ALTER TABLE texts DROP COLUMN {name}")
        db.execute("PRAGMA journal_mode = DELETE")
    db.close()
    path.chmod(0o400)
    store = Store(path)
    assert list(History(store, Query())) == [old]
    store.close()
    path.chmod(0o600)
    new = Turn(prompt="hi", answer="ho", reasoning_tokens=3, id=f"{2:032x}", conversation="0123456789ab")
    store = Store(path)
    store.add([(new, 1)])
    assert {turn.reasoning_tokens for turn in History(store, Query())} == {None, 3}
    store.close()


LEVELS = {"low": 2, "high": 5, "max": 8}


def think_by_level(body: dict[str, Any]) -> Script:
    """Answer as a model does that thinks more the higher the level, and at max too much for any answer."""
    level = body["reasoning_effort"]
    return think(LEVELS[level], "" if level == "max" else "Blue.", counted=LEVELS[level] * 10)


def test_a_sweep_over_thinking_has_its_figures_and_its_picture(session: Session) -> None:
    """The levels are an axis; tokens, times and empty answers are figures of its table and heat map."""
    with ScriptedServer(by_body(think_by_level)) as server:
        session.settings.endpoint_url = f"{server.url}v1"
        session.llm.model = "glm-5.3"
        result = sweep("Why?", thinking=["low", "high", "max"], samples=2, session=session, show=False)
    figures = {figure.setting["thinking"]: figure for figure in result.stats()}
    assert {level: figure.reasoning_tokens for level, figure in figures.items()} == {
        level: count * 10 for level, count in LEVELS.items()
    }
    assert [figures[level].spent_on_thinking for level in LEVELS] == [0, 0, 1]
    assert all(figures[level].first_answer is not None for level in ("low", "high"))
    assert figures["max"].first_answer is None
    picture = result.plot("reasoning_tokens")
    assert "Reasoning tokens" in picture._repr_html_() and "80" in pretty(picture)
    assert "thinking" in result.plot("spent_on_thinking")._repr_html_()
    frame = result.to_dataframe()
    assert set(frame["reasoning_tokens"]) == {20, 50, 80}


def test_a_whole_answer_has_the_servers_count(session: Session) -> None:
    """Where nothing streams there are no pieces to count, and no time between thinking and answer."""
    message = {"role": "assistant", "content": "Blue.", "reasoning_content": "Hm."}
    usage = {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 6}}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    turn = ask(session, reply(body))
    assert (turn.reasoning, turn.reasoning_tokens) == ("Hm.", 6)
