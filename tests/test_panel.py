"""The panel's handles, questions and answers, with real widgets and a scripted server."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic import Session
from chatglm_magic.magics import config

from .support.clock import assert_within
from .support.panels import (
    ask_and_wait,
    choose,
    open_panel,
    press,
    press_beside,
    read_answer,
    read_answers,
    read_notices,
    read_text,
    record_copies,
    send_prompt,
    type_prompt,
    wait_idle,
    wait_until,
)
from .support.servers import ScriptedServer, answer, chunk, hang, legacy, reply, sse
from .support.timers import TrackedSession

MODELS = reply({"data": [{"id": "glm-4"}, {"id": "glm-4-plus"}]})


def texts(session: Session) -> list[tuple[str, str, str]]:
    return [(turn.prompt, turn.answer, turn.status) for turn in session.turns]


def test_an_answer_streams_into_the_panel_and_ends_with_a_line_about_it() -> None:
    """Text as it comes; then model, tokens, their rate and the time, and further facts behind a word."""
    hold = threading.Event()
    pieces = sse(
        [chunk("half "), chunk("whole", finish_reason="stop"), {"choices": [], "usage": {"completion_tokens": 7}}],
        pause=0.06,
        hold=hold,
    )
    with ScriptedServer(pieces) as server, open_panel(server) as panel:
        panel._session.settings.temperature = 1.5
        send_prompt(panel, "hi")
        wait_until(lambda: "half" in read_answer(panel))
        assert panel.transcript.busy
        hold.set()
        wait_idle(panel)
        answered = read_answers(panel)[-1]
        assert read_text(answered) == "half whole" and answered.label == "test-glm"
        assert re.fullmatch(r"7 tokens · \d+ tok/s · \d+\.\d s", answered.meta)
        facts = dict(answered.facts)
        assert facts["Model"] == "test-glm" and facts["Ended"] == "stop" and facts["First token"].endswith(" s")


def test_what_the_server_changed_stands_under_the_answer() -> None:
    """THUDM's api.py reads 0 as unset, so 0.01 is sent: asked, sent and changed are shown apart."""
    with ScriptedServer(legacy("ok")) as server, open_panel(server, "") as panel:
        choose(panel, "temperature", 0.0)
        ask_and_wait(panel, "hi")
        assert server.posts[0].body["temperature"] == 0.01
        assert read_notices(panel)[0].startswith("Changed: temperature: 0 sent as 0.01")


def test_stop_keeps_what_had_arrived() -> None:
    """The server sees the close within a second, the turn is kept as interrupted, and Send works again."""
    half = sse([chunk("half"), chunk("rest")], pause=0.2, hold=threading.Event())
    with ScriptedServer(half) as server, open_panel(server) as panel:
        send_prompt(panel, "hi")
        wait_until(lambda: "half" in read_answer(panel))
        press(panel, "stop")
        server.wait_closed(server.posts[0], 1.0)
        wait_idle(panel)
        assert texts(panel._session) == [("hi", "half", "interrupted")]
        assert panel.transcript.announced == "Stopped."
        (notice,) = [message.notice for message in panel.transcript.all_messages if message.notice]
        assert (notice.text, notice.tone) == ("Stopped.", "muted"), "what was wanted is no fault"


def test_stop_at_once_leaves_no_question_pending() -> None:
    """A question that is stopped before it began is a turn too, and the panel is free again, twenty times."""
    with ScriptedServer(hang()) as server, open_panel(server) as panel:
        for number in range(20):
            send_prompt(panel, f"q{number}")
            press(panel, "stop")
            wait_idle(panel)
        assert [turn.status for turn in panel._session.turns] == ["interrupted"] * 20


@pytest.mark.row("D14")
def test_a_double_click_is_one_question() -> None:
    """Two clicks in a row ask once, also where the first answer has come before the second click."""
    with ScriptedServer(legacy("ok")) as server, open_panel(server, "") as panel:
        send_prompt(panel, "hi")
        wait_idle(panel)
        send_prompt(panel, "hi")
        wait_idle(panel)
        assert len(server.posts) == 1 and len(panel._session.turns) == 1


