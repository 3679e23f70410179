"""The panel's handles, questions and answers, with real widgets and a scripted server."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from chatglm_magic import Session
from chatglm_magic.magics import config

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
from .support.servers import ScriptedServer, answer, chunk, hang, legacy, reply, sse
from .support.timers import TrackedSession

MODELS = reply({"data": [{"id": "glm-4"}, {"id": "glm-4-plus"}]})


def texts(session: Session) -> list[tuple[str, str, str]]:
    return [(turn.prompt, turn.answer, turn.status) for turn in session.turns]


def test_an_answer_streams_into_the_panel_and_ends_with_a_line_about_it() -> None:
    """Text as it comes; then model, tokens, their rate, times, how it ended, and what was changed of the wish."""
    hold = threading.Event()
    pieces = sse(
        [chunk("half "), chunk("whole", finish_reason="stop"), {"choices": [], "usage": {"completion_tokens": 7}}],
        pause=0.06,
        hold=hold,
    )
    with ScriptedServer(pieces) as server, open_panel(server) as panel:
        panel._session.settings.temperature = 1.5
        send_prompt(panel, "hi")
        wait_until(lambda: "half" in visible_text(panel.dialogue.answer.children[0]))
        assert panel.controls.send.disabled and not panel.controls.stop.disabled
        hold.set()
        wait_idle(panel)
        text, line = (visible_text(part) for part in panel.dialogue.answer.children)
        assert text == "half whole"
        for part in ("test-glm", "7 tokens", "tokens/s", "first token ", "s in all", "finish: stop"):
            assert part in line, line


def test_what_the_server_changed_stands_in_the_line() -> None:
    """THUDM's api.py reads 0 as unset, so 0.01 is sent: asked, sent and changed are shown apart."""
    with ScriptedServer(legacy("ok")) as server, open_panel(server, "") as panel:
        set_value(panel.rows[0].number, 0.0)
        ask_and_wait(panel, "hi")
        assert server.posts[0].body["temperature"] == 0.01
        assert "changed: temperature: 0 sent as 0.01" in visible_text(panel.dialogue.answer.children[1])


def test_stop_keeps_what_had_arrived() -> None:
    """The server sees the close within a second, the turn is kept as interrupted, and Send works again."""
    half = sse([chunk("half"), chunk("rest")], pause=0.2, hold=threading.Event())
    with ScriptedServer(half) as server, open_panel(server) as panel:
        send_prompt(panel, "hi")
        wait_until(lambda: "half" in visible_text(panel.dialogue.answer.children[0]))
        click(panel.controls.stop)
        server.wait_closed(server.posts[0], 1.0)
        wait_idle(panel)
        assert texts(panel._session) == [("hi", "half", "interrupted")]
        assert "Stopped" in visible_text(panel.status) and panel.controls.stop.disabled


def test_stop_at_once_leaves_no_question_pending() -> None:
    """A question that is stopped before it began is a turn too, and the panel is free again, twenty times."""
    with ScriptedServer(hang()) as server, open_panel(server) as panel:
        for number in range(20):
            send_prompt(panel, f"q{number}")
            click(panel.controls.stop)
            wait_idle(panel)
        assert [turn.status for turn in panel._session.turns] == ["interrupted"] * 20


@pytest.mark.row("D14")
def test_a_double_click_is_one_question() -> None:
    """Two clicks in a row ask once, also where the first answer has come before the second click."""
    with ScriptedServer(legacy("ok")) as server, open_panel(server, "") as panel:
        send_prompt(panel, "hi")
        wait_idle(panel)
        click(panel.controls.send)
        wait_idle(panel)
        assert len(server.posts) == 1 and len(panel._session.turns) == 1


