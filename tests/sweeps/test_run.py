"""Sweeps against servers: whole ones, failing ones, dying ones, silent ones; stopped, resumed, retried."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic import Session
from chatglm_magic.errors import ChatGLMError, Interrupted, ParameterError
from chatglm_magic.sweeps import Sweep, last
from chatglm_magic.sweeps.prepare import prepare_sweep

from ..support.clock import assert_within
from ..support.servers import Asked, Script, ScriptedServer, answer, by_body, chunk, hang, legacy, reply, sse
from ..support.sweeps import open_session, run_sweep, wait_until


def begun(session: Any, *, samples: int = 1, jobs: int = 16, prompt: Any = "p", **axes: Any) -> Sweep:
    """Begin a sweep and return at once."""
    found = prepare_sweep(prompt, axes, samples=samples, jobs=jobs, session=session, resume=None)
    found.resume(wait=False)
    return found


def asked_of(server: ScriptedServer) -> list[tuple[float, float]]:
    return [(post.body["temperature"], post.body["top_p"]) for post in server.posts]


def test_every_setting_is_asked_as_often_as_was_wished() -> None:
    """Each answer stands in the cell whose values were sent, and nothing else was."""
    with ScriptedServer(legacy(lambda body: f"{body['temperature']} {body['top_p']}")) as server:
        result = run_sweep(open_session(server.url), temperature=[0.1, 0.5], top_p="0.5:0.9:3", samples=3)
        assert Counter(asked_of(server)) == {(t, p): 3 for t in (0.1, 0.5) for p in (0.5, 0.7, 0.9)}
    assert result.complete and not result.running and len(result) == 18
    for cell in result.cells:
        assert {turn.answer for turn in cell.received} == {
            f"{cell.setting['temperature']} {cell.setting['top_p']}"
        }
        assert all(turn.kind == "sweep" and turn.asked["top_p"] == cell.setting["top_p"] for turn in cell.received)


def test_the_grid_fills_evenly() -> None:
    """One at a time, the first samples of all settings come before any second one."""
    with ScriptedServer(legacy()) as server:
        run_sweep(open_session(server.url), temperature=[0.1, 0.5, 0.9], top_p=[0.5], samples=2, jobs=1)
        assert asked_of(server) == [(t, 0.5) for t in (0.1, 0.5, 0.9)] * 2


def test_no_more_questions_are_under_way_than_jobs() -> None:
    """Each server that holds its answers gets five, and a sixth only for one that it has given."""
    release = threading.Semaphore(0)

    def script(connection: socket.socket, asked: Asked) -> None:
        assert release.acquire(timeout=20)
        legacy()(connection, asked)

    with ScriptedServer(script) as server:
        session = open_session(server.url)
        sweep = begun(session, seed=range(40), jobs=5)
        for given in range(36):
            server.wait_posts(given + 5)
            assert len(server.posts) == given + 5
            release.release()
        release.release(4)
        sweep.wait()


def test_the_conversation_is_untouched() -> None:
    """No turn is sent along, none is added, the next question sees what it saw; undo takes back no sample."""
    with ScriptedServer(legacy(lambda body: body["prompt"].upper())) as server:
        session = open_session(server.url)
        session.ask("before")
        run_sweep(session, "s", temperature=[0.1, 0.9], samples=2)
        assert [post.body["history"] for post in server.posts[1:]] == [[]] * 4
        assert [turn.prompt for turn in session.turns] == ["before"] == [turn.prompt for turn in session.history]
        session.ask("after")
        assert server.posts[-1].body["history"] == [["before", "BEFORE"]]
        undone = session.undo()
        assert undone is not None and undone.prompt == "after"


def test_every_answer_is_recorded_as_a_sweeps() -> None:
    """In the store under an id of the sweep's own, in the order of the grid."""
    with ScriptedServer(legacy()) as server:
        session = open_session(server.url)
        result = run_sweep(session, temperature=[0.1, 0.9], samples=2)
        kept = list(session.history.all.filter(kind="sweep"))
    assert sorted(turn.id for turn in kept) == sorted(turn.id for turn in result)
    assert {turn.conversation for turn in kept} == {result.id} and all(turn.outside for turn in kept)