@pytest.mark.row("D14")
def test_send_while_an_answer_streams_asks_nothing() -> None:
    """The box keeps the text, and a line says what to do first."""
    hold = threading.Event()
    held = sse([chunk("a"), chunk("b", finish_reason="stop")], hold=hold)
    with ScriptedServer(held) as server, open_panel(server) as panel:
        send_prompt(panel, "one")
        wait_until(lambda: len(server.posts) == 1)
        send_prompt(panel, "two")
        press(panel, "again")
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
        choose(panel, "temperature", 0.5)
        wait_until(lambda: panel.sidebar.head["text"] != "Connecting…")
        panel._session.submit(hold_up())
        assert busy.wait(10)
        send_prompt(panel, "hi")
        choose(panel, "temperature", 1.75)
        type_prompt(panel, "changed")
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
        choose(panel, "temperature", 0.5)
        send_prompt(panel, "hi")
        wait_until(lambda: len(server.posts) == 1)
        choose(panel, "temperature", 1.75)
        choose(panel, "system", "Be brief.")
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
        assert [read_text(message) for message in read_answers(one)][:2] == [whole("eins"), whole("zwei")]
        assert [turn.prompt for turn in one._session.turns] == ["eins", "zwei", "drei"]
        assert [read_text(message) for message in read_answers(two)] == list(map(whole, ("eins", "zwei", "drei")))


@pytest.mark.row("D12")
def test_no_character_is_lost_in_a_hundred_answers() -> None:
    """Widgets are set from the loop's thread while callbacks come in others: each text is exact at its end."""
    pieces = [f"{n}字 " for n in range(60)]
    with ScriptedServer(answer(*pieces)) as server, open_panel(server) as panel:
        for number in range(100):
            clicking = threading.Thread(target=send_prompt, args=(panel, f"q{number}"))
            clicking.start()
            choose(panel, "temperature", number / 100)
            clicking.join()
            wait_until(lambda: len(server.posts) == number + 1)  # noqa: B023
            wait_idle(panel)
            assert read_answer(panel) == "".join(pieces).strip()
        assert len(panel._session.turns) == 100


@pytest.mark.row("D16")
def test_what_is_sent_of_an_answer_is_hardly_more_than_it() -> None:
    """Of each update only what is new goes to the page, and at the end the page has all."""
    sent: list[dict[str, Any]] = []
    pieces = [f"word{n:05d} " for n in range(6000)]
    long = sse([*map(chunk, pieces), chunk("", finish_reason="stop")])
    with ScriptedServer(long) as server, open_panel(server) as panel:
        panel.transcript.comm.send = lambda data=None, **other: sent.append(data)
        send_prompt(panel, "hi")
        wait_idle(panel, 60)
        size = sum(map(len, pieces))
        changes = [data["content"] for data in sent if data.get("content", {}).get("do") == "change"]
        assert len(changes) >= 3 and len(str(changes)) <= 2 * size
        assert read_answer(panel) == "".join(pieces).strip()


def test_regenerate_takes_the_place_of_the_last_answer() -> None:
    """The new question sees what the old one saw; the old turn is superseded, and so it is for Send unchanged."""
    answers = [answer(text) for text in ("first", "one", "two", "three")]
    with ScriptedServer(*answers) as server, open_panel(server) as panel:
        ask_and_wait(panel, "before")
        ask_and_wait(panel, "hi")
        press(panel, "again")
        wait_idle(panel)
        assert read_answer(panel) == "two"
        ask_and_wait(panel, "hi")
        statuses = {turn.answer: turn.status for turn in panel._session.turns}
        assert statuses == {"first": "complete", "one": "superseded", "two": "superseded", "three": "complete"}
        asked = [[m["content"] for m in post.body["messages"]] for post in server.posts[1:]]
        assert asked == [["before", "first", "hi"]] * 3


