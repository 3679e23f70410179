"""The panel's handles, questions and answers, with real widgets and a scripted server."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from chatglm_magic import Session
from chatglm_magic.magics import config

from .clock import in_time
from .panels import ask, give, idle, press, send, shown, until, words
from .servers import ScriptedServer, answer, chunk, hang, legacy, reply, sse

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
    with ScriptedServer(pieces) as server, shown(server) as panel:
        panel._session.settings.temperature = 1.5
        send(panel, "hi")
        until(lambda: "half" in words(panel.dialogue.answer.children[0]))
        assert panel.controls.send.disabled and not panel.controls.stop.disabled
        hold.set()
        idle(panel)
        text, line = (words(part) for part in panel.dialogue.answer.children)
        assert text == "half whole"
        for part in ("test-glm", "7 tokens", "tokens/s", "first token 0.", "s in all", "finish: stop"):
            assert part in line, line


def test_what_the_server_changed_stands_in_the_line() -> None:
    """THUDM's api.py reads 0 as unset, so 0.01 is sent: asked, sent and changed are shown apart."""
    with ScriptedServer(legacy("ok")) as server, shown(server, "") as panel:
        give(panel.rows[0].number, 0.0)
        ask(panel, "hi")
        assert server.posts[0].body["temperature"] == 0.01
        assert "changed: temperature: 0 sent as 0.01" in words(panel.dialogue.answer.children[1])


def test_stop_keeps_what_had_arrived() -> None:
    """The server sees the close within a second, the turn is kept as interrupted, and Send works again."""
    half = sse([chunk("half"), chunk("rest")], pause=0.2, hold=threading.Event())
    with ScriptedServer(half) as server, shown(server) as panel:
        send(panel, "hi")
        until(lambda: "half" in words(panel.dialogue.answer.children[0]))
        press(panel.controls.stop)
        server.wait_closed(server.posts[0], 1.0)
        idle(panel)
        assert texts(panel._session) == [("hi", "half", "interrupted")]
        assert "Stopped" in words(panel.status) and panel.controls.stop.disabled


def test_stop_at_once_leaves_no_question_pending() -> None:
    """A question that is stopped before it began is a turn too, and the panel is free again, twenty times."""
    with ScriptedServer(hang()) as server, shown(server) as panel:
        for number in range(20):
            send(panel, f"q{number}")
            press(panel.controls.stop)
            idle(panel)
        assert [turn.status for turn in panel._session.turns] == ["interrupted"] * 20


def test_D14_a_double_click_is_one_question() -> None:
    """Two clicks in a row ask once, also where the first answer has come before the second click."""
    with ScriptedServer(legacy("ok")) as server, shown(server, "") as panel:
        send(panel, "hi")
        idle(panel)
        press(panel.controls.send)
        idle(panel)
        assert len(server.posts) == 1 and len(panel._session.turns) == 1


def test_D14_send_while_an_answer_streams_asks_nothing() -> None:
    """A click that was on its way when the button was switched off is let be."""
    hold = threading.Event()
    held = sse([chunk("a"), chunk("b", finish_reason="stop")], hold=hold)
    with ScriptedServer(held) as server, shown(server) as panel:
        send(panel, "one")
        until(lambda: len(server.posts) == 1)
        give(panel.controls.prompt, "two")
        panel.controls.send.click()
        panel.controls.again.click()
        hold.set()
        idle(panel)
        assert len(server.posts) == 1 and texts(panel._session) == [("one", "ab", "complete")]


def test_D14_a_slider_moved_right_after_send_changes_the_next_question() -> None:
    """Before the question has left, too: the loop is busy with something else for that long."""
    busy, free = threading.Event(), threading.Event()

    async def hold_up() -> None:
        busy.set()
        free.wait(10)

    with ScriptedServer(answer("ok")) as server, shown(server) as panel:
        give(panel.rows[0].number, 0.5)
        until(lambda: "●" in words(panel.connection.children[-1]))
        panel._session.submit(hold_up())
        assert busy.wait(10)
        send(panel, "hi")
        give(panel.rows[0].slider, 1.75)
        give(panel.controls.prompt, "changed")
        assert server.posts == []
        free.set()
        idle(panel)
        body = server.posts[0].body
        assert body["temperature"] == 0.5 and body["messages"][-1]["content"] == "hi"


