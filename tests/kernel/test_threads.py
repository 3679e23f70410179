"""Who waits for whom: worker threads, cells that await, a loop that runs already."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chatglm_magic

from ..support.clock import assert_within
from ..support.kernel_requests import BACK, CLOSED, evaluate, interrupt, point_at, read_turns
from ..support.pages import Page
from ..support.servers import ScriptedServer
from ..support.ticking import make_text, stalling, telling
from .conftest import installed

pytestmark = pytest.mark.heavy

PACKAGE = Path(chatglm_magic.__file__).parent
STOPPED = ("CancelledError", "KeyboardInterrupt", "Interrupted")
"""How a cell ends that was interrupted while it awaited: ipykernel cancels its task."""


def stopped_in_time(page: Page, server: ScriptedServer, struck: float) -> None:
    """Half a second after the interrupt our code is left, a second after it every connection is closed."""
    assert_within(evaluate(page, "inside.left.pop()") - struck, BACK)
    for post in server.posts:
        assert_within(server.wait_closed(post) - struck, CLOSED)


@pytest.mark.row("D4")
def test_a_cell_that_waits_for_many(page: Page) -> None:
    """A batch runs on the loop's thread while the main one waits: an interrupt closes all of its connections."""
    with ScriptedServer(stalling(5)) as server:
        point_at(page, server)
        running = page.send("with inside.record_end():\n    get_session().llm.batch([f'q{n}' for n in range(8)])")
        page.until_true(lambda: len(server.posts) == 8)
        struck = interrupt(page)
        ran = page.wait(running)
        assert ran.error is not None and ran.error["ename"] == "KeyboardInterrupt"
        stopped_in_time(page, server, struck)
        assert len(server.posts) == 8


@pytest.mark.row("D4")
def test_a_question_on_the_loops_thread_can_be_stopped(page: Page) -> None:
    """Waiting for a submitted question is interrupted at once; its ``cancel()`` closes the connection."""
    with ScriptedServer(stalling(5)) as server:
        point_at(page, server)
        running = page.send(
            "seen = inside.Printing()\n"
            # Python itself misses an interrupt that comes just before such a wait.
            "inside.strike_within('_base.py:result', 0, when=lambda: seen.text)\n"
            "job = get_session().submit(get_session().aask('q1', view=seen))\n"
            "try:\n    with inside.record_end():\n        job.result()\n"
            "except KeyboardInterrupt:\n    print(job.cancel())"
        )
        assert "True" in page.wait(running).text  # beside what the view prints in the other thread
        (struck,) = evaluate(page, "inside.struck")
        stopped_in_time(page, server, struck)
        page.until_true(lambda: evaluate(page, "len(get_session().turns)") == 1)
        ((status, _, came),) = read_turns(page)
        assert status == "interrupted" and came and make_text("q1", 5).startswith(came)


@pytest.mark.row("D4")
def test_no_thread_of_ours_asks() -> None:
    """The package starts a thread for its loop, and no other."""
    starts = {
        f"{path.relative_to(PACKAGE)}: {ast.unparse(node.func)}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2]
        in ("Thread", "ThreadPoolExecutor", "run_in_executor", "Timer")
        and path.relative_to(PACKAGE).parts[0] != "server"
    }
    assert starts == {"client/loop.py: threading.Thread"}


CELLS = {
    "aask": "await get_session().aask('q1', view=inside.Printing())",
    "ainvoke": "await get_session().llm.ainvoke('q1')",
    "astream": "async for piece in get_session().llm.astream('q1'): print(piece, end='', flush=True)",
}


@pytest.mark.row("D5")
@pytest.mark.parametrize("way", list(CELLS))
def test_an_awaiting_cell(page: Page, way: str) -> None:
    """An interrupt ends it as it ends a magic; what ``session.aask`` had received is kept."""
    with ScriptedServer(stalling(5), telling()) as server:
        point_at(page, server)
        running = page.send(f"with inside.record_end():\n    {CELLS[way]}")
        page.until_true(lambda: server.posts)
        if way != "ainvoke":
            page.until_true(lambda: make_text("q1", 5) in page.printed)
        struck = interrupt(page)
        ran = page.wait(running)
        assert ran.error is not None and ran.error["ename"] in STOPPED
        stopped_in_time(page, server, struck)
        if way == "aask":
            assert read_turns(page) == [["interrupted", "q1", make_text("q1", 5)]]
        assert page.run("%chatglm q2").displays == [make_text("q2")]


@pytest.mark.row("D6")
def test_magics_while_the_loop_runs(page: Page) -> None:
    """In cells that await, in tasks: every way to ask works, and none runs a loop in the loop."""
    with ScriptedServer(telling()) as server:
        point_at(page, server)
        page.run("import asyncio\ndef forbidden(*_, **__): raise AssertionError('a loop in the loop')")
        page.run("kept = asyncio.run, asyncio.BaseEventLoop.run_until_complete\nasyncio.run = forbidden")
        assert page.run("await asyncio.sleep(0)\n%chatglm q1\nawait asyncio.sleep(0)").displays == [
            make_text("q1")
        ]
        assert page.run("%%chatglm\nq2").displays == [make_text("q2")]
        ran = page.run(
            "async def task():\n    await asyncio.sleep(0)\n"
            "    return get_ipython().run_line_magic('chatglm', '-q q3')\n"
            "print(await asyncio.gather(task(), get_session().aask('q4')))"
        )
        assert ran.error is None and ran.text == f"{[make_text('q3'), make_text('q4')]}\n"
        ran = page.run(
            "await asyncio.sleep(0)\nprint(get_session().llm.batch(['q5', 'q6']), get_session().llm.invoke('q7'))"
        )
        assert ran.error is None and ran.text == f"{[make_text('q5'), make_text('q6')]} {make_text('q7')}\n"
        page.run("asyncio.run = kept[0]")
        assert [prompt for _, prompt, _ in read_turns(page)][:2] == ["q1", "q2"]
        assert {status for status, _, _ in read_turns(page)} == {"complete"}


@pytest.mark.row("D6")
@installed
def test_a_magic_in_a_loop_of_ones_own(page: Page) -> None:
    """A loop that a cell runs in a thread of its own is one more place from which everything works."""
    with ScriptedServer(telling()) as server:
        point_at(page, server)
        ran = page.run(
            "import asyncio, threading\nfound = []\n"
            "async def task():\n    found.append(get_session().ask('q1'))\n"
            "    found.append(await get_session().aask('q2'))\n"
            "thread = threading.Thread(target=lambda: asyncio.run(task()))\n"
            "thread.start()\nthread.join()\nprint(found)"
        )
        assert ran.error is None and ran.text == f"{[make_text('q1'), make_text('q2')]}\n"