def test_regenerate_in_a_new_panel_takes_the_conversations_last_answer() -> None:
    """Also one that a cell has asked; with no answer at all it says so and asks nothing."""
    with ScriptedServer(answer("one"), answer("two")) as server, open_panel(server) as panel:
        press(panel, "again")
        assert server.posts == []
        panel._session.ask("hi")
        press(panel, "again")
        wait_idle(panel)
        assert texts(panel._session)[-1][1] in ("one", "two") and len(server.posts) == 2
        assert sorted(turn.status for turn in panel._session.turns) == ["complete", "superseded"]


HANDLES = ("settings", "config", "llm", "panel")


@pytest.mark.parametrize("handle", HANDLES)
@pytest.mark.parametrize(("name", "value"), [("temperature", 1.25), ("top_p", 0.35), ("max_token", 512)])
def test_one_truth_whichever_handle_moves(handle: str, name: str, value: float) -> None:
    """Settings, %chatglm_config, session.llm and the panel show the same within 0.2 s, in two panels."""
    session = Session()
    with open_panel(session=session) as one, open_panel(session=session) as two:
        assert session.llm is not None  # LangChain has been imported
        began = time.monotonic()
        if handle == "panel":
            choose(one, name, value)
        elif handle == "config":
            config.set_parameters(session, config.parse_assignments(f"{name}={value}"))
        else:
            setattr(getattr(session, handle), name, value)
        wait_until(lambda: all(panel.sidebar.values[name] == value for panel in (one, two)))
        took = time.monotonic() - began
        assert getattr(session.llm, name) == getattr(session.settings, name) == value
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
        choose(one, name, typed)
        assert getattr(session.settings, name) == getattr(session.llm, name) == value
        assert two.sidebar.values[name] == one.sidebar.values[name]
        setattr(session.llm, name, {"stop": ["x"], "seed": 7, "with_history": True}.get(name, "high"))
        assert str(one.sidebar.values[name]) in ("x", "7", "True", "high")
        assert two.sidebar.values[name] == one.sidebar.values[name]


def test_an_empty_box_leaves_a_parameter_to_the_server() -> None:
    """Its key is absent from the next body; a default that nobody has set shows as the server's."""
    with (
        ScriptedServer(answer("ok")) as server,
        open_panel(server) as panel,
        open_panel(session=panel._session) as other,
    ):
        assert panel.sidebar.values["temperature"] is None, "an untouched default is not sent to /v1"
        choose(panel, "temperature", "0.5")
        assert panel.sidebar.values["temperature"] == other.sidebar.values["temperature"] == 0.5
        ask_and_wait(panel, "one")
        assert server.posts[0].body["temperature"] == 0.5
        choose(panel, "temperature", "")
        assert panel._session.settings.temperature is None and other.sidebar.values["temperature"] is None
        ask_and_wait(panel, "two")
        assert "temperature" not in server.posts[1].body
        choose(panel, "temperature", 0.9)
        ask_and_wait(panel, "three")
        assert server.posts[2].body["temperature"] == 0.9


def test_a_number_out_of_range_is_refused_beside_its_box() -> None:
    """The box keeps what was typed, the reason stands under it, and what holds is what held before."""
    session = Session()
    session.settings.endpoint_url = "http://127.0.0.1:1/v1"
    with open_panel(session=session) as panel:
        for name, typed, why in (
            ("temperature", "50", "Temperature must be a number from 0 to 10, or empty."),
            ("temperature", "warm", "Temperature must be a number from 0 to 10, or empty."),
            ("max_token", "0", "Max tokens must be a whole number of at least 1, or empty."),
            ("max_token", "1.5", "Max tokens must be a whole number of at least 1, or empty."),
            ("top_p", "nan", "Top-p must be a number from 0 to 1, or empty."),
        ):
            choose(panel, name, typed)
            assert panel.sidebar.errors == {name: {"typed": typed, "text": why}}
            assert panel.sidebar.values[name] is None and name not in panel._session.settings.chosen
            choose(panel, name, "")
            assert panel.sidebar.errors == {}


