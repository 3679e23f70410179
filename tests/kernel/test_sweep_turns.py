"""The turns of a sweep are stored: after its end, after Stop, and when the kernel is restarted or killed."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from chatglm_magic.values import Turn

from ..support import stored_turns
from ..support.kernel_requests import evaluate, point_at
from ..support.pages import Page, View
from ..support.servers import Script, ScriptedServer, answer, by_body, chunk, sse
from ..support.visible import strip_markup
from .conftest import installed

pytestmark = pytest.mark.heavy

CELL = "%%chatglm_sweep temperature=0.1,0.9 --jobs 1 -o kept\nName a colour."


def colours(*, stalled: bool = False) -> Script:
    """Return a script that says red to cold questions; to others blue, or half of it if ``stalled``."""
    half = sse([chunk("bl"), chunk("ue")], hold=threading.Event())

    def choose(body: Any) -> Script:
        return answer("red") if body["temperature"] < 0.5 else half if stalled else answer("blue")

    return by_body(choose)


def grid(view: View) -> str:
    """Return what the grid shows."""
    return strip_markup(" ".join(str(widget.state.get("tiles")) for widget in view.all()))


def begin(page: Page, server: ScriptedServer, shown: str) -> tuple[View, str]:
    """Start a sweep in a new conversation and wait until a cell shows a text; return view and id."""
    point_at(page, server)
    view = page.view(page.run(CELL))
    page.until_true(lambda: re.search(shown, grid(view)), of=shown)
    return view, evaluate(page, "kept.id")


def on_disk(page: Page, sweep: str) -> list[tuple[str, str, float]]:
    """Return status, answer and temperature of the sweep's stored turns, in the order of its cells."""
    turns = sorted(stored_turns.load_turns(page.home, conversation=sweep), key=temperature)
    assert all(turn.kind == "sweep" and turn.prompt == "Name a colour." for turn in turns)
    return [(turn.status, turn.answer, temperature(turn)) for turn in turns]


def temperature(turn: Turn) -> float:
    return float(turn.asked["temperature"])


@installed
def test_a_finished_sweep_is_stored(page: Page) -> None:
    """Every answer, under the sweep's id; none of them is a turn of the conversation."""
    with ScriptedServer(colours()) as server:
        _, sweep = begin(page, server, "blue")
        assert evaluate(page, "kept.wait().complete") and evaluate(page, "get_session().store.flush()")
        assert on_disk(page, sweep) == [("complete", "red", 0.1), ("complete", "blue", 0.9)]
        assert evaluate(page, "[turn.prompt for turn in get_session().turns]") == []
        listed = page.run("%chatglm_history --all").text
        assert listed.count("Name a colour. [sweep]") == 2


@installed
def test_a_stopped_sweep_is_stored(page: Page) -> None:
    """After Stop the store has the whole answer and the partial one; resumed, it has the rest too."""
    with ScriptedServer(colours(stalled=True)) as server:
        view, sweep = begin(page, server, r"running\s+bl")
        view.click("Stop")
        page.until_true(lambda: not view.find("Resume", "Button").state["disabled"])
        assert evaluate(page, "get_session().store.flush()")
        assert on_disk(page, sweep) == [("complete", "red", 0.1), ("interrupted", "bl", 0.9)]
        server.scripts[:] = [colours()]
        assert evaluate(page, "kept.resume().complete") and evaluate(page, "get_session().store.flush()")
        assert {("complete", "red", 0.1), ("complete", "blue", 0.9)} <= set(on_disk(page, sweep))


def end_kernel(page: Page, server: ScriptedServer, *, now: bool) -> str:
    """Restart the kernel while the second answer of a sweep comes; return the sweep's id."""
    view = page.view(page.run(CELL))
    page.until_true(lambda: "running" in grid(view))
    sweep = str(evaluate(page, "kept.id"))
    page.until_true(lambda: on_disk(page, sweep), of="the first answer is not stored")
    page.manager.restart_kernel(now=now)
    server.wait_closed(server.posts[-1])
    page.ready_again()
    assert stored_turns.is_sound(page.home)
    return sweep


@installed
def test_a_sweep_is_stored_when_its_kernel_is_restarted(page: Page) -> None:
    """What was whole is there; the next kernel lists it, and resumes the conversation, not the sweep."""
    with ScriptedServer(colours(stalled=True)) as server:
        point_at(page, server)
        page.run("%chatglm -t 0.1 before")
        before = evaluate(page, "get_session().conversation")
        sweep = end_kernel(page, server, now=False)
        assert on_disk(page, sweep)[0] == ("complete", "red", 0.1)
        found = evaluate(page, "[t.conversation for t in get_session().history.all.filter(kind='sweep')]")
        assert sweep in found
        assert "1 turn, 1 in context" in page.run("%chatglm_history --resume").text
        assert evaluate(page, "get_session().conversation") == before


@installed
def test_a_sweep_is_stored_when_its_kernel_is_killed(page: Page) -> None:
    """Each answer is stored when it ends, not when the sweep does."""
    with ScriptedServer(colours(stalled=True)) as server:
        point_at(page, server)
        assert on_disk(page, end_kernel(page, server, now=True))[0] == ("complete", "red", 0.1)