@pytest.mark.row("D14")
def test_send_while_an_answer_streams_asks_nothing() -> None:
    """A click that was on its way when the button was switched off is let be."""
    hold = threading.Event()
    held = sse([chunk("a"), chunk("b", finish_reason="stop")], hold=hold)
    with ScriptedServer(held) as server, open_panel(server) as panel:
        send_prompt(panel, "one")
        wait_until(lambda: len(server.posts) == 1)
        set_value(panel.controls.prompt, "two")
        panel.controls.send.click()
        panel.controls.again.click()
        hold.set()
        wait_idle(panel)
        assert len(server.posts) == 1 and texts(panel._session) == [("one", "ab", "complete")]


@pytest.mark.row("D14")
def test_a_slider_moved_right_after_send_changes_the_next_question() -> None:
    """Before the question has left, too: the loop is busy with something else for that long."""
    busy, free = threading.Event(), threading.Event()

    async def hold_up() -> None:
        busy.set()
        free.wait(10)

    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        set_value(panel.rows[0].number, 0.5)
        wait_until(lambda: "●" in visible_text(panel.connection.children[-1]))
        panel._session.submit(hold_up())
        assert busy.wait(10)
        send_prompt(panel, "hi")
        set_value(panel.rows[0].slider, 1.75)
        set_value(panel.controls.prompt, "changed")
        assert server.posts == []
        free.set()
        wait_idle(panel)
        body = server.posts[0].body
        assert body["temperature"] == 0.5 and body["messages"][-1]["content"] == "hi"


@pytest.mark.row("D14")
def test_a_slider_moved_while_an_answer_streams_changes_the_next_question() -> None:
    """What was asked is settled at Send: also a question that must wait, or ask again, has those values."""
    gate = threading.Event()

    def late(connection: Any, asked: Any) -> None:
        assert gate.wait(10)
        reply({"error": "busy"}, status=503, Retry_After="0")(connection, asked)

    with ScriptedServer(late, answer("ok")) as server, open_panel(server) as panel:
        set_value(panel.rows[0].number, 0.5)
        send_prompt(panel, "hi")
        wait_until(lambda: len(server.posts) == 1)
        set_value(panel.rows[0].slider, 1.75)
        set_value(panel.fields.system, "Be brief.")
        gate.set()
        wait_idle(panel)
        assert [post.body["temperature"] for post in server.posts] == [0.5, 0.5]
        assert panel._session.turns[0].asked["temperature"] == 0.5
        ask_and_wait(panel, "next")
        assert server.posts[2].body["temperature"] == 1.75
        assert server.posts[2].body["messages"][0] == {"role": "system", "content": "Be brief."}


@pytest.mark.row("D13")
def test_two_panels_and_a_cell_share_a_session_without_mixing() -> None:
    """Three answers stream at once, each in its own place, and the conversation has all three in order."""
    hold = threading.Event()

    def own(connection: Any, asked: Any) -> None:
        word = asked.body["messages"][-1]["content"]
        events = [*(chunk(f"{word}{n} ") for n in range(40)), chunk("end", finish_reason="stop")]
        sse(events, pause=0.004, hold=hold)(connection, asked)

    def whole(word: str) -> str:
        return "".join(f"{word}{n} " for n in range(40)) + "end"

    with ScriptedServer(own) as server, open_panel(server) as one, open_panel(session=one._session) as two:
        send_prompt(one, "eins")
        wait_until(lambda: len(server.posts) == 1)
        send_prompt(two, "zwei")
        wait_until(lambda: len(server.posts) == 2)
        threading.Timer(0.3, hold.set).start()
        assert one._session.ask("drei") == whole("drei")
        wait_idle(one)
        wait_idle(two)
        assert visible_text(one.dialogue.answer.children[0]) == whole("eins")
        assert visible_text(two.dialogue.answer.children[0]) == whole("zwei")
        asked = [turn.prompt for turn in one._session.turns]
        assert asked == ["eins", "zwei", "drei"] and one.controls.prompt.value == "eins"