def test_a_range_that_was_widened_goes_back() -> None:
    """Typing 10 widens the slider of temperature; with a smaller value it has its own range again."""
    with open_panel() as panel:
        for value, most in ((7.5, 7.5), (10, 10), (1, 2), (10, 10), ("", 2)):
            choose(panel, "temperature", value)
            assert panel.sidebar.ranges["temperature"] == [0, most]


def test_reset_brings_the_default_back() -> None:
    """The value, the slider's range, and that it is not sent where nobody has asked for it."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        choose(panel, "temperature", 7.5)
        assert panel.sidebar.ranges["temperature"] == [0, 7.5]
        press_beside(panel, "reset", "temperature")
        assert panel.sidebar.values["temperature"] is None and panel.sidebar.ranges["temperature"] == [0, 2]
        assert panel._session.settings.temperature == 0.1
        ask_and_wait(panel, "hi")
        assert "temperature" not in server.posts[0].body


def test_reset_all_leaves_the_server() -> None:
    """Numbers, system prompt, thinking, seed and stop strings go back to nothing; address and model stay."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        given = {"temperature": 1.5, "top_k": 7, "system": "Be brief.", "seed": "1", "stop": "x", "model": "glm-4"}
        for name, value in given.items():
            choose(panel, name, value)
        choose(panel, "top_p", "much")
        press_beside(panel, "defaults")
        values = panel.sidebar.values
        assert (values["temperature"], values["top_k"], values["system"], values["seed"]) == (None, None, "", "")
        assert values["model"] == "glm-4" and panel.sidebar.errors == {}
        ask_and_wait(panel, "hi")
        body = server.posts[0].body
        assert not {"temperature", "top_k", "seed", "stop"} & set(body) and len(body["messages"]) == 1


def test_a_conversation_is_copied_as_its_export_is_written(tmp_path: Path) -> None:
    """The same Markdown as a file that ends in .md; without a conversation, a sentence."""
    with ScriptedServer(answer("It's **blue**.")) as server, open_panel(server) as panel:
        copied = record_copies(panel)
        press_beside(panel, "conversation")
        assert (
            copied == []
            and panel.transcript.notice["text"] == "Ask something first: then the conversation can be copied."
        )
        ask_and_wait(panel, "Which colour has the sea?")
        press_beside(panel, "conversation")
        written = panel._session.history.export(tmp_path / "talk.md")
        assert copied == [written.read_text(encoding="utf-8")] and "It's **blue**." in copied[0]


def test_the_range_is_the_servers() -> None:
    """0 to 2 unless it is known: Z.ai takes 0 to 1; a value beyond it widens the slider, and is not clamped."""
    with open_panel() as panel:
        settings = panel._session.settings
        for url, temperature, most in (
            ("https://api.z.ai/api/paas/v4", None, 1),
            ("https://api.z.ai/api/paas/v4", 1.5, 1.5),
            ("http://127.0.0.1:1/v1", 1.5, 2),
        ):
            settings.endpoint_url, settings.temperature = url, temperature
            assert panel.sidebar.ranges["temperature"] == [0, most]
            assert panel.sidebar.values["temperature"] == temperature


def test_max_tokens_goes_up_to_the_servers_context() -> None:
    """As far as the server tells it: vLLM, llama.cpp and OpenRouter each in a key of their own."""
    row = {"id": "glm", "meta": {"n_ctx_train": 2048}}
    with ScriptedServer(answer("ok"), on_get=reply({"data": [row]})) as server, open_panel(server) as panel:
        wait_until(lambda: panel.sidebar.ranges["max_token"] == [16, 2048])
        server.on_get = reply({"data": [{"id": "glm", "max_model_len": 131072}]})
        press_beside(panel, "check")
        wait_until(lambda: panel.sidebar.ranges["max_token"] == [16, 131072])