def test_D14_a_slider_moved_while_an_answer_streams_changes_the_next_question() -> None:
    """What was asked is settled at Send: also a question that must wait, or ask again, has those values."""
    gate = threading.Event()

    def late(connection: Any, asked: Any) -> None:
        assert gate.wait(10)
        reply({"error": "busy"}, status=503, Retry_After="0")(connection, asked)

    with ScriptedServer(late, answer("ok")) as server, shown(server) as panel:
        give(panel.rows[0].number, 0.5)
        send(panel, "hi")
        until(lambda: len(server.posts) == 1)
        give(panel.rows[0].slider, 1.75)
        give(panel.fields.system, "Be brief.")
        gate.set()
        idle(panel)
        assert [post.body["temperature"] for post in server.posts] == [0.5, 0.5]
        assert panel._session.turns[0].asked["temperature"] == 0.5
        ask(panel, "next")
        assert server.posts[2].body["temperature"] == 1.75
        assert server.posts[2].body["messages"][0] == {"role": "system", "content": "Be brief."}


def test_D13_two_panels_and_a_cell_share_a_session_without_mixing() -> None:
    """Three answers stream at once, each in its own place, and the conversation has all three in order."""
    hold = threading.Event()

    def own(connection: Any, asked: Any) -> None:
        word = asked.body["messages"][-1]["content"]
        events = [*(chunk(f"{word}{n} ") for n in range(40)), chunk("end", finish_reason="stop")]
        sse(events, pause=0.004, hold=hold)(connection, asked)

    def whole(word: str) -> str:
        return "".join(f"{word}{n} " for n in range(40)) + "end"

    with ScriptedServer(own) as server, shown(server) as one, shown(session=one._session) as two:
        send(one, "eins")
        until(lambda: len(server.posts) == 1)
        send(two, "zwei")
        until(lambda: len(server.posts) == 2)
        threading.Timer(0.3, hold.set).start()
        assert one._session.ask("drei") == whole("drei")
        idle(one)
        idle(two)
        assert words(one.dialogue.answer.children[0]) == whole("eins")
        assert words(two.dialogue.answer.children[0]) == whole("zwei")
        asked = [turn.prompt for turn in one._session.turns]
        assert asked == ["eins", "zwei", "drei"] and one.controls.prompt.value == "eins"


def test_D12_no_character_is_lost_in_a_hundred_answers() -> None:
    """Widgets are set from the loop's thread while callbacks come in others: each text is exact at its end."""
    pieces = [f"{n}字 " for n in range(60)]
    with ScriptedServer(answer(*pieces)) as server, shown(server) as panel:
        for number in range(100):
            clicking = threading.Thread(target=send, args=(panel, f"q{number}"))
            clicking.start()
            give(panel.rows[0].number, number / 100)
            clicking.join()
            until(lambda: len(server.posts) == number + 1)  # noqa: B023
            idle(panel)
            assert words(panel.dialogue.answer.children[0]) == "".join(pieces).strip()
        assert len(panel._session.turns) == 100


def test_D16_updates_are_no_more_than_twenty_answers() -> None:
    """A long answer in many pieces: what goes to the page is bounded, and its last frame is whole."""
    sent: list[int] = []
    pieces = [f"word{n:05d} " for n in range(6000)]
    long = sse([*map(chunk, pieces), chunk("", finish_reason="stop")])
    with ScriptedServer(long) as server, shown(server) as panel:
        panel.dialogue.answer.children[0].observe(lambda change: sent.append(len(change["new"])), "value")
        send(panel, "hi")
        idle(panel, 60)
        size = sum(map(len, pieces))
        assert len(sent) >= 3 and sum(sent) <= 20 * size
        assert words(panel.dialogue.answer.children[0]) == "".join(pieces).strip()