def test_ten_failures_in_a_hundred_cost_ten_cells() -> None:
    """They are values with their reason; the rest is whole; retry asks these ten alone."""
    failing = set(range(0, 100, 10))

    def choose(body: Any) -> Script:
        return reply({"detail": "boom"}, status=500) if body["seed"] in failing else answer(str(body["seed"]))

    with ScriptedServer(by_body(choose)) as server:
        result = run_sweep(open_session(server.url + "v1"), seed=range(100))
        bad = [turn for turn in result if turn.status == "error"]
        assert {turn.asked["seed"] for turn in bad} == failing and all(
            "boom" in (turn.error or "") for turn in bad
        )
        assert sum(turn.answer == str(turn.asked["seed"]) for turn in result) == 90
        assert result.progress.failed == 10 and result.progress.done == 90 and not result.complete
        assert result.cells[0].state == "failed" and result.cells[1].state == "done"
        before = len(server.posts)
        failing.clear()
        result.retry()
        assert sorted(post.body["seed"] for post in server.posts[before:]) == list(range(0, 100, 10))
        assert result.complete and result.progress.failed == 0


def test_a_server_that_dies_half_way_leaves_the_rest_whole() -> None:
    """Nothing hangs; a server at another address can go on where it ended."""
    with ScriptedServer(legacy(lambda body: str(body["temperature"]))) as server:
        session = open_session(server.url, max_retries=0)
        result = begun(session, temperature=[n / 100 for n in range(1, 101)], jobs=2)
        wait_until(lambda: result.progress.done >= 50)
    result.wait(30)
    assert (
        not result.running
        and result.progress.done >= 50
        and result.progress.failed == 100 - result.progress.done > 0
    )
    assert all(turn.answer == str(turn.asked["temperature"]) for turn in result if turn.status == "complete")
    missing = result.progress.failed
    with ScriptedServer(legacy(lambda body: str(body["temperature"]))) as other:
        session.settings.endpoint_url = other.url
        result.retry()
        assert len(other.posts) == missing and result.complete


def test_a_cell_that_never_ends_blocks_no_other_and_ends_by_the_time_limit() -> None:
    """Nine of ten are there while it hangs; then the session's limit makes it a failure."""

    def choose(body: Any) -> Script:
        return hang() if body["temperature"] == 0.5 else legacy()

    with ScriptedServer(by_body(choose)) as server:
        session = open_session(server.url, first_byte=2.0)
        result = begun(session, temperature=[n / 10 for n in range(10)], jobs=2)
        wait_until(lambda: result.progress.done == 9, 2)
        assert result.running and result.partial.cells[5].state == "sent"
        result.wait(10)
        assert not result.running and result.partial.cells[5].received[0].status == "error"
        assert "2 s" in (result.cells[5].received[0].error or "")


def test_a_stream_that_stalls_is_kept_as_far_as_it_came() -> None:
    """The text before the time limit is there, marked as incomplete."""
    with ScriptedServer(sse([chunk("half "), chunk("never")], hold=threading.Event())) as server:
        result = run_sweep(open_session(server.url + "v1", idle=0.5), temperature=[0.1])
    (turn,) = result
    assert (turn.status, turn.answer) == ("incomplete", "half ") and turn.error


def test_stop_ends_all_within_half_a_second_and_keeps_what_came() -> None:
    """16 hanging connections are closed as the server sees it; whole and partial answers stay."""
    hold = threading.Event()

    def choose(body: Any) -> Script:
        return answer("whole") if body["seed"] < 4 else sse([chunk("part"), chunk("never")], hold=hold)

    with ScriptedServer(by_body(choose)) as server:
        result = begun(open_session(server.url + "v1"), seed=range(40), jobs=16)
        wait_until(lambda: sum(d.text == "part" for c in result.partial.cells for d in c.drafts.values()) == 16)
        began = time.monotonic()
        result.stop()
        took = time.monotonic() - began
        assert not result.running
        closed = [server.wait_closed(asked) for asked in server.posts if asked.body["seed"] >= 4]
        assert len(closed) == 16
        assert Counter(turn.status for turn in result) == {"complete": 4, "interrupted": 16}
        assert {turn.answer for turn in result if turn.status == "interrupted"} == {"part"}
        assert_within(max(took, *(at - began for at in closed)), 0.5)
        assert len(server.posts) == 20 and result.progress.running == 0


def test_a_sweep_can_be_stopped_before_its_first_question() -> None:
    """A stop that comes at once is no hang, and asks nothing later."""
    with ScriptedServer(hang()) as server:
        for _ in range(20):
            result = begun(open_session(server.url), temperature=[0.1])
            result.stop()
            assert not result.running and len(result) == 0
            result.stop()
            result.wait(1)


