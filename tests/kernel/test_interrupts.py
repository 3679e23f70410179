"""An interrupt, at whatever moment: the prompt is back, the server can stop, what had come is kept."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

from ..support.clock import assert_within
from ..support.kernel_requests import BACK, evaluate, interrupt, point_at, read_turns, wait_stopped
from ..support.pages import Page
from ..support.servers import ScriptedServer, answer, chunk, hang, reply, sse
from ..support.ticking import make_text, stalling, telling
from .conftest import installed

pytestmark = pytest.mark.heavy

RICH = "| a | b |\n|---|---|\n" + "| `x = 1` | **2** |\n" * 40 + "\n"


def strike_in(
    page: Page, server: ScriptedServer, place: str, code: str, *, has_request: bool = False
) -> dict[str, Any]:
    """Run code that is interrupted at a place; check how soon it ends, and return the cell's error."""
    running = page.send(f"inside.strike_at({place!r})\n{code}")
    page.done(running)
    (struck,) = evaluate(page, "inside.struck")
    error = wait_stopped(page, server, running, struck, server.posts[0] if has_request else None).error
    assert error is not None and error["ename"] == "Interrupted"
    return error


FRAME = "render/answers.py:live_html call"
"""A moment at which some of an answer has come and is about to be shown."""


@pytest.mark.row("D1")
def test_before_an_answer_begins(page: Page) -> None:
    """The server has the question and says nothing: stopped at once, and kept as a turn without an answer."""
    with ScriptedServer(hang()) as server:
        point_at(page, server)
        running = page.send("%chatglm q1")
        page.until_true(lambda: server.posts)
        ran = wait_stopped(page, server, running, interrupt(page), server.posts[0])
        assert ran.error is not None and ran.error["ename"] == "Interrupted"
        assert ran.error["traceback"] == ["Interrupted: the answer was stopped, nothing had arrived."]
        assert read_turns(page) == [["interrupted", "q1", ""]]


@pytest.mark.row("D1")
def test_in_the_middle_of_an_answer(page: Page) -> None:
    """What had come stays on the page, in the history and in the store; the next cell is not run."""
    with ScriptedServer(stalling(5), telling()) as server:
        point_at(page, server)
        running = page.send("%chatglm q1")
        queued = page.send("print('went on')")
        page.wait_arrived()
        page.until("display_data")
        ran = wait_stopped(page, server, running, interrupt(page), server.posts[0])
        assert ran.error is not None and ran.error["ename"] == "Interrupted"
        assert len(ran.error["traceback"]) == 1
        assert page.wait(queued).reply["content"]["status"] == "aborted"
        ((status, _, came),) = read_turns(page)
        assert status == "interrupted" and came.startswith("q1w0 ") and make_text("q1", 5).startswith(came)
        assert ran.displays == [f"{came}\n[stopped before it was complete]"]
        assert page.run("%chatglm q2").displays == [make_text("q2")]
        assert [m["content"] for m in server.posts[1].body["messages"]] == ["q2"]


@pytest.mark.row("D1")
def test_in_the_wait_before_asking_again(page: Page) -> None:
    """The wait that a busy server asks for ends at once, and it is not asked again."""
    busy = reply({"error": {"message": "busy"}}, status=429, Retry_After="60")
    with ScriptedServer(busy, telling()) as server:
        point_at(page, server)
        threads = evaluate(page, "inside.list_resources()")["threads"]
        running = page.send("%chatglm q1")
        assert "q1" not in str(page.until("display_data")["data"])
        ran = wait_stopped(page, server, running, interrupt(page))
        assert ran.error is not None and ran.error["ename"] == "Interrupted"
        assert read_turns(page) == [["interrupted", "q1", ""]]
        assert evaluate(page, "inside.list_resources()")["threads"] == threads  # nobody who could ask again
        assert page.run("%chatglm q2").displays == [make_text("q2")]
        assert [post.body["messages"][-1]["content"] for post in server.posts] == ["q1", "q2"]


@pytest.mark.row("D1")
@pytest.mark.parametrize("place", [FRAME, "render/markdown.py:to_html return", "render/views.py:_publish return"])
def test_while_a_frame_is_rendered(page: Page, place: str) -> None:
    """The signal finds the kernel at work on a frame of an answer under way."""
    with ScriptedServer(sse([chunk(RICH), chunk("x"), chunk("x")], hold=threading.Event())) as server:
        point_at(page, server)
        strike_in(page, server, place, "%chatglm q1", has_request=True)
        ((status, _, came),) = read_turns(page)
        assert status == "interrupted" and came.startswith(RICH)


@pytest.mark.row("D1")
def test_while_the_whole_answer_is_rendered(page: Page) -> None:
    """It has all come and is kept as complete, whether its last frame is shown or not."""
    with ScriptedServer(answer(RICH * 20)) as server:
        point_at(page, server)
        strike_in(page, server, "render/answers.py:answer_html call", "%chatglm q1")
        assert read_turns(page) == [["complete", "q1", RICH * 20]]


@pytest.mark.row("D1")
@installed
def test_between_the_start_of_a_sweep_and_its_display(page: Page) -> None:
    """The sweep is stopped, not left to run unseen, and the cell says how much has come."""
    with ScriptedServer(hang()) as server:
        point_at(page, server)
        code = "from chatglm_magic import sweep\nsweep('q1', temperature=[0.1, 0.9], jobs=1)"
        error = strike_in(page, server, "exploring.py:display_widget call", code)
        assert "the sweep was stopped: 0 of 2 answers are kept" in error["evalue"]
        assert evaluate(page, "__import__('chatglm_magic').sweeps.last().running") is False
        assert len(server.posts) <= 1


