"""The turns of a sweep are stored: after its end, after Stop, and when the kernel is restarted or killed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from chatglm_magic.values import Turn

from ..servers import Script, ScriptedServer, answer, by_body, chunk, sse
from . import stored
from .asking import at, value
from .conftest import installed
from .page import Page, View

CELL = "%%chatglm_sweep temperature=0.1,0.9 --jobs 1 -o kept\nName a colour."


def colours(*, stalled: bool = False) -> Script:
    """Return a script that says red to cold questions; to others blue, or half of it if ``stalled``."""
    half = sse([chunk("bl"), chunk("ue")], hold=threading.Event())

    def choose(body: Any) -> Script:
        return answer("red") if body["temperature"] < 0.5 else half if stalled else answer("blue")

    return by_body(choose)


def begin(page: Page, server: ScriptedServer, shown: str) -> tuple[View, str]:
    """Start a sweep in a new conversation and wait until a tile shows a text; return view and id."""
    at(page, server)
    view = page.view(page.run(CELL))
    page.until_true(lambda: shown in str([widget.state.get("description") for widget in view.all()]), of=shown)
    return view, value(page, "kept.id")


def on_disk(page: Page, sweep: str) -> list[tuple[str, str, float]]:
    """Return status, answer and temperature of the sweep's stored turns, in the order of its cells."""
    turns = sorted(stored.turns(page.home, conversation=sweep), key=temperature)
    assert all(turn.kind == "sweep" and turn.prompt == "Name a colour." for turn in turns)
    return [(turn.status, turn.answer, temperature(turn)) for turn in turns]


def temperature(turn: Turn) -> float:
    return float(turn.asked["temperature"])


@installed
def test_a_finished_sweep_is_stored(page: Page) -> None:
    """Every answer, under the sweep's id; none of them is a turn of the conversation."""
    with ScriptedServer(colours()) as server:
        _, sweep = begin(page, server, "blue")
        assert value(page, "kept.wait().complete") and value(page, "get_session().store.flush()")
        assert on_disk(page, sweep) == [("complete", "red", 0.1), ("complete", "blue", 0.9)]
        assert value(page, "[turn.prompt for turn in get_session().turns]") == []
        listed = page.run("%chatglm_history --all").text
        assert listed.count("Name a colour. [sweep]") == 2


@installed
def test_a_stopped_sweep_is_stored(page: Page) -> None:
    """After Stop the store has the whole answer and the partial one; resumed, it has the rest too."""
    with ScriptedServer(colours(stalled=True)) as server:
        view, sweep = begin(page, server, "running\\nbl")
        view.click("Stop")
        page.until_true(lambda: not view.find("Resume", "Button").state["disabled"])
        assert value(page, "get_session().store.flush()")
        assert on_disk(page, sweep) == [("complete", "red", 0.1), ("interrupted", "bl", 0.9)]
        server.scripts[:] = [colours()]
        assert value(page, "kept.resume().complete") and value(page, "get_session().store.flush()")
        assert {("complete", "red", 0.1), ("complete", "blue", 0.9)} <= set(on_disk(page, sweep))


@installed
@pytest.mark.parametrize("now", [False, True], ids=["restarted", "killed"])
def test_a_sweep_is_stored_when_its_kernel_ends(page: Page, now: bool) -> None:
    """What was whole is there; the next kernel lists it, and goes on with the conversation, not with the sweep."""
    with ScriptedServer(colours(stalled=True)) as server:
        at(page, server)
        page.run("%chatglm -t 0.1 before")
        before = value(page, "get_session().conversation")
        view = page.view(page.run(CELL))
        page.until_true(lambda: "running" in str([widget.state.get("description") for widget in view.all()]))
        sweep = value(page, "kept.id")
        page.until_true(lambda: on_disk(page, sweep), of="the first answer is not stored")
        page.manager.restart_kernel(now=now)
        server.wait_closed(server.posts[-1])
        page.ready_again()
        assert on_disk(page, sweep)[0] == ("complete", "red", 0.1)
        assert stored.sound(page.home)
        assert sweep in value(
            page, "[turn.conversation for turn in get_session().history.all.filter(kind='sweep')]"
        )
        assert "1 turn, of which 1 are" in page.run("%chatglm_history --resume").text
        assert value(page, "get_session().conversation") == before
        assert value(page, "[turn.prompt for turn in get_session().turns]") == ["before"]