def test_regenerate_takes_the_place_of_the_last_answer() -> None:
    """The new question sees what the old one saw; the old turn is superseded, and so it is for Send unchanged."""
    answers = [answer(text) for text in ("first", "one", "two", "three")]
    with ScriptedServer(*answers) as server, shown(server) as panel:
        ask(panel, "before")
        ask(panel, "hi")
        press(panel.controls.again)
        idle(panel)
        assert words(panel.dialogue.answer.children[0]) == "two"
        time.sleep(0.5)  # else it would be a double click
        ask(panel, "hi")
        statuses = {turn.answer: turn.status for turn in panel._session.turns}
        assert statuses == {"first": "complete", "one": "superseded", "two": "superseded", "three": "complete"}
        asked = [[m["content"] for m in post.body["messages"]] for post in server.posts[1:]]
        assert asked == [["before", "first", "hi"]] * 3


def test_regenerate_in_a_new_panel_takes_the_conversations_last_answer() -> None:
    """Also one that a cell has asked; with no answer at all it says so and asks nothing."""
    with ScriptedServer(answer("one"), answer("two")) as server, shown(server) as panel:
        press(panel.controls.again)
        assert "no answer to regenerate" in words(panel.status) and server.posts == []
        panel._session.ask("hi")
        press(panel.controls.again)
        idle(panel)
        assert texts(panel._session)[-1][1] in ("one", "two") and len(server.posts) == 2
        assert sorted(turn.status for turn in panel._session.turns) == ["complete", "superseded"]


HANDLES = ("settings", "config", "llm", "number", "slider")


@pytest.mark.parametrize("handle", HANDLES)
@pytest.mark.parametrize(("name", "value"), [("temperature", 1.25), ("top_p", 0.35), ("max_token", 512)])
def test_one_truth_whichever_handle_moves(handle: str, name: str, value: float) -> None:
    """Settings, %chatglm_config, session.llm, sliders and boxes show the same within 0.2 s, in two panels."""
    session = Session()
    at = ("temperature", "top_p", "max_token").index(name)
    with shown(session=session) as one, shown(session=session) as two:
        assert session.llm is not None  # LangChain has been imported
        began = time.monotonic()
        if handle in ("number", "slider"):
            give(getattr(one.rows[at], handle), value)
        elif handle == "config":
            config.apply(session, config.assignments(f"{name}={value}"))
        else:
            setattr(getattr(session, handle), name, value)
        rows = [one.rows[at], two.rows[at]]
        until(lambda: all(row.number.value == row.slider.value == value for row in rows))
        took = time.monotonic() - began
        assert getattr(session.llm, name) == getattr(session.settings, name) == value
        assert not any(row.unset.value for row in rows)
        in_time(took, 0.2)


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
    with shown(session=session) as one, shown(session=session) as two:
        give(getattr(one.fields, name), typed)
        assert getattr(session.settings, name) == getattr(session.llm, name) == value
        assert getattr(two.fields, name).value == getattr(one.fields, name).value
        setattr(session.llm, name, {"stop": ["x"], "seed": 7, "with_history": True}.get(name, "high"))
        assert str(getattr(one.fields, name).value) in ("x", "7", "True", "high")
        assert getattr(two.fields, name).value == getattr(one.fields, name).value


def test_unset_leaves_a_parameter_to_the_server() -> None:
    """A choice in both directions: its key is absent from the next body, and there again when it is taken back."""
    with ScriptedServer(answer("ok")) as server, shown(server) as panel, shown(session=panel._session) as other:
        row = panel.rows[0]
        assert row.unset.value, "an untouched default is not sent to /v1"
        give(row.unset, False)
        assert not row.unset.value and not other.rows[0].unset.value
        ask(panel, "one")
        assert server.posts[0].body["temperature"] == 0.1
        give(row.unset, True)
        assert panel._session.settings.temperature is None and other.rows[0].unset.value
        ask(panel, "two")
        assert "temperature" not in server.posts[1].body
        give(row.slider, 0.9)
        assert not row.unset.value
        ask(panel, "three")
        assert server.posts[2].body["temperature"] == 0.9


def test_reset_brings_the_default_back() -> None:
    """The value, the slider's range, and that it is not sent where nobody has asked for it."""
    with ScriptedServer(answer("ok")) as server, shown(server) as panel:
        row = panel.rows[0]
        give(row.number, 7.5)
        assert row.slider.max == 7.5 and row.slider.value == 7.5
        press(row.reset)
        assert row.number.value == row.slider.value == 0.1 and row.slider.max == 2 and row.unset.value
        ask(panel, "hi")
        assert "temperature" not in server.posts[0].body


