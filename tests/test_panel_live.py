"""Live mode: a slider settles, the prompt is asked again, and the last three answers stand side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chatglm_magic.widgets.panel_box import Panel

from .support.panels import (
    ask_and_wait,
    click,
    open_panel,
    send_prompt,
    set_value,
    visible_text,
    wait_idle,
    wait_until,
)
from .support.servers import Asked, Script, ScriptedServer, answer, chunk, sse
from .support.timers import HeldSleep, TrackedSession


def lanes(panel: Panel) -> list[str]:
    """Return what a reader sees in each lane."""
    return [visible_text(cell) for cell in panel.dialogue.lanes.children if cell.layout.display != "none"]


def half() -> Script:
    """Say half of an answer, and then nothing more."""
    return sse([chunk("half"), chunk("x")], hold=threading.Event())


def by_temperature(connection: Any, asked: Asked) -> None:
    """Say how hot it is, in Chinese."""
    answer("天气", "冷" if asked.body.get("temperature", 0) < 1 else "很热", "。")(connection, asked)


def test_a_slider_that_settles_asks_again_and_the_answers_stand_side_by_side() -> None:
    """Each with its parameters, what differs marked; only what was sent is part of the conversation."""
    with ScriptedServer(by_temperature) as server, open_panel(server) as panel:
        set_value(panel.controls.live, True)
        ask_and_wait(panel, "hi")
        for number, value in enumerate((0.5, 1.5, 0.75), 2):
            set_value(panel.rows[0].slider, value)
            wait_until(lambda: len(panel._session.turns) == number)  # noqa: B023
            wait_idle(panel)
        assert [post.body.get("temperature") for post in server.posts] == [None, 0.5, 1.5, 0.75]
        titles = [" ".join(lane.split()[:2]) for lane in lanes(panel)]
        assert titles == ["temperature 0.5", "temperature 1.5", "temperature 0.75"]
        marked = panel.dialogue.lanes.children[1].value
        assert "很热</mark>" in marked and "天气<mark" in marked
        assert sorted(turn.kind for turn in panel._session.turns) == ["chat", "live", "live", "live"]
        set_value(panel.controls.live, False)
        ask_and_wait(panel, "next")
        asked = [message["content"] for message in server.posts[4].body["messages"]]
        assert asked == ["hi", "天气冷。", "next"]
        assert [message["content"] for message in server.posts[3].body["messages"]] == ["hi"]


@contextmanager
def open_live_panel(server: ScriptedServer) -> Iterator[tuple[Panel, TrackedSession, HeldSleep]]:
    """Yield a panel in live mode whose sliders settle when the test says so."""
    session, sleep = TrackedSession(), HeldSleep()
    with open_panel(server, session=session, sleep=sleep) as panel:
        set_value(panel.controls.live, True)
        yield panel, session, sleep


def test_a_slider_that_moves_on_asks_once() -> None:
    """A slider settles after a quarter of a second without a change: the last value is asked with, once."""
    with ScriptedServer(by_temperature) as server, open_live_panel(server) as (panel, session, sleep):
        ask_and_wait(panel, "hi")
        for value in (0.5, 0.75, 1.0, 1.25):
            set_value(panel.rows[0].slider, value)
        wait_until(lambda: sleep.held == 4)
        assert sleep.seconds == [0.25] * 4 and len(server.posts) == 1
        session.wait_submitted(sleep)
        assert [post.body.get("temperature") for post in server.posts] == [None, 1.25]
        assert len(session.turns) == 2
        session.settings.top_p = 0.5  # another handle: shown here, but not this panel's slider
        session.wait_submitted(sleep)
        assert len(server.posts) == 2 and panel.rows[1].slider.value == 0.5


def test_a_slider_that_moves_while_the_answer_before_is_being_stopped_asks_once() -> None:
    """The first value has settled and waits for the answer under way to end; only the second one is asked with."""
    with ScriptedServer(half(), by_temperature) as server, open_live_panel(server) as (panel, session, sleep):
        send_prompt(panel, "hi")
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        moved = []

        def move(change: Any) -> None:
            if not change["new"] and not moved:  # Send can be pressed again: the answer under way has just ended
                moved.append(True)
                set_value(panel.rows[0].slider, 1.5)

        panel.controls.send.observe(move, names="disabled")
        set_value(panel.rows[0].slider, 0.5)
        wait_until(lambda: sleep.held == 1)
        sleep.end()
        wait_until(lambda: sleep.held == 1 and moved)
        session.wait_submitted(sleep)
        assert [post.body.get("temperature") for post in server.posts] == [None, 1.5]


def test_stop_while_a_slider_is_restarting_the_answer_asks_nothing() -> None:
    """The slider has settled and the answer under way is being stopped for it: Stop means that one too."""
    with ScriptedServer(half(), answer("more")) as server, open_live_panel(server) as (panel, session, sleep):
        send_prompt(panel, "hi")
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        panel.controls.send.observe(lambda change: change["new"] or click(panel.controls.stop), names="disabled")
        set_value(panel.rows[0].slider, 0.5)
        wait_until(lambda: sleep.held == 1)
        sleep.end()
        session.wait_submitted(sleep)
        assert len(server.posts) == 1 and [turn.status for turn in session.turns] == ["interrupted"]
        assert visible_text(panel.status) == "Stopped; what had arrived is kept."


def test_send_takes_the_place_of_a_slider_that_has_not_settled() -> None:
    """One question with the slider's value, and nothing stops its answer."""
    gate = threading.Event()
    held = sse([chunk("half "), chunk("whole", finish_reason="stop")], hold=gate)
    with ScriptedServer(answer("one"), held) as server, open_live_panel(server) as (panel, session, sleep):
        ask_and_wait(panel, "hi")
        set_value(panel.rows[0].slider, 1.5)
        wait_until(lambda: sleep.held == 1)
        send_prompt(panel, "next")
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        sleep.end()
        gate.set()
        session.wait_submitted(sleep)
        asked = [(post.body["messages"][-1]["content"], post.body.get("temperature")) for post in server.posts]
        assert asked == [("hi", None), ("next", 1.5)]
        assert [turn.status for turn in session.turns] == ["complete", "complete"]