@pytest.mark.row("D12")
def test_no_character_is_lost_in_a_hundred_answers() -> None:
    """Widgets are set from the loop's thread while callbacks come in others: each text is exact at its end."""
    pieces = [f"{n}字 " for n in range(60)]
    with ScriptedServer(answer(*pieces)) as server, open_panel(server) as panel:
        for number in range(100):
            clicking = threading.Thread(target=send_prompt, args=(panel, f"q{number}"))
            clicking.start()
            set_value(panel.rows[0].number, number / 100)
            clicking.join()
            wait_until(lambda: len(server.posts) == number + 1)  # noqa: B023
            wait_idle(panel)
            assert visible_text(panel.dialogue.answer.children[0]) == "".join(pieces).strip()
        assert len(panel._session.turns) == 100


@pytest.mark.row("D16")
def test_updates_are_no_more_than_twenty_answers() -> None:
    """A long answer in many pieces: what goes to the page is bounded, and its last frame is whole."""
    sent: list[int] = []
    pieces = [f"word{n:05d} " for n in range(6000)]
    long = sse([*map(chunk, pieces), chunk("", finish_reason="stop")])
    with ScriptedServer(long) as server, open_panel(server) as panel:
        panel.dialogue.answer.children[0].observe(lambda change: sent.append(len(change["new"])), "value")
        send_prompt(panel, "hi")
        wait_idle(panel, 60)
        size = sum(map(len, pieces))
        assert len(sent) >= 3 and sum(sent) <= 20 * size
        assert visible_text(panel.dialogue.answer.children[0]) == "".join(pieces).strip()


def test_regenerate_takes_the_place_of_the_last_answer() -> None:
    """The new question sees what the old one saw; the old turn is superseded, and so it is for Send unchanged."""
    answers = [answer(text) for text in ("first", "one", "two", "three")]
    with ScriptedServer(*answers) as server, open_panel(server) as panel:
        ask_and_wait(panel, "before")
        ask_and_wait(panel, "hi")
        click(panel.controls.again)
        wait_idle(panel)
        assert visible_text(panel.dialogue.answer.children[0]) == "two"
        ask_and_wait(panel, "hi")
        statuses = {turn.answer: turn.status for turn in panel._session.turns}
        assert statuses == {"first": "complete", "one": "superseded", "two": "superseded", "three": "complete"}
        asked = [[m["content"] for m in post.body["messages"]] for post in server.posts[1:]]
        assert asked == [["before", "first", "hi"]] * 3


def test_regenerate_in_a_new_panel_takes_the_conversations_last_answer() -> None:
    """Also one that a cell has asked; with no answer at all it says so and asks nothing."""
    with ScriptedServer(answer("one"), answer("two")) as server, open_panel(server) as panel:
        click(panel.controls.again)
        assert "no answer to regenerate" in visible_text(panel.status) and server.posts == []
        panel._session.ask("hi")
        click(panel.controls.again)
        wait_idle(panel)
        assert texts(panel._session)[-1][1] in ("one", "two") and len(server.posts) == 2
        assert sorted(turn.status for turn in panel._session.turns) == ["complete", "superseded"]


HANDLES = ("settings", "config", "llm", "number", "slider")


