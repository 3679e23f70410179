"""Live mode: a slider settles, the prompt is asked again, and the last three answers stand side by side."""

from __future__ import annotations

import threading
import time
from typing import Any

from chatglm_magic.widgets.panel_box import Panel

from .support.clock import assert_within
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


def test_a_slider_that_moves_on_asks_once() -> None:
    """Changes less than a quarter of a second apart are one: the last value is asked with."""
    with ScriptedServer(by_temperature) as server, open_panel(server) as panel:
        set_value(panel.controls.live, True)
        ask_and_wait(panel, "hi")
        moved = time.monotonic()
        for value in (0.5, 0.75, 1.0, 1.25):
            set_value(panel.rows[0].slider, value)
        wait_until(lambda: len(server.posts) == 2)
        assert server.posts[1].at - moved >= 0.25
        wait_idle(panel)
        assert server.posts[1].body["temperature"] == 1.25
        panel._session.settings.top_p = 0.5  # another handle: shown here, but not this panel's slider
        time.sleep(0.4)
        assert len(server.posts) == 2 and panel.rows[1].slider.value == 0.5


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
    with ScriptedServer(answer("one"), half()) as server, open_panel(server) as panel:
        set_value(panel.controls.live, True)
        ask_and_wait(panel, "hi")
        set_value(panel.rows[0].slider, 1.5)
        wait_until(lambda: any("half" in lane for lane in lanes(panel)))
        moved = time.monotonic()
        set_value(panel.rows[0].slider, 0.5)
        click(panel.controls.stop)
        assert_within(time.monotonic() - moved, 0.2, of="before it settles")
        wait_idle(panel)
        time.sleep(0.4)
        assert len(server.posts) == 2 and "[stopped before it was complete]" in lanes(panel)[1]


def test_a_slider_asks_nothing_unless_live_and_unless_something_was_sent() -> None:
    """No question of its own accord: not before Send, and not when live mode is off again."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        set_value(panel.controls.prompt, "half a prom")
        set_value(panel.controls.live, True)
        set_value(panel.rows[0].slider, 0.5)
        time.sleep(0.4)
        assert server.posts == []
        ask_and_wait(panel, "hi")
        set_value(panel.rows[0].slider, 1.5)
        set_value(panel.controls.live, False)
        time.sleep(0.4)
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
        wait_idle(panel)
        assert "a b c" in lanes(panel)[0]
        set_value(panel.controls.live, False)
        assert panel.dialogue.lanes.layout.display == "none"
        assert visible_text(panel.dialogue.answer.children[0]) == "a b c"
