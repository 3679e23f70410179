"""What a session keeps: every turn when it begins, while it streams and when it ends; forks, resumes, forgets."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest

from chatglm_magic import ChatGLM, Session
from chatglm_magic.errors import ChatGLMError, ParameterError
from chatglm_magic.store import Query, Store

from .support.servers import ScriptedServer, answer, chunk, legacy, reply, sse


def session_at(url: str, store: str = "off") -> Session:
    session = Session()
    session.settings.endpoint_url = url
    session.settings.store = store
    return session


def stored(session: Session) -> list[tuple[str, str, str]]:
    return [(turn.prompt, turn.answer, turn.status) for turn in session.history]


def upper(body: dict[str, str]) -> str:
    return body["prompt"].upper()


def test_a_turn_is_stored_when_it_begins_and_while_it_streams(tmp_path: Path) -> None:
    """Another process sees the question at once, the text at most a second late, and the whole at the end."""
    hold = threading.Event()
    words = [f"word{n} " for n in range(30)]
    with ScriptedServer(sse([chunk(word) for word in words], pause=0.05, hold=hold)) as server:
        session = session_at(server.url + "v1", str(tmp_path))
        job = session.submit(session.aask("h"))
        other = Store(tmp_path / "history.sqlite")
        seen: list[str] = []
        end = time.monotonic() + 30
        while len(seen) < 2 and time.monotonic() < end:
            for row in other.find(Query(text="h")):
                assert row.turn.status == "incomplete" and row.turn.prompt == "h"
                if row.turn.answer not in seen:
                    seen.append(row.turn.answer)
            time.sleep(0.02)
        assert len(seen) == 2 and "".join(words).startswith(seen[1])
        hold.set()
        job.exception(10)
        (row,) = other.find(Query())
        assert row.turn.answer == "".join(words).rstrip() or row.turn.answer == "".join(words)
        other.close()
        session.close()


def test_a_turn_that_streams_is_written_once_a_second_at_most(tmp_path: Path) -> None:
    """A fast stream does not become a write for every token."""
    with ScriptedServer(answer(*["x "] * 400, pause=0.004)) as server:
        session = session_at(server.url + "v1", str(tmp_path))
        session.ask("the file is made", kind="live")
        watch, writes, job = sqlite3.connect(tmp_path / "history.sqlite"), set(), None
        began = time.monotonic()
        while job is None or not job.done():
            job = job or session.submit(session.aask("h"))
            writes.add(watch.execute("PRAGMA data_version").fetchone()[0])
        writes.add(watch.execute("PRAGMA data_version").fetchone()[0])  # the last write may end with the job
        watch.close()
        assert job.result().count("x") == 400 and 3 <= len(writes) <= 5 + (time.monotonic() - began)
        session.close()


def test_what_is_not_recorded_is_nowhere(tmp_path: Path) -> None:
    """record=False, which is --no-log, leaves no turn in memory and makes no file; store=off makes none either."""
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url, str(tmp_path))
        assert session.ask("secret", record=False).turn.id == ""
        assert session.turns == () and len(session.history) == 0
        session.settings.store = "off"
        session.ask("kept in memory")
        assert [turn.prompt for turn in session.history] == ["kept in memory"]
        assert not [path for path in tmp_path.rglob("*") if b"kept" in path.read_bytes()]
        session.close()


def test_chatglm_in_plain_python_never_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of one's own keeps nothing on disk."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path / "home"))
    with ScriptedServer(legacy(upper)) as server:
        llm = ChatGLM(endpoint_url=server.url, with_history=True)
        llm.invoke("x")
        llm.batch(["y", "z"])
    assert list(tmp_path.iterdir()) == []


def test_asking_again_takes_the_place_of_a_turn() -> None:
    """It sees what the old one saw; the old one is superseded, and later turns stay."""
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url)
        first = session.ask("a").turn
        second = session.ask("b").turn
        session.ask("c")
        again = session.ask("b2", replaces=second.id)
        assert server.posts[-1].body["history"] == [["a", "A"]]
        assert session.llm.history == [["a", "A"], ["b2", "B2"], ["c", "C"]]
        assert sorted(stored(session)) == [
            ("a", "A", "complete"),
            ("b", "B", "superseded"),
            ("b2", "B2", "complete"),
            ("c", "C", "complete"),
        ]
        assert [turn.prompt for turn in session.history.filter(status="complete")] == ["a", "b2", "c"]
        assert again.turn.id not in (first.id, second.id)
        with pytest.raises(ParameterError):
            session.ask("x", replaces="0" * 32)


def test_live_questions_and_sweeps_are_logged_and_never_context() -> None:
    """They see the conversation, and are no part of it."""
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url)
        session.ask("a")
        session.ask("b", kind="live")
        session.ask("c", kind="sweep", history=False)
        session.ask("d")
        assert [post.body["history"] for post in server.posts] == [[], [["a", "A"]], [], [["a", "A"]]]
        assert [turn.kind for turn in session.history] == ["chat", "live", "sweep", "chat"]
        assert session.turns_in_context == 2


def test_a_fork_knows_what_its_turn_saw() -> None:
    """Copies up to a turn, or before it; the old conversation stays, and resume goes back to it."""
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url)
        session.ask("a")
        turn = session.ask("b").turn
        session.ask("c")
        old = session.conversation
        new = session.fork(turn.id)
        assert new == session.conversation != old
        session.ask("d")
        assert server.posts[-1].body["history"] == [["a", "A"], ["b", "B"]]
        session.fork(turn.id, before=True)
        session.ask("e")
        assert server.posts[-1].body["history"] == [["a", "A"]]
        assert session.resume(old) == 3
        assert [turn.prompt for turn in session.turns] == ["a", "b", "c"]
        assert [turn.prompt for turn in session.history] == ["a", "b", "c"]
        with pytest.raises(ChatGLMError) as caught:
            session.resume("nowhere")
        assert caught.value.kind == "not_found" and "%chatglm_history --all" in str(caught.value)
        with pytest.raises(ChatGLMError):
            session.fork("f" * 32)


def test_a_conversation_outlives_its_kernel(tmp_path: Path) -> None:
    """Another session goes on where the first one ended, with the failed turns shown and not sent."""
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url, str(tmp_path))
        session.ask("a")
        session.ask("outside", history=False)
        server.scripts[:] = [reply({"detail": "down"}, status=500), legacy(upper)]
        with pytest.raises(ChatGLMError):
            session.ask("fails")
        session.close()
        later = session_at(server.url, str(tmp_path))
        assert later.resume() == 3
        later.ask("b")
        assert server.posts[-1].body["history"] == [["a", "A"]]
        assert [turn.prompt for turn in later.history] == ["a", "outside", "fails", "b"]
        assert [turn.status for turn in later.turns] == ["complete", "complete", "error", "complete"]
        later.close()


def test_an_undone_turn_stays_readable() -> None:
    """It is no context any more, and the record says that it was superseded."""
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url)
        session.ask("a")
        session.ask("b")
        assert session.undo()
        assert [turn.prompt for turn in session.turns] == ["a"] and session.turns_in_context == 1
        assert stored(session) == [("a", "A", "complete"), ("b", "B", "superseded")]


def test_delete_and_forget_leave_nothing_in_memory() -> None:
    """What is deleted is not sent either."""
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url)
        turn = session.ask("a").turn
        session.ask("b")
        assert session.delete([turn.id]) == 1
        assert session.llm.history == [["b", "B"]] and stored(session) == [("b", "B", "complete")]
        assert session.forget() == 1
        assert session.turns == () and len(session.history.all) == 0
        session.ask("c")
        assert server.posts[-1].body["history"] == []


def test_what_changed_outside_is_recorded_too() -> None:
    """session.llm.invoke and session.llm.history = … show in the record, so that a fork or a resume knows them."""
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url)
        session.ask("a")
        session.llm.invoke("b")
        session.ask("c")
        assert [turn.prompt for turn in session.history] == ["a", "b", "c"]
        session.llm.history = []
        assert [status for _, _, status in stored(session)] == ["superseded"] * 3


def test_a_loop_in_a_cell_that_runs_again_keeps_all_its_turns_in_order() -> None:
    """The new run stands where the old one stood, before what was asked later; resumed, it is the same."""
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url)
        for run in (1, 3):
            session.cell = ("loop", run)
            for word in "xyz":
                session.ask(f"{word}{run}")
            if run == 1:
                session.cell = ("later", 2)
                session.ask("later")
        expected = [["x3", "X3"], ["y3", "Y3"], ["z3", "Z3"], ["later", "LATER"]]
        assert session.llm.history == expected
        old = session.conversation
        session.reset()
        assert session.resume(old) == 7
        assert session.llm.history == expected


def test_a_parameter_goes_back_to_its_default() -> None:
    """It is no wish any more: on /v1 it is not sent."""
    with ScriptedServer(answer("ok")) as server:
        session = session_at(server.url + "v1")
        session.llm.temperature = 0.9
        session.ask("a")
        session.reset_parameter("temperature")
        session.ask("b")
        assert server.posts[0].body["temperature"] == 0.9
        assert "temperature" not in server.posts[1].body
        assert session.llm.temperature == session.settings.temperature == 0.1
        session.settings.temperature = 0.1
        session.settings.temperature = 0.2
        session.ask("c")
        assert server.posts[2].body["temperature"] == 0.2


def test_the_range_of_temperature_follows_the_server() -> None:
    """Z.ai takes 0 to 1, others as far as is known 0 to 2."""
    session = Session()
    assert session.slider_range("temperature") == (0.0, 2.0) and session.slider_range("top_p") == (0.0, 1.0)
    session.settings.endpoint_url = "https://api.z.ai/api/paas/v4"
    assert session.slider_range("temperature") == (0.0, 1.0)


def test_a_listener_that_fails_costs_no_answer() -> None:
    """Who follows the session can't break a question; the others are told."""
    told = []
    with ScriptedServer(legacy(upper)) as server:
        session = session_at(server.url)
        session.on_change(lambda: 1 // 0)
        session.on_change(lambda: told.append(1))
        assert session.ask("a") == "A" and told