@pytest.mark.parametrize("handle", HANDLES)
@pytest.mark.parametrize(("name", "value"), [("temperature", 1.25), ("top_p", 0.35), ("max_token", 512)])
def test_one_truth_whichever_handle_moves(handle: str, name: str, value: float) -> None:
    """Settings, %chatglm_config, session.llm, sliders and boxes show the same within 0.2 s, in two panels."""
    session = Session()
    at = ("temperature", "top_p", "max_token").index(name)
    with open_panel(session=session) as one, open_panel(session=session) as two:
        assert session.llm is not None  # LangChain has been imported
        began = time.monotonic()
        if handle in ("number", "slider"):
            set_value(getattr(one.rows[at], handle), value)
        elif handle == "config":
            config.apply(session, config.assignments(f"{name}={value}"))
        else:
            setattr(getattr(session, handle), name, value)
        rows = [one.rows[at], two.rows[at]]
        wait_until(lambda: all(row.number.value == row.slider.value == value for row in rows))
        took = time.monotonic() - began
        assert getattr(session.llm, name) == getattr(session.settings, name) == value
        assert not any(row.unset.value for row in rows)
        assert_within(took, 0.2)


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("system", "Be brief.", "Be brief."),
        ("system", "  ", None),
        ("thinking", "low", "low"),
        ("seed", " 42 ", 42),
        ("seed", "", None),
        ("stop", "###\n\\n\\n\n\\\\n", ["###", "\n\n", "\\n"]),
        ("stop", "", None),
        ("with_history", False, False),
    ],
)
def test_the_other_fields_are_handles_too(name: str, typed: Any, value: Any) -> None:
    """What is typed is set, and what is set shows: in the panel it was typed in, and in another."""
    session = Session()
    with open_panel(session=session) as one, open_panel(session=session) as two:
        set_value(getattr(one.fields, name), typed)
        assert getattr(session.settings, name) == getattr(session.llm, name) == value
        assert getattr(two.fields, name).value == getattr(one.fields, name).value
        setattr(session.llm, name, {"stop": ["x"], "seed": 7, "with_history": True}.get(name, "high"))
        assert str(getattr(one.fields, name).value) in ("x", "7", "True", "high")
        assert getattr(two.fields, name).value == getattr(one.fields, name).value


def test_unset_leaves_a_parameter_to_the_server() -> None:
    """A choice in both directions: its key is absent from the next body, and there again when it is taken back."""
    with (
        ScriptedServer(answer("ok")) as server,
        open_panel(server) as panel,
        open_panel(session=panel._session) as other,
    ):
        row = panel.rows[0]
        assert row.unset.value, "an untouched default is not sent to /v1"
        set_value(row.unset, False)
        assert not row.unset.value and not other.rows[0].unset.value
        ask_and_wait(panel, "one")
        assert server.posts[0].body["temperature"] == 0.1
        set_value(row.unset, True)
        assert panel._session.settings.temperature is None and other.rows[0].unset.value
        ask_and_wait(panel, "two")
        assert "temperature" not in server.posts[1].body
        set_value(row.slider, 0.9)
        assert not row.unset.value
        ask_and_wait(panel, "three")
        assert server.posts[2].body["temperature"] == 0.9


