"""The extension comes, goes and is taken along: loading, unloading, forks."""

from __future__ import annotations

import pytest

from ..support import stored_turns
from ..support.kernel_requests import evaluate, point_at
from ..support.pages import Page
from ..support.servers import ScriptedServer
from ..support.ticking import make_text, telling
from .conftest import installed

pytestmark = pytest.mark.heavy

LOAD = "get_ipython().run_line_magic('{}_ext', 'chatglm_magic')\n"
REGISTERED = """sum('chatglm_magic' in repr(getattr(item, '__module__', '') or type(item).__module__)
    for items in get_ipython().events.callbacks.values() for item in items)"""

USED = """
from chatglm_magic import panel
get_ipython().run_line_magic('chatglm', '-q q1')
session, shown = get_session(), panel()
print(session.submit(session.aask('q2')).result(60), session.llm.batch(['q3', 'q4']))
"""


@pytest.mark.row("D20")
def test_loaded_twice_and_unloaded(page: Page) -> None:
    """One registration; after a panel and every way to ask, no thread, connection, file or hook is left."""
    with ScriptedServer(telling()) as server:
        address = f"get_session().settings.endpoint_url = {server.url + 'v1'!r}\n"
        page.run(LOAD.format("unload"))
        page.run("from ipywidgets import Widget; import chatglm_magic.widgets.panel_box")
        hooks, before = evaluate(page, REGISTERED), evaluate(page, "inside.list_resources()")
        assert hooks == 0
        for _ in range(3):
            page.run(LOAD.format("load"))
            once = evaluate(page, REGISTERED)
            page.run(LOAD.format("load"))
            assert evaluate(page, REGISTERED) == once > 0
            ran = page.run(address + USED)
            printed = "".join(content["text"] for content in ran.of("stream") if content["name"] == "stdout")
            assert ran.error is None and printed.endswith(
                f"{make_text('q2')} {[make_text('q3'), make_text('q4')]}\n"
            )
            held = evaluate(page, "inside.list_resources()")
            assert len(held["threads"]) > len(before["threads"]) and len(held["files"]) > len(before["files"])
            page.run(LOAD.format("reload"))
            assert evaluate(page, REGISTERED) == once
            page.run("shown.close(); del shown, session\n" + LOAD.format("unload"))
        assert evaluate(page, REGISTERED) == 0
        page.until_true(
            lambda: evaluate(page, "inside.list_resources()") == before,
            5,
            of=(evaluate(page, "inside.list_resources()"), before),
        )
        assert page.run("%chatglm q").error is None and "not found" in page.run("%chatglm q").text
        page.run(LOAD.format("load"))


CHILDREN = """
import multiprocessing
fork = multiprocessing.get_context('fork')

def child(n):
    from chatglm_magic import get_session
    session = get_session()
    assert session.ask(f'{n}q1') == words(f'{n}q1')
    assert session.submit(session.aask(f'{n}q2')).result(60) == words(f'{n}q2')
    assert session.llm.batch([f'{n}q3']) == [words(f'{n}q3')]
    assert session.store.flush()

def forked(count):
    children = [fork.Process(target=child, args=(n,)) for n in range(count)]
    for process in children:
        process.start()
    for process in children:
        process.join(60)
    codes = [process.exitcode for process in children]
    for process in children:
        process.kill()
    return codes
"""


def children(page: Page) -> None:
    """Make the functions that fork known to the kernel."""
    assert page.run("from tests.support.ticking import make_text as words\n" + CHILDREN).error is None


@pytest.mark.row("D21")
def test_forked_children_ask_and_store(page: Page) -> None:
    """Each asks over connections of its own and stores its turns; the parent's go on as before."""
    with ScriptedServer(telling()) as server:
        point_at(page, server)
        children(page)
        page.run("get_session().ask('q1'); get_session().submit(get_session().aask('q2')).result(60)")
        assert evaluate(page, "forked(3)") == [0, 0, 0]
        ran = page.run("print(get_session().ask('q3'), get_session().submit(get_session().aask('q4')).result(60))")
        assert ran.text == f"{make_text('q3')} {make_text('q4')}\n"
        assert stored_turns.is_sound(page.home)
        kept = {turn.prompt for turn in stored_turns.load_turns(page.home, status="complete")}
        assert kept >= {f"{n}q{m}" for n in range(3) for m in (1, 2)} | {"q1", "q2", "q3", "q4"}
        assert [prompt for _, prompt, _ in remembered_of_parent(page)] == ["q1", "q2", "q3", "q4"]


def remembered_of_parent(page: Page) -> list[list[str]]:
    """Return the turns in the parent's memory; on the disk its conversation has the children's turns too."""
    return list(evaluate(page, "[[t.status, t.prompt, t.answer] for t in get_session().turns]"))


BESIDE = """
import threading
ending = threading.Event()

def ask_on():
    while not ending.is_set():
        get_session().ask('q', history=False)

beside = [threading.Thread(target=ask_on) for _ in range(4)]
for thread in beside:
    thread.start()
codes = [code for _ in range(4) for code in forked(2)]
ending.set()
for thread in beside:
    thread.join()
print(set(codes))  # of which a child that had to wait too long has none
"""


@pytest.mark.row("D21")
@installed
def test_forks_while_other_threads_ask_and_save(page: Page) -> None:
    """A lock that another thread holds at that moment holds no child up."""
    with ScriptedServer(telling()) as server:
        point_at(page, server)
        children(page)
        ran = page.run(BESIDE)
        assert ran.error is None and ran.text == "{0}\n", ran.text
        assert stored_turns.is_sound(page.home)
        assert {turn.status for turn in stored_turns.load_turns(page.home, text="q")} <= {"complete", "superseded"}