def test_resume_asks_only_for_what_is_missing() -> None:
    """By the server's count: what was stopped half way and what was never asked, not what is whole or failed."""
    hold = threading.Event()

    def choose(body: Any) -> Script:
        seed = body["seed"]
        if seed == 0:
            return reply({"detail": "boom"}, status=500)
        return answer(f"a{seed}") if seed < 6 or hold.is_set() else sse([chunk("x"), chunk("y")], hold=hold)

    with ScriptedServer(by_body(choose)) as server:
        result = begun(open_session(server.url + "v1"), seed=range(20), jobs=4)
        wait_until(lambda: len(server.posts) == 10 and result.progress.done == 5)
        result.stop()
        hold.set()
        before = len(server.posts)
        assert result.missing() == 14
        result.resume()
        assert sorted(post.body["seed"] for post in server.posts[before:]) == list(range(6, 20))
        assert [turn.answer for turn in result] == ["", *(f"a{n}" for n in range(1, 20))]
        assert result.missing() == 0 and len(result.resume()) == 20 and len(server.posts) == before + 14


def test_a_new_sweep_takes_over_what_another_has() -> None:
    """More samples and more settings: what was answered to the very same request is not asked again."""
    with ScriptedServer(legacy(lambda body: str(body["temperature"]))) as server:
        session = open_session(server.url)
        first = run_sweep(session, temperature=[0.1, 0.5], samples=2)
        second = run_sweep(session, temperature=[0.5, 0.9], samples=3, resume=first)
        assert len(server.posts) == 4 + (3 - 2) + 3 and second.complete
        assert [turn.id for turn in second.cells[0].received[:2]] == [turn.id for turn in first.cells[1].received]
        session.settings.system = "another"
        run_sweep(session, temperature=[0.5], samples=2, resume=first)
        assert len(server.posts) == 8 + 2, "another system prompt is another request"
        run_sweep(session, "q", temperature=[0.5], samples=2, resume=first)
        assert len(server.posts) == 10 + 2, "another prompt is another request"


def test_cells_that_differ_in_the_server_alone_are_not_mixed_up() -> None:
    """What one server has answered is not taken for the other's answer, though the request is the same."""
    with ScriptedServer(legacy(lambda body: "a")) as a, ScriptedServer(legacy(lambda body: "b")) as b:
        session, both = open_session(a.url), [a.url, b.url]
        first = run_sweep(session, endpoint_url=both, timeout=[20, 30])
        first.cells[3].turns[0] = None
        again = run_sweep(session, endpoint_url=both, timeout=[20, 30], resume=first)
        assert [turn.answer for turn in again] == ["a", "a", "b", "b"]
        assert [turn.id for turn in again][:3] == [turn.id for turn in first]
        assert (len(a.posts), len(b.posts)) == (2, 3)


class Full(Session):
    """A session that can start no thread."""

    def submit(self, *args: Any) -> Any:
        args[0].close()
        raise RuntimeError("can't start new thread")


def test_a_sweep_that_could_not_begin_is_not_under_way() -> None:
    """It can be resumed when there is room again, and nothing waits for ever."""
    with ScriptedServer(legacy()) as server:
        result = prepare_sweep("p", {"top_p": [0.1]}, samples=1, jobs=1, session=Full(), resume=None)
        result.session.settings.endpoint_url, result.session.settings.store = server.url, "off"
        for _ in range(2):
            with pytest.raises(RuntimeError, match="thread"):
                result.resume()
            assert not result.running and result.wait(1) is result and result.stop() is result
        result._session = open_session(server.url)
        assert result.resume().complete and last() is result


def test_the_last_sweep_is_the_one_that_was_resumed_last() -> None:
    """Also where that is an older one: the message of an interrupt names it."""
    with ScriptedServer(hang(), legacy()) as server:
        session = open_session(server.url)
        older = begun(session, top_p=[0.1])
        wait_until(lambda: server.posts)
        older.stop()
        newer = run_sweep(session, top_p=[0.2])
        assert last() is newer
        older.resume()
        assert last() is older