def test_reset_brings_the_default_back() -> None:
    """The value, the slider's range, and that it is not sent where nobody has asked for it."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        row = panel.rows[0]
        set_value(row.number, 7.5)
        assert row.slider.max == 7.5 and row.slider.value == 7.5
        click(row.reset)
        assert row.number.value == row.slider.value == 0.1 and row.slider.max == 2 and row.unset.value
        ask_and_wait(panel, "hi")
        assert "temperature" not in server.posts[0].body


def test_the_range_is_the_servers() -> None:
    """0 to 2 unless it is known: Z.ai takes 0 to 1; a value beyond it widens the slider, and is not clamped."""
    with open_panel() as panel:
        slider, settings = panel.rows[0].slider, panel._session.settings
        assert (slider.min, slider.max) == (0, 2)
        settings.endpoint_url = "https://api.z.ai/api/paas/v4"
        assert (slider.min, slider.max) == (0, 1)
        settings.temperature = 1.5
        assert slider.max == slider.value == 1.5 and settings.temperature == 1.5
        settings.endpoint_url = "http://127.0.0.1:1/v1"
        assert (slider.max, slider.value) == (2, 1.5)


def test_the_state_of_the_connection_follows_the_endpoint() -> None:
    """A dot and words: nothing, ChatGLM's own, OpenAI's with its models to choose from; Check looks once more."""
    with ScriptedServer(answer("ok"), on_get=MODELS) as server, open_panel() as panel:
        state, model = panel.connection.children[-1], panel.connection.model
        panel._session.settings.endpoint_url = "http://127.0.0.1:1/"
        wait_until(lambda: "Nothing answers at" in visible_text(state))
        set_value(panel.connection.endpoint, f" {server.url}v1 ")
        assert panel._session.settings.endpoint_url == f"{server.url}v1"
        wait_until(lambda: "● Found a server that speaks OpenAI's protocol" in visible_text(state))
        assert model.options == ("glm-4", "glm-4-plus")
        set_value(model, "glm-4-plus")
        set_value(panel.connection.dialect, "openai")
        ask_and_wait(panel, "hi")
        assert server.posts[0].body["model"] == "glm-4-plus" and panel._session.settings.dialect == "openai"
        server.on_get = reply({"data": [{"id": "new"}]})
        click(panel.connection.check)
        wait_until(lambda: model.options == ("new",))


def test_an_older_look_does_not_overwrite_a_newer_one() -> None:
    """The first endpoint answers after the second: what stands there is about the second."""
    gate, read = threading.Event(), threading.Event()

    def slow(connection: Any, asked: Any) -> None:
        assert gate.wait(1.5)
        reply({"data": [{"id": "old"}]})(connection, asked)
        connection.recv(1)  # until the client closes
        read.set()

    first, second = ScriptedServer(legacy(), on_get=slow), ScriptedServer(legacy(), on_get=MODELS)
    session = TrackedSession()
    with first, second, open_panel(first, session=session) as panel:
        wait_until(lambda: len(first.asked) == 1)
        session.settings.endpoint_url = f"{second.url}v1"
        wait_until(lambda: panel.connection.model.options == ("glm-4", "glm-4-plus"))
        gate.set()
        assert read.wait(5)
        session.wait_submitted()
        assert panel.connection.model.options == ("glm-4", "glm-4-plus")
        assert "with glm-4" in visible_text(panel.connection.children[-1])


def test_the_panel_tells_what_goes_along() -> None:
    """with_history with how many turns that are; none when it is off."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        wait_until(lambda: panel.fields.context.value == "context: 0 turns")
        ask_and_wait(panel, "one")
        assert panel.fields.context.value == "context: 1 turn"
        set_value(panel.fields.with_history, False)
        assert panel.fields.context.value == "context: 0 turns"
        ask_and_wait(panel, "two")
        assert [m["content"] for m in server.posts[1].body["messages"]] == ["two"]


def test_where_turns_are_kept_is_said_in_the_panel(tmp_path: Any) -> None:
    """The store's news: the first question tells the file; none where nothing is kept."""
    session = Session()
    session.settings.store = str(tmp_path)
    with ScriptedServer(answer("ok")) as server, open_panel(server, session=session) as panel:
        ask_and_wait(panel, "hi")
        wait_until(lambda: str(tmp_path) in visible_text(panel._news))
        session.settings.store = "off"


def test_history_is_made_when_it_is_opened() -> None:
    """The section's button says how many turns there are; the viewer comes with the first click."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        ask_and_wait(panel, "hi")
        button = panel.past.children[0]
        assert button.description == "Show history (1 turn)" and len(panel.past.children) == 1
        click(button)
        assert button.description == "Hide history (1 turn)" and len(panel.past.children) == 2
        viewer = panel.past.children[1]
        click(button)
        click(button)
        assert panel.past.children[1] is viewer


def test_a_closed_panel_is_gone() -> None:
    """Its answer is cancelled, and nothing of the session follows it any more."""
    session = TrackedSession()
    with ScriptedServer(hang()) as server, open_panel(server, session=session) as panel:
        send_prompt(panel, "hi")
        wait_until(lambda: len(server.posts) == 1)
        panel.close()
        server.wait_closed(server.posts[0], 1.0)
        number = panel.rows[0].number
        session.settings.temperature = 1.75
        assert number.value != 1.75
        session.wait_submitted()
        asked = len(server.asked)
        session.settings.endpoint_url = server.url
        session.wait_submitted()
        assert len(server.asked) == asked