def test_the_state_of_the_connection_follows_the_endpoint() -> None:
    """A dot and words: nothing, ChatGLM's own, OpenAI's with its models to choose from; Check probes once more."""
    with ScriptedServer(answer("ok"), on_get=MODELS) as server, open_panel() as panel:
        head = panel.sidebar
        panel._session.settings.endpoint_url = "http://127.0.0.1:1/"
        wait_until(lambda: head.head["tone"] == "failed")
        choose(panel, "endpoint_url", f" {server.url}v1 ")
        assert panel._session.settings.endpoint_url == f"{server.url}v1"
        wait_until(lambda: head.head["tone"] == "good")
        assert "OpenAI's protocol" in head.head["text"]
        assert (head.head["name"], head.head["place"]) == ("glm-4", "this machine")
        assert head.options["model"] == ["glm-4", "glm-4-plus"]
        choose(panel, "model", "glm-4-plus")
        choose(panel, "dialect", "openai")
        assert head.head["name"] == "glm-4-plus"
        ask_and_wait(panel, "hi")
        assert server.posts[0].body["model"] == "glm-4-plus" and panel._session.settings.dialect == "openai"
        server.on_get = reply({"data": [{"id": "new"}]})
        press_beside(panel, "check")
        wait_until(lambda: head.options["model"] == ["new"])


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
        wait_until(lambda: panel.sidebar.options.get("model") == ["glm-4", "glm-4-plus"])
        gate.set()
        assert read.wait(5)
        session.wait_submitted()
        assert panel.sidebar.options["model"] == ["glm-4", "glm-4-plus"]
        assert "with glm-4" in panel.sidebar.head["text"]


def test_the_panel_tells_what_goes_along() -> None:
    """How many turns the next prompt sends; none when that is switched off."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        ask_and_wait(panel, "one")
        wait_until(lambda: panel.sidebar.context == 1)
        choose(panel, "with_history", False)
        wait_until(lambda: panel.sidebar.context == 0)
        ask_and_wait(panel, "two")
        assert [m["content"] for m in server.posts[1].body["messages"]] == ["two"]


def test_where_turns_are_kept_is_said_in_the_panel(tmp_path: Any) -> None:
    """The store's news: the first question tells the file; none where nothing is kept."""
    session = Session()
    session.settings.store = str(tmp_path)
    with ScriptedServer(answer("ok")) as server, open_panel(server, session=session) as panel:
        ask_and_wait(panel, "hi")
        wait_until(lambda: str(tmp_path) in panel.transcript.notice.get("text", ""))
        assert "%" not in panel.transcript.notice["text"], "a panel names no magic"
        session.settings.store = "off"


def test_history_is_made_when_it_is_opened() -> None:
    """The viewer comes with the first click, and stays what it is."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        ask_and_wait(panel, "hi")
        assert len(panel.children) == 2
        press_beside(panel, "history")
        assert panel.sidebar.viewing and len(panel.children) == 3
        viewer = panel.children[2]
        press_beside(panel, "history")
        press_beside(panel, "history")
        assert panel.children[2] is viewer


def test_a_closed_panel_is_gone() -> None:
    """Its answer is cancelled, and nothing of the session follows it any more."""
    session = TrackedSession()
    with ScriptedServer(hang()) as server, open_panel(server, session=session) as panel:
        send_prompt(panel, "hi")
        wait_until(lambda: len(server.posts) == 1)
        panel.close()
        server.wait_closed(server.posts[0], 1.0)
        session.settings.temperature = 1.75
        assert panel.sidebar.values["temperature"] != 1.75
        session.wait_submitted()
        asked = len(server.asked)
        session.settings.endpoint_url = server.url
        session.wait_submitted()
        assert len(server.asked) == asked
