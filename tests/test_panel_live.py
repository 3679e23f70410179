"""Live mode: a slider settles, the prompt is asked again, and the last three answers stand side by side."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chatglm_magic.widgets.panel_box import Panel

from .support.panels import (
    ask_and_wait,
    choose,
    open_panel,
    press,
    read_answer,
    read_answers,
    read_lanes,
    read_text,
    send_prompt,
    type_prompt,
    wait_idle,
    wait_until,
)
from .support.servers import Asked, Script, ScriptedServer, answer, chunk, sse
from .support.timers import HeldSleep, TrackedSession


def lanes(panel: Panel) -> list[str]:
    """Return what a reader sees in each lane."""
    return [f"{lane.label}\n{read_text(lane)}" for lane in read_lanes(panel)]


def half() -> Script:
    """Say half of an answer, and then nothing more."""
    return sse([chunk("half"), chunk("x")], hold=threading.Event())


def by_temperature(connection: Any, asked: Asked) -> None:
    """Say how hot it is, in Chinese."""
    answer("天气", "冷" if asked.body.get("temperature", 0) < 1 else "很热", "。")(connection, asked)


def test_a_slider_that_settles_asks_again_and_the_answers_stand_side_by_side() -> None:
    """Each with its parameters, what differs marked; only what was sent is part of the conversation."""
    with ScriptedServer(by_temperature) as server, open_panel(server) as panel:
        press(panel, "live", on=True)
        ask_and_wait(panel, "hi")
        for number, value in enumerate((0.5, 1.5, 0.75), 2):
            choose(panel, "temperature", value)
            wait_until(lambda: len(panel._session.turns) == number)  # noqa: B023
            wait_idle(panel)
        assert [post.body.get("temperature") for post in server.posts] == [None, 0.5, 1.5, 0.75]
        titles = [lane.label for lane in read_lanes(panel)]
        assert titles == [f"hi\nTemperature {value}" for value in (0.5, 1.5, 0.75)]
        marked = read_lanes(panel)[1].blocks[0]
        assert "很热</mark>" in marked and "天气<mark" in marked
        assert sorted(turn.kind for turn in panel._session.turns) == ["chat", "live", "live", "live"]
        press(panel, "live", on=False)
        ask_and_wait(panel, "next")
        asked = [message["content"] for message in server.posts[4].body["messages"]]
        assert asked == ["hi", "天气冷。", "next"]
        assert [message["content"] for message in server.posts[3].body["messages"]] == ["hi"]


@contextmanager
def open_live_panel(server: ScriptedServer) -> Iterator[tuple[Panel, TrackedSession, HeldSleep]]:
    """Yield a panel in live mode whose sliders settle when the test says so."""
    session, sleep = TrackedSession(), HeldSleep()
    with open_panel(server, session=session, sleep=sleep) as panel:
        press(panel, "live", on=True)
        yield panel, session, sleep


def test_a_slider_that_moves_on_asks_once() -> None:
    """A slider settles after a quarter of a second without a change: the last value is asked with, once."""
    with ScriptedServer(by_temperature) as server, open_live_panel(server) as (panel, session, sleep):
        ask_and_wait(panel, "hi")
        for value in (0.5, 0.75, 1.0, 1.25):
            choose(panel, "temperature", value)
        wait_until(lambda: sleep.held == 4)
        assert sleep.seconds == [0.25] * 4 and len(server.posts) == 1
        session.wait_submitted(sleep)
        assert [post.body.get("temperature") for post in server.posts] == [None, 1.25]
        assert len(session.turns) == 2
        session.settings.top_p = 0.5  # another handle: shown here, but not this panel's slider
        session.wait_submitted(sleep)
        assert len(server.posts) == 2 and panel.sidebar.values["top_p"] == 0.5


def test_a_slider_that_moves_while_the_answer_before_is_being_stopped_asks_once() -> None:
    """The first value has settled and waits for the answer under way to end; only the second one is asked with."""
    with ScriptedServer(half(), by_temperature) as server, open_live_panel(server) as (panel, session, sleep):
        send_prompt(panel, "hi")
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        moved = []

        def move(change: Any) -> None:
            if not change["new"] and not moved:  # Send can be pressed again: the answer under way has just ended
                moved.append(True)
                choose(panel, "temperature", 1.5)

        panel.transcript.observe(move, names="busy")
        choose(panel, "temperature", 0.5)
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
        panel.transcript.observe(lambda change: change["new"] or press(panel, "stop"), names="busy")
        choose(panel, "temperature", 0.5)
        wait_until(lambda: sleep.held == 1)
        sleep.end()
        session.wait_submitted(sleep)
        assert len(server.posts) == 1 and [turn.status for turn in session.turns] == ["interrupted"]
        assert panel.transcript.announced == "Stopped."


def test_send_takes_the_place_of_a_slider_that_has_not_settled() -> None:
    """One question with the slider's value, and nothing stops its answer."""
    gate = threading.Event()
    held = sse([chunk("half "), chunk("whole", finish_reason="stop")], hold=gate)
    with ScriptedServer(answer("one"), held) as server, open_live_panel(server) as (panel, session, sleep):
        ask_and_wait(panel, "hi")
        choose(panel, "temperature", 1.5)
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
        choose(panel, "temperature", 0.5)
        wait_until(lambda: sleep.held == 1)
        sleep.end_after(lambda: choose(panel, "temperature", 1.5))
        gate.set()
        wait_until(lambda: sleep.held == 1 and not panel.transcript.busy)
        session.wait_submitted(sleep)
        assert [post.body.get("temperature") for post in server.posts] == [None, 1.5]
        assert {turn.kind: turn.status for turn in session.turns} == {"chat": "complete", "live": "complete"}