def test_a_resumed_sweep_keeps_its_parameters() -> None:
    """A slider that was moved meanwhile changes nothing: all cells are answers to one and the same request."""
    with ScriptedServer(hang(), legacy()) as server:
        session = open_session(server.url + "", system="first")
        session.settings.max_token = 77
        result = begun(session, temperature=[0.1, 0.5], jobs=1)
        wait_until(lambda: server.posts)
        result.stop()
        session.settings.max_token, session.settings.system = 5, "second"
        session.settings.top_p = 0.123
        result.resume()
        assert {post.body["max_length"] for post in server.posts} == {77}
        assert all(post.body["top_p"] == 0.7 for post in server.posts)
        assert "second" not in str([post.body for post in server.posts])


def test_what_is_not_fixed_by_the_sweep_is_as_it_was_when_it_began(tmp_path: Path) -> None:
    """A parameter changed while the sweep runs does not reach its later questions."""
    with ScriptedServer(sse([chunk("a"), chunk("b")], pause=0.05)) as server:
        session = open_session(server.url + "v1", max_token=33)
        result = begun(session, temperature=[0.1, 0.5, 0.9], jobs=1)
        wait_until(lambda: server.posts)
        session.settings.max_token = 44
        session.llm.model_kwargs = {"top_k": 3}
        result.wait()
        assert [(p.body["max_tokens"], p.body.get("top_k")) for p in server.posts] == [(33, None)] * 3


def test_answers_to_other_requests_are_never_mixed(tmp_path: Path) -> None:
    """A loaded sweep goes on only with the parameters it was asked with; the refusal names what differs."""
    with ScriptedServer(legacy()) as server:
        session = open_session(server.url, max_token=50)
        part = run_sweep(session, temperature=[0.1, 0.5])
        part.cells[1].turns[0] = None
        loaded = Sweep.load(part.save(tmp_path / "s.jsonl"))
        loaded._session = session
        session.settings.max_token = 60
        with pytest.raises(ChatGLMError, match=r"max_length 50, now it is 60"):
            loaded.resume()
        assert len(server.posts) == 2
        session.settings.max_token = 50
        assert loaded.resume().complete and len(server.posts) == 3


def test_a_running_sweep_can_not_be_begun_twice() -> None:
    """The second time says what to do."""
    with ScriptedServer(hang()) as server:
        result = begun(open_session(server.url), temperature=[0.1])
        with pytest.raises(ChatGLMError, match="is running"):
            result.resume()
        result.stop()