BUSY = reply({"error": {"message": "busy"}}, status=429, Retry_After="60")
WAYS = {
    "stream": (hang(), "get_session().ask('q1')"),
    "invoke": (hang(), "get_session().llm.invoke('q1')"),
    "batch": (hang(), "get_session().llm.batch(['q1', 'q2'])"),
    "batch_as_completed": (hang(), "list(get_session().llm.batch_as_completed(['q1', 'q2']))"),
    "wait": (BUSY, "get_session().ask('q1')"),
    "await": (hang(), "await get_session().aask('q1')"),
}


@pytest.mark.row("D1")
@installed
@pytest.mark.parametrize("way", list(WAYS))
def test_whichever_thread_the_signal_finds(page: Page, way: str) -> None:
    """A signal that does not wake the main thread, as one just before a wait, is noticed all the same."""
    script, code = WAYS[way]
    with ScriptedServer(script) as server:
        point_at(page, server)
        block = "signal.pthread_sigmask(signal.{}, {{signal.SIGINT}})"
        page.run(f"import signal; {block.format('SIG_BLOCK')}")
        strike = "inside.strike_within('client/timeouts.py:sleep_in_steps', 0)\n" if way == "wait" else ""
        running = page.send(f"{strike}with inside.record_end():\n    {code}", stop_on_error=False)
        page.until_true(lambda: server.posts)
        struck = 0.0 if strike else interrupt(page)
        page.done(running)
        page.run(block.format("SIG_UNBLOCK"))
        if strike:
            (struck,) = evaluate(page, "inside.struck")
        assert_within(evaluate(page, "inside.left.pop()") - struck, BACK)


@pytest.mark.row("D2")
def test_fifty_interrupts_at_random(page: Page) -> None:
    """Each question that reached the server is kept as a turn; nothing is left open; the next one is answered."""
    dice = random.Random(2)
    with ScriptedServer(telling(400, pause=0.002)) as server:
        point_at(page, server)
        page.run("%chatglm --max-token 1 first")  # displayed, so that the loop thread has started
        before, struck = evaluate(page, "inside.list_resources()"), 0
        for number in range(50):
            # From within: one that strikes while the kernel's own code runs can cost it the next message.
            strike = f"inside.strike_within('magics/magics.py:chatglm', {dice.uniform(0, 0.1)})"
            running = page.send(f"{strike}\n%chatglm q{number}", stop_on_error=False)
            page.done(running)
            struck += len(evaluate(page, "inside.struck"))
        assert struck == 50
        server.scripts[:] = [telling()]
        assert page.run("%chatglm last").displays == [make_text("last")]
        asked = [post.body["messages"][-1]["content"] for post in server.posts]
        known = read_turns(page)
        missing = set(asked) - {prompt for _, prompt, _ in known}
        assert not missing, f"asked and not kept: {missing}"
        assert {status for status, _, _ in known} <= {"complete", "interrupted"}
        after = evaluate(page, "inside.list_resources()")
        assert after["threads"] == before["threads"]
        assert len(after["connections"]) <= len(before["connections"])
        assert len(after["files"]) <= len(before["files"])


CLEANUP = [
    "session/active_turn.py:interrupt",
    "session/active_turn.py:finish",
    "session/draft.py:turn",
    "session/active_turn.py:_save",
    "session/session.py:finish_turn",
    "session/session.py:_sync_with_llm",
    "session/conversation.py:finish_turn",
    "session/conversation.py:save",
    "store/store.py:put",
    "render/answers.py:mime_bundle",
    "render/views.py:_publish",
]


@pytest.mark.row("D3")
@installed
@pytest.mark.parametrize("event", ["call", "return"])
@pytest.mark.parametrize("place", CLEANUP)
def test_a_second_interrupt_in_the_cleanup(page: Page, place: str, event: str) -> None:
    """Wherever it strikes, the turn is in history and store, once and with its text, and the next is answered."""
    with ScriptedServer(stalling(5), telling()) as server:
        point_at(page, server)
        ran = page.run(f"inside.strike_at({FRAME!r}, {f'{place} {event}'!r})\n%chatglm q1")
        assert len(evaluate(page, "inside.struck")) == 2
        assert ran.error is not None and ran.error["ename"] == "Interrupted" and len(ran.error["traceback"]) == 1
        ((status, prompt, came),) = read_turns(page)
        assert (status, prompt) == ("interrupted", "q1") and came and make_text("q1", 5).startswith(came)
        assert page.run("%chatglm q2").displays == [make_text("q2")]
        assert len(read_turns(page)) == 2


ASK = "session/session.py:ask"


@pytest.mark.row("D3")
def test_two_interrupts_at_random(page: Page) -> None:
    """Some milliseconds lie between the two; each turn is in history and store, once."""
    dice, struck = random.Random(3), 0
    with ScriptedServer(stalling(5)) as server:
        point_at(page, server)
        for number in range(20):
            moments, came = f"{dice.uniform(0, 0.02)}, {dice.uniform(0, 0.006)}", make_text(f"q{number}", 5)
            page.run(f"inside.strike_within({ASK!r}, {moments}, after={came!r})\n%chatglm q{number}")
            struck += len(evaluate(page, "inside.struck"))
        assert struck > 24, "the second came too late too often"
        known = read_turns(page)
        assert known == [["interrupted", f"q{n}", make_text(f"q{n}", 5)] for n in range(20)]