def test_the_running_answer_is_cancelled_and_makes_room() -> None:
    """The server sees the close within a second; the half answer is no lane, and no part of the conversation."""
    with ScriptedServer(half(), answer("whole")) as server, open_panel(server) as panel:
        press(panel, "live", on=True)
        send_prompt(panel, "hi")
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        choose(panel, "temperature", 1.5)
        server.wait_closed(server.posts[0], 1.0)
        wait_until(lambda: any("whole" in lane for lane in lanes(panel)))
        wait_idle(panel)
        assert len(lanes(panel)) == 1 and lanes(panel)[0].startswith("hi\nTemperature 1.5")
        statuses = {turn.answer: (turn.kind, turn.status) for turn in panel._session.turns}
        assert statuses == {"half": ("chat", "interrupted"), "whole": ("live", "complete")}


def test_stop_ends_what_a_slider_asked_and_what_it_was_about_to_ask() -> None:
    """A lane that was stopped says so; a slider that has not settled yet asks nothing after Stop."""
    with ScriptedServer(answer("one"), half()) as server, open_live_panel(server) as (panel, session, sleep):
        ask_and_wait(panel, "hi")
        choose(panel, "temperature", 1.5)
        wait_until(lambda: sleep.held == 1)
        sleep.end()
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        choose(panel, "temperature", 0.5)
        wait_until(lambda: sleep.held == 1)
        press(panel, "stop")
        wait_idle(panel)
        session.wait_submitted(sleep)
        assert len(server.posts) == 2
        assert [lane.notice and lane.notice.text for lane in read_lanes(panel)] == [None, "Stopped."]


def test_a_slider_asks_nothing_unless_live_and_unless_there_is_a_prompt() -> None:
    """Not while the box is empty and nothing was sent, and not when live mode is off again."""
    with ScriptedServer(answer("ok")) as server, open_live_panel(server) as (panel, session, sleep):
        choose(panel, "temperature", 0.5)
        session.wait_submitted(sleep)
        assert server.posts == []
        ask_and_wait(panel, "hi")
        choose(panel, "temperature", 1.5)
        wait_until(lambda: sleep.held == 1)
        press(panel, "live", on=False)
        session.wait_submitted(sleep)
        choose(panel, "temperature", 0.75)
        session.wait_submitted(sleep)
        assert len(server.posts) == 1


def test_an_answer_under_way_goes_along_when_live_mode_is_switched() -> None:
    """Shown in a lane while it is on, alone when it is off, and complete at its end."""
    hold = threading.Event()
    held = sse([chunk("a "), chunk("b "), chunk("c", finish_reason="stop")], hold=hold)
    with ScriptedServer(held) as server, open_panel(server) as panel:
        send_prompt(panel, "hi")
        wait_until(lambda: "b" in read_answer(panel))
        press(panel, "live", on=True)
        assert not read_answers(panel) and len(lanes(panel)) == 1
        hold.set()
        wait_until(lambda: "a b c" in lanes(panel)[0])
        press(panel, "live", on=False)
        assert not lanes(panel)
        assert read_answer(panel) == "a b c"


def test_live_mode_asks_what_stands_in_the_box() -> None:
    """Another text, that was never sent, is asked when a slider settles; each column is headed with its prompt."""
    with ScriptedServer(by_temperature) as server, open_live_panel(server) as (panel, session, sleep):
        ask_and_wait(panel, "hi")
        type_prompt(panel, "and in Berlin?")
        choose(panel, "temperature", 1.5)
        session.wait_submitted(sleep)
        wait_idle(panel)
        asked = [message["content"] for message in server.posts[-1].body["messages"]]
        assert asked == ["hi", "天气冷。", "and in Berlin?"]
        assert [lane.label for lane in read_lanes(panel)] == [
            "hi\nserver defaults",
            "and in Berlin?\nTemperature 1.5",
        ]
        assert [turn.prompt for turn in session.turns if turn.kind == "chat"] == ["hi"]


def test_a_column_is_compared_with_the_one_at_its_left() -> None:
    """The same, somewhat other, or another answer altogether: only in what is alike are words marked."""
    texts = ("one two three four", "one two three four", "one two three five", "quite another text")
    with ScriptedServer(*map(answer, texts)) as server, open_live_panel(server) as (panel, session, sleep):
        ask_and_wait(panel, "hi")
        for value in (0.5, 0.75, 1):
            choose(panel, "temperature", value)
            session.wait_submitted(sleep)
            wait_idle(panel)
            if value == 0.5:
                assert [lane.badge for lane in read_lanes(panel)] == ["", "same as left"]
        assert [lane.badge for lane in read_lanes(panel)] == ["", "", "different answer"]
        marked = [re.findall(r"<mark[^>]*>(.*?)</mark>", lane.blocks[0]) for lane in read_lanes(panel)]
        assert marked == [[], ["five"], []]