def test_followers_hear_of_changes_at_most_twelve_times_a_second_and_of_the_end() -> None:
    """What they see last is the whole, and that nothing runs any more; one that fails costs nothing."""
    seen: list[tuple[float, int, bool]] = []
    with ScriptedServer(legacy()) as server:
        result = prepare_sweep(
            "p", {"seed": range(300)}, samples=1, jobs=4, session=open_session(server.url + ""), resume=None
        )
        result.on_change(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        forget = result.on_change(lambda: seen.append((time.monotonic(), result.progress.done, result.running)))
        result.resume()
        heard = len(seen)
        forget()
        seconds = seen[-1][0] - seen[0][0]
        assert seen[-1][1:] == (300, False) and len(seen) <= 2 + 12.5 * seconds
        result.cells[0].turns[0] = None
        result.resume()
        assert len(seen) == heard


def test_progress_tells_how_much_time_is_left() -> None:
    """Nothing before the first answer, then by the pace so far, nothing at the end."""
    release = threading.Semaphore(0)

    def script(connection: socket.socket, asked: Asked) -> None:
        assert release.acquire(timeout=20)
        answer("a")(connection, asked)

    with ScriptedServer(script) as server:
        result = begun(open_session(server.url + "v1"), seed=range(10), jobs=1)
        assert result.progress.left is None
        release.release(5)
        wait_until(lambda: result.progress.done == 5)
        looks = [result.progress for _ in range(5)]  # the clock goes on between the two figures of a look
        assert any(look.left is not None and 0.9 <= look.left / look.seconds <= 1.1 for look in looks)
        release.release(5)
        result.wait()
        assert result.progress.left is None and result.progress.total == 10


def test_several_prompts_are_asked_each() -> None:
    """Prompts × settings; a prompt given twice is asked once."""
    with ScriptedServer(legacy(lambda body: body["prompt"] * 2)) as server:
        result = run_sweep(open_session(server.url), ["a", "b", "a"], temperature=[0.1, 0.5])
        assert [turn.answer for turn in result] == ["aa", "aa", "bb", "bb"] and len(server.posts) == 4


def test_a_callback_that_fails_costs_its_own_cell_alone() -> None:
    """LangChain's callbacks of the model are heard, and an exception in one is a value too."""
    from langchain_core.callbacks import BaseCallbackHandler

    heard: list[str] = []

    class Bad(BaseCallbackHandler):
        raise_error = True

        def on_llm_start(self, serialized: Any, prompts: list[str], **kwargs: Any) -> None:
            heard.append(prompts[0])
            if prompts[0] == "bad":
                raise RuntimeError("mine")

    with ScriptedServer(legacy()) as server:
        session = open_session(server.url)
        session.llm.callbacks = [Bad()]
        result = run_sweep(session, ["good", "bad"])
    assert sorted(heard) == ["bad", "good"]
    assert [turn.status for turn in result] == ["complete", "error"] and "mine" in (result.turns[1].error or "")


def test_a_key_goes_along_and_is_kept_nowhere(tmp_path: Path) -> None:
    """The server gets it; no turn, file or output has it."""
    from pydantic import SecretStr

    key = "canary-0123456789abcdef"
    with ScriptedServer(answer("x")) as server:
        session = open_session(server.url + "v1")
        session.llm.api_key = SecretStr(key)
        result = run_sweep(session, temperature=[0.1, 0.5])
        assert {post.headers["authorization"] for post in server.posts} == {f"Bearer {key}"}
    saved = result.save(tmp_path / "s.jsonl").read_text()
    assert key not in saved + repr(result.turns) + result._repr_html_() + repr(vars(result))


def test_a_wrong_value_is_an_error_and_no_failed_cell() -> None:
    """What no server would take is the user's to correct, at once."""
    with pytest.raises(ParameterError, match="top_p must be"):
        run_sweep(open_session("http://127.0.0.1:9/"), top_p=[0.5, 1.5])


INTERRUPTED = """
import _thread, sys, threading, time
from chatglm_magic import Session, errors, sweep
from chatglm_magic.sweeps import last
session = Session()
session.settings.endpoint_url, session.settings.store = sys.argv[1], "off"
try:
    sweep("p", seed=list(range(8)), jobs=4, session=session, show=False)
except KeyboardInterrupt as error:
    result = last()
    print(type(error).__name__, not result.running, result.progress.done, error)
"""


def test_an_interrupt_stops_a_sweep_and_keeps_the_result() -> None:
    """Control-C in a real process: an Interrupted that says how much is kept, and where it is."""
    whole = [answer("x")] * 4
    with ScriptedServer(*whole, hang()) as server:
        command = [sys.executable, "-c", INTERRUPTED, server.url + "v1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        wait_until(lambda: len(server.posts) == 8, 60)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        out, _ = process.communicate(timeout=20)
        assert_within(time.monotonic() - began, 5)
    assert out.startswith("Interrupted True 4 the sweep was stopped: 4 of 8 answers are kept")


def test_wait_takes_a_time_and_says_nothing_when_it_is_over() -> None:
    """The sweep goes on; whoever waits on the thread that asks is told so instead of waiting for ever."""
    with ScriptedServer(hang()) as server:
        result = begun(open_session(server.url), temperature=[0.1])
        began = time.monotonic()
        assert result.wait(0.1) is result and result.running
        assert_within(time.monotonic() - began, 1)
        found: list[BaseException] = []

        def follow() -> None:
            try:
                result.wait()
            except BaseException as error:
                found.append(error)

        result.on_change(follow)
        result.stop()
        assert not result.running and all(isinstance(error, RuntimeError | Interrupted) for error in found)


def test_a_sweep_works_from_a_tape_without_a_server(tmp_path: Path) -> None:
    """Each sample has an answer of its own on the tape; replayed, they are the same in the same places."""
    numbers = iter(range(100))
    with ScriptedServer(legacy(lambda body: f"{body['temperature']} {next(numbers)}")) as server:
        session = open_session(server.url)
        session.llm.tape = str(tmp_path / "tape.jsonl")
        first = run_sweep(session, temperature=[0.1, 0.5], samples=3, jobs=3)
        assert len({turn.answer for turn in first}) == 6
        other = open_session(server.url)
    other.llm.tape, other.llm.tape_mode = str(tmp_path / "tape.jsonl"), "replay"
    again = run_sweep(other, temperature=[0.1, 0.5], samples=3)
    assert [turn.answer for turn in again] == [turn.answer for turn in first]
    missed = run_sweep(other, temperature=[0.1, 0.6], samples=1)
    assert missed.progress.failed == 1 and "temperature" in (missed.cells[1].received[0].error or "")