def test_the_range_is_the_servers() -> None:
    """0 to 2 unless it is known: Z.ai takes 0 to 1; a value beyond it widens the slider, and is not clamped."""
    with shown() as panel:
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
    with ScriptedServer(answer("ok"), on_get=MODELS) as server, shown() as panel:
        state, model = panel.connection.children[-1], panel.connection.model
        panel._session.settings.endpoint_url = "http://127.0.0.1:1/"
        until(lambda: "Nothing answers at" in words(state))
        give(panel.connection.endpoint, f" {server.url}v1 ")
        assert panel._session.settings.endpoint_url == f"{server.url}v1"
        until(lambda: "● Found a server that speaks OpenAI's protocol" in words(state))
        assert model.options == ("glm-4", "glm-4-plus")
        give(model, "glm-4-plus")
        give(panel.connection.dialect, "openai")
        ask(panel, "hi")
        assert server.posts[0].body["model"] == "glm-4-plus" and panel._session.settings.dialect == "openai"
        server.on_get = reply({"data": [{"id": "new"}]})
        press(panel.connection.check)
        until(lambda: model.options == ("new",))


def test_an_older_look_does_not_overwrite_a_newer_one() -> None:
    """The first endpoint answers after the second: what stands there is about the second."""
    gate, read = threading.Event(), threading.Event()

    def slow(connection: Any, asked: Any) -> None:
        assert gate.wait(1.5)
        reply({"data": [{"id": "old"}]})(connection, asked)
        connection.recv(1)  # until the client closes
        read.set()

    first, second = ScriptedServer(legacy(), on_get=slow), ScriptedServer(legacy(), on_get=MODELS)
    with first, second, shown(first) as panel:
        until(lambda: len(first.asked) == 1)
        panel._session.settings.endpoint_url = f"{second.url}v1"
        until(lambda: panel.connection.model.options == ("glm-4", "glm-4-plus"))
        gate.set()
        assert read.wait(5)
        panel._session.submit(asyncio.sleep(0.1)).result()  # type: ignore[arg-type]
        assert panel.connection.model.options == ("glm-4", "glm-4-plus")
        assert "with glm-4" in words(panel.connection.children[-1])


def test_the_panel_tells_what_goes_along() -> None:
    """with_history with how many turns that are; none when it is off."""
    with ScriptedServer(answer("ok")) as server, shown(server) as panel:
        until(lambda: panel.fields.context.value == "context: 0 turns")
        ask(panel, "one")
        assert panel.fields.context.value == "context: 1 turn"
        give(panel.fields.with_history, False)
        assert panel.fields.context.value == "context: 0 turns"
        ask(panel, "two")
        assert [m["content"] for m in server.posts[1].body["messages"]] == ["two"]


def test_where_turns_are_kept_is_said_in_the_panel(tmp_path: Any) -> None:
    """The store's news: the first question tells the file; none where nothing is kept."""
    session = Session()
    session.settings.store = str(tmp_path)
    with ScriptedServer(answer("ok")) as server, shown(server, session=session) as panel:
        ask(panel, "hi")
        until(lambda: str(tmp_path) in words(panel._news))
        session.settings.store = "off"


def test_history_is_made_when_it_is_opened() -> None:
    """The section's button says how many turns there are; the viewer comes with the first click."""
    with ScriptedServer(answer("ok")) as server, shown(server) as panel:
        ask(panel, "hi")
        button = panel.past.children[0]
        assert button.description == "Show history (1 turn)" and len(panel.past.children) == 1
        press(button)
        assert button.description == "Hide history (1 turn)" and len(panel.past.children) == 2
        viewer = panel.past.children[1]
        press(button)
        press(button)
        assert panel.past.children[1] is viewer


def test_a_closed_panel_is_gone() -> None:
    """Its answer is cancelled, and nothing of the session follows it any more."""
    with ScriptedServer(hang()) as server, shown(server) as panel:
        send(panel, "hi")
        until(lambda: len(server.posts) == 1)
        panel.close()
        server.wait_closed(server.posts[0], 1.0)
        session, number = panel._session, panel.rows[0].number
        session.settings.temperature = 1.75
        assert number.value != 1.75
        asked = len(server.asked)
        session.settings.endpoint_url = server.url
        time.sleep(0.2)
        assert len(server.asked) == asked