def test_a_slider_that_moves_on_leaves_the_answer_under_way_alone() -> None:
    """Only the value at which it settles stops an answer: one that comes to its end before that is whole."""
    gate = threading.Event()
    held = sse([chunk("half "), chunk("whole", finish_reason="stop")], hold=gate)
    with ScriptedServer(held, answer("again")) as server, open_live_panel(server) as (panel, session, sleep):
        send_prompt(panel, "hi")
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        set_value(panel.rows[0].slider, 0.5)
        wait_until(lambda: sleep.held == 1)
        moved = panel.rows[0].slider
        sleep.end_after(lambda: set_value(moved, 1.5))
        gate.set()
        wait_until(lambda: sleep.held == 1 and not panel.controls.send.disabled)
        session.wait_submitted(sleep)
        assert [post.body.get("temperature") for post in server.posts] == [None, 1.5]
        assert {turn.kind: turn.status for turn in session.turns} == {"chat": "complete", "live": "complete"}


def test_the_running_answer_is_cancelled_and_makes_room() -> None:
    """The server sees the close within a second; the half answer is no lane, and no part of the conversation."""
    with ScriptedServer(half(), answer("whole")) as server, open_panel(server) as panel:
        set_value(panel.controls.live, True)
        send_prompt(panel, "hi")
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        set_value(panel.rows[0].slider, 1.5)
        server.wait_closed(server.posts[0], 1.0)
        wait_until(lambda: any("whole" in lane for lane in lanes(panel)))
        wait_idle(panel)
        assert len(lanes(panel)) == 1 and lanes(panel)[0].startswith("temperature 1.5")
        statuses = {turn.answer: (turn.kind, turn.status) for turn in panel._session.turns}
        assert statuses == {"half": ("chat", "interrupted"), "whole": ("live", "complete")}


def test_stop_ends_what_a_slider_asked_and_what_it_was_about_to_ask() -> None:
    """A lane that was stopped says so; a slider that has not settled yet asks nothing after Stop."""
    with ScriptedServer(answer("one"), half()) as server, open_live_panel(server) as (panel, session, sleep):
        ask_and_wait(panel, "hi")
        set_value(panel.rows[0].slider, 1.5)
        wait_until(lambda: sleep.held == 1)
        sleep.end()
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        set_value(panel.rows[0].slider, 0.5)
        wait_until(lambda: sleep.held == 1)
        click(panel.controls.stop)
        wait_idle(panel)
        session.wait_submitted(sleep)
        assert len(server.posts) == 2 and "[stopped before it was complete]" in lanes(panel)[1]


def test_a_slider_asks_nothing_unless_live_and_unless_something_was_sent() -> None:
    """No question of its own accord: not before Send, and not when live mode is off again."""
    with ScriptedServer(answer("ok")) as server, open_live_panel(server) as (panel, session, sleep):
        set_value(panel.controls.prompt, "half a prom")
        set_value(panel.rows[0].slider, 0.5)
        session.wait_submitted(sleep)
        assert server.posts == []
        ask_and_wait(panel, "hi")
        set_value(panel.rows[0].slider, 1.5)
        wait_until(lambda: sleep.held == 1)
        set_value(panel.controls.live, False)
        session.wait_submitted(sleep)
        set_value(panel.rows[0].slider, 0.75)
        session.wait_submitted(sleep)
        assert len(server.posts) == 1


def test_an_answer_under_way_goes_along_when_live_mode_is_switched() -> None:
    """Shown in a lane while it is on, alone when it is off, and complete at its end."""
    hold = threading.Event()
    held = sse([chunk("a "), chunk("b "), chunk("c", finish_reason="stop")], hold=hold)
    with ScriptedServer(held) as server, open_panel(server) as panel:
        send_prompt(panel, "hi")
        wait_until(lambda: "b" in visible_text(panel.dialogue.answer.children[0]))
        set_value(panel.controls.live, True)
        assert panel.dialogue.answer.layout.display == "none"
        hold.set()
        wait_until(lambda: "a b c" in lanes(panel)[0])
        set_value(panel.controls.live, False)
        assert panel.dialogue.lanes.layout.display == "none"
        assert visible_text(panel.dialogue.answer.children[0]) == "a b c"
