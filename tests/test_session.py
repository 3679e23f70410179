"""The session: one conversation, one truth for parameters, nothing lost."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from traitlets import TraitError

from chatglm_magic import ChatGLM, Session, history_viewer, lens, panel, sweep
from chatglm_magic.errors import IncompleteAnswerError, ParameterError, ResponseError
from chatglm_magic.session.conversation import Conversation
from chatglm_magic.session.draft import Draft
from chatglm_magic.session.settings import make_settings
from chatglm_magic.values import Answer, Turn

from .support.clock import assert_within
from .support.servers import Asked, Script, ScriptedServer, answer, chunk, drip, hang, legacy, raw, reply, sse


def session_at(url: str) -> Session:
    session = Session()
    session.settings.endpoint_url = url
    return session


def test_an_answer_is_text_that_knows_its_turn() -> None:
    """What was asked, what was sent and what came back stand in the turn."""
    with ScriptedServer(answer("你", "好", usage={"completion_tokens": 2})) as server:
        session = session_at(server.url + "v1")
        session.settings.temperature = 0.5
        said = session.ask("hi", seed=3)
        assert isinstance(said, Answer) and said == "你好"
        turn = said.turn
        assert turn.asked == {"temperature": 0.5, "seed": 3}
        assert turn.sent["temperature"] == 0.5 and turn.sent["seed"] == 3
        assert (turn.status, turn.finish_reason, turn.usage) == ("complete", "stop", {"completion_tokens": 2})
        assert turn.first_token is not None and turn.duration is not None
        assert turn.first_token <= turn.duration
        assert Turn.from_json(turn.to_json()) == turn


def test_a_conversation_is_sent_along() -> None:
    """The second question carries the first exchange; one asked outside carries and leaves none."""
    with ScriptedServer(legacy(lambda body: body["prompt"].upper())) as server:
        session = session_at(server.url)
        session.ask("a")
        session.ask("b")
        session.ask("c", history=False)
        session.ask("d")
        assert [post.body["history"] for post in server.posts] == [
            [],
            [["a", "A"]],
            [],
            [["a", "A"], ["b", "B"]],
        ]


def test_llm_history_is_the_conversation() -> None:
    """session.llm.invoke goes on with it, and an assignment to history changes it."""
    with ScriptedServer(legacy(lambda body: body["prompt"].upper())) as server:
        session = session_at(server.url)
        session.ask("a")
        session.llm.invoke("b")
        session.ask("c")
        assert server.posts[2].body["history"] == [["a", "A"], ["b", "B"]]
        session.llm.history = [["x", "y"]]
        session.ask("d")
        assert server.posts[3].body["history"] == [["x", "y"]]
        assert [turn.prompt for turn in session.turns if turn.status == "complete"] == ["x", "d"]


def test_with_history_off_keeps_the_turn_out_of_the_context() -> None:
    """As in the original: what is there is sent, nothing is added."""
    with ScriptedServer(legacy("ok")) as server:
        session = session_at(server.url)
        session.ask("a")
        session.settings.with_history = False
        session.ask("b")
        session.ask("c")
        assert server.posts[2].body["history"] == [["a", "ok"]]
        assert len(session.turns) == 3


def test_a_failed_turn_is_kept_but_not_sent() -> None:
    """An incomplete answer stays in the record with its text, and out of the context."""
    with ScriptedServer(sse([chunk("你好")], done=False), answer("ok")) as server:
        session = session_at(server.url + "v1")
        with pytest.raises(IncompleteAnswerError):
            session.ask("a")
        session.ask("b")
        assert [(turn.status, turn.answer) for turn in session.turns] == [
            ("incomplete", "你好"),
            ("complete", "ok"),
        ]
        assert len(server.posts[1].body["messages"]) == 1


def test_a_rerun_cell_supersedes_its_earlier_runs_alone() -> None:
    """A loop in one run keeps all its turns; a new run sees what stood before, and later turns stay."""
    talk = Conversation()

    def run(cell: str, number: int, *prompts: str) -> list[tuple[str, ...]]:
        seen = []
        for prompt in prompts:
            point = talk.point_for_cell(cell, number)
            seen.append(tuple(question for question, _ in point.history))
            turn = Turn(prompt, prompt.upper(), cell_id=cell, cell_run=number)
            talk.insert_pending(point, turn).pending = False
        return seen

    assert run("c1", 1, "a", "b", "c") == [(), ("a",), ("a", "b")]
    assert run("c2", 2, "d") == [("a", "b", "c")]
    assert run("c1", 3, "A1", "B1") == [(), ("A1",)]
    assert [question for question, _ in talk.pairs()] == ["A1", "B1", "d"]
    assert run("c2", 4, "D1") == [("A1", "B1")]
    assert len(talk.turns) == 7


def test_what_does_not_fit_is_left_out_from_the_oldest() -> None:
    """A refusal for length shortens the conversation, and the turn says by how many turns."""
    refuse = reply(
        {"error": {"message": "request (300 tokens) exceeds the available context size (200 tokens), try"}},
        status=400,
    )
    with ScriptedServer(*[answer("x" * 30)] * 4, refuse, answer("ok")) as server:
        session = session_at(server.url + "v1")
        for prompt in "abcd":
            session.ask(prompt)
        turn = session.ask("e").turn
        assert turn.turns_left_out == 2 and turn.turns_sent == 2
        assert server.posts[-1].body["messages"][0]["content"] == "c"


def test_a_prompt_that_is_too_long_by_itself_is_an_error() -> None:
    """With nothing left to leave out, the refusal stands."""
    with ScriptedServer(reply({"error": {"message": "maximum context length is 10"}}, status=400)) as server:
        session = session_at(server.url + "v1")
        with pytest.raises(ResponseError) as caught:
            session.ask("a" * 100)
        assert caught.value.kind == "too_long" and len(server.posts) == 1


def test_four_handles_on_one_value() -> None:
    """A change of the settings shows in the model, and a change of the model in the settings."""
    session = Session()
    session.settings.temperature = 0.3
    assert session.llm.temperature == 0.3
    session.llm.temperature = 0.9
    assert session.settings.temperature == 0.9
    session.settings.top_p = None
    assert session.llm.top_p is None
    session.llm = ChatGLM(temperature=1.5, endpoint_url="http://127.0.0.1:9/")
    assert (session.settings.temperature, session.settings.endpoint_url) == (1.5, "http://127.0.0.1:9/")
    assert session.llm.with_history is True


def test_an_untouched_default_is_not_a_wish() -> None:
    """The settings' defaults are not sent to /v1; a value that was set is, also when it equals the default."""
    with ScriptedServer(answer("ok")) as server:
        session = session_at(server.url + "v1")
        session.ask("a")
        session.settings.temperature = 0.1
        session.ask("b")
        assert "temperature" not in server.posts[0].body
        assert server.posts[1].body["temperature"] == 0.1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "hot"])
def test_settings_refuse_what_no_server_takes(value: object) -> None:
    """A trait says no before anything is sent."""
    with pytest.raises(TraitError):
        Session().settings.temperature = value


def test_a_refused_value_in_the_configuration_does_not_stop_the_extension() -> None:
    """%config keeps a refused value; loading again must still work, with a warning."""
    from traitlets.config import Config, Configurable

    shell = Configurable(config=Config({"ChatGLMSettings": {"temperature": 99, "top_p": 0.5}}))
    with pytest.warns(UserWarning, match="temperature"):
        settings = make_settings(shell)
    assert (settings.temperature, settings.top_p) == (0.1, 0.5)


def test_the_endpoint_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """CHATGLM_ENDPOINT_URL is the address where nothing else is set."""
    monkeypatch.setenv("CHATGLM_ENDPOINT_URL", "http://127.0.0.1:7777/v1")
    assert Session().llm.endpoint_url == "http://127.0.0.1:7777/v1"


def test_a_session_takes_no_other_llm() -> None:
    """What is no ChatGLM is refused with a message."""
    with pytest.raises(ParameterError, match="must be a ChatGLM"):
        Session().llm = "gpt"  # type: ignore[assignment]


def test_an_error_about_the_model_lists_the_servers_models() -> None:
    """A wrong model name is answered with the right ones."""
    refuse = reply({"error": {"message": "The model `x` does not exist."}}, status=404)
    with ScriptedServer(refuse, on_get=reply({"data": [{"id": "glm-4.7"}, {"id": "glm-5"}]})) as server:
        session = session_at(server.url + "v1")
        with pytest.raises(ResponseError, match=r"glm-4\.7, glm-5"):
            session.ask("hi", model="x")


def test_an_error_about_a_missing_model_lists_those_of_the_server_that_was_asked() -> None:
    """Another endpoint of one question is looked at, not the session's."""
    refuse = reply({"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}, status=422)
    with (
        ScriptedServer(legacy(), on_get=reply({"data": [{"id": "wrong"}]})) as own,
        ScriptedServer(refuse, on_get=reply({"data": [{"id": "right"}]})) as other,
    ):
        session = session_at(own.url + "v1")
        with pytest.raises(ResponseError, match="has: right"):
            session.ask("hi", endpoint_url=other.url + "v1")
        assert own.asked == []


def test_an_interrupt_while_models_are_looked_up_loses_no_turn() -> None:
    """The look behind an error can be cancelled; the turn is kept all the same."""
    refuse = reply({"error": {"message": "The model `x` does not exist."}}, status=404)

    looked = threading.Event()

    def look(connection: socket.socket, asked: Asked) -> None:
        looked.set()
        hang()(connection, asked)

    async def cancelled(session: Session) -> None:
        task = asyncio.ensure_future(session.aask("x", model="x"))
        await asyncio.to_thread(looked.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ScriptedServer(refuse, on_get=look) as server:
        session = session_at(server.url + "v1")
        asyncio.run(cancelled(session))
        assert [turn.status for turn in session.turns] == ["error"]


def test_probe_looks_once_and_says_what_it_found() -> None:
    """One GET; a server of the other kind is recognised, a silent port is not fatal."""
    with ScriptedServer(legacy(), on_get=reply({"data": [{"id": "glm"}]})) as server:
        found = session_at(server.url + "v1").probe()
        assert found.models == ("glm",) and [asked.method for asked in server.asked] == ["GET"]
    with ScriptedServer(legacy()) as server:
        assert "api.py" in session_at(server.url).probe().text
    with ScriptedServer(legacy(), on_get=reply({"detail": "Not Found"}, status=404)) as server:
        assert "/v1" in session_at(server.url).probe().text
    assert not session_at("http://127.0.0.1:1/").probe().answered


@pytest.mark.row("S27")
def test_a_server_that_is_open_to_others_is_pointed_out() -> None:
    """GLM's demo servers listen on every address: the session says so; one on loopback alone is the control."""
    import socket

    with ScriptedServer(reply({"data": []})) as server:
        assert "Beware" not in session_at(server.url + "v1").probe().text
    script = reply({"data": []})
    server = ScriptedServer(script)
    server._listener.close()
    server._listener = socket.create_server(("0.0.0.0", 0))
    with server:
        assert "others can use it" in session_at(f"http://127.0.0.1:{server.port}/v1").probe().text


def test_two_questions_at_once_do_not_mix() -> None:
    """A task and a thread ask the same session; each gets its own text, both turns are kept."""
    texts = {"a": "甲" * 50, "b": "乙" * 50}

    def by_prompt(body: dict[str, str]) -> str:
        return texts[body["prompt"]]

    with ScriptedServer(legacy(by_prompt)) as server:
        session = session_at(server.url)
        assert session.llm.history == []
        found: dict[str, str] = {}
        future = session.submit(session.aask("a"))
        thread = threading.Thread(target=lambda: found.update(b=session.ask("b")))
        thread.start()
        thread.join()
        assert (future.result(10), found["b"]) == (texts["a"], texts["b"])
        assert {turn.answer for turn in session.turns} == set(texts.values())


def test_a_view_that_fails_loses_nothing() -> None:
    """What was received is kept, whatever becomes of showing it."""

    class Bad:
        def update(self, draft: object) -> None:
            if draft.text:  # type: ignore[attr-defined]
                raise RuntimeError("no screen")

        def close(self, turn: Turn) -> None:
            raise RuntimeError("no screen")

    with ScriptedServer(answer("你", "好"), legacy("whole")) as server:
        session = session_at(server.url + "v1")
        with pytest.raises(RuntimeError):
            session.ask("a", view=Bad())
        session.settings.endpoint_url = server.url
        with pytest.raises(RuntimeError):
            session.ask("b", view=Bad())
        assert session.turns[0].answer.startswith("你")
        assert len(session.turns) == 2


def shout(body: dict[str, str]) -> str:
    return body["prompt"].upper()


def test_a_question_that_cant_be_asked_supersedes_nothing() -> None:
    """A bad option in a re-run cell leaves its earlier answer in place; so does a run that is not recorded."""
    with ScriptedServer(legacy(shout)) as server:
        session = session_at(server.url)
        for number, prompt in enumerate(("one", "two"), 1):
            session.cell = (f"c{number}", number)
            session.ask(prompt)
        session.cell = ("c1", 3)
        with pytest.raises(ParameterError):
            session.ask("one", temperature=99)
        session.ask("one", record=False)
        assert [(turn.prompt, turn.status) for turn in session.turns] == [("one", "complete"), ("two", "complete")]


def test_looking_at_the_turns_while_a_cell_is_asked_again_changes_nothing() -> None:
    """A panel that lists the turns during a re-run brings no superseded turn back."""

    class Looks:
        def update(self, draft: object) -> None:
            assert session.turns is not None

        def close(self, turn: Turn) -> None:
            assert session.turns is not None

    with ScriptedServer(legacy(shout)) as server:
        session = session_at(server.url)
        session.cell = ("c1", 1)
        session.ask("one")
        session.cell = ("c2", 2)
        session.ask("two")
        session.cell = ("c1", 3)
        session.ask("uno", view=Looks())
        session.cell = ("c3", 4)
        session.ask("three")
        assert server.posts[-1].body["history"] == [["uno", "UNO"], ["two", "TWO"]]


def test_turns_stand_in_the_order_they_were_asked() -> None:
    """A quick question asked after a slow one stands behind it, whoever finishes first."""

    second_ended = threading.Event()

    def slow_first(body: dict[str, str]) -> str:
        if body["prompt"] == "first":
            assert second_ended.wait(20)
        return body["prompt"]

    with ScriptedServer(legacy(slow_first)) as server:
        session = session_at(server.url)
        future = session.submit(session.aask("first"))
        session.ask("second")
        second_ended.set()
        future.result(20)
        assert [turn.prompt for turn in session.turns] == ["first", "second"]


def test_a_reset_while_a_question_runs_keeps_its_answer_out_of_the_new_conversation() -> None:
    """What began before a reset is no context after it."""

    was_reset = threading.Event()

    def slow(body: dict[str, str]) -> str:
        assert was_reset.wait(20)
        return "late"

    with ScriptedServer(legacy(slow)) as server:
        session = session_at(server.url)
        future = session.submit(session.aask("old"))
        session.reset()
        was_reset.set()
        assert future.result(20) == "late"
        assert session.llm.history == []


def test_an_invoke_meanwhile_is_not_overwritten() -> None:
    """session.llm.invoke during a panel's question keeps its exchange."""

    invoked = threading.Event()

    def slow(body: dict[str, str]) -> str:
        assert body["prompt"] != "panel" or invoked.wait(20)
        return body["prompt"].upper()

    with ScriptedServer(legacy(slow)) as server:
        session = session_at(server.url)
        future = session.submit(session.aask("panel"))
        session.llm.invoke("x")
        invoked.set()
        future.result(20)
        assert sorted(session.llm.history) == [["panel", "PANEL"], ["x", "X"]]


def test_an_async_question_is_settled_when_it_is_made() -> None:
    """A slider moved before the task runs does not change the question, and the record says what was sent."""
    with ScriptedServer(answer("ok")) as server:
        session = session_at(server.url + "v1")
        session.llm.temperature = 0.1
        question = session.aask("h")
        session.llm.temperature = 0.9
        turn = session.submit(question).result(10).turn
        assert server.posts[0].body["temperature"] == turn.sent["temperature"] == 0.1


def test_an_interrupt_while_showing_records_the_turn_once() -> None:
    """The turn is kept before it is shown; an interrupt then is no second turn."""

    class Interrupts:
        def update(self, draft: object) -> None:
            """Nothing."""

        def close(self, turn: Turn) -> None:
            raise KeyboardInterrupt

    with ScriptedServer(legacy("ok")) as server:
        session = session_at(server.url)
        with pytest.raises(KeyboardInterrupt):
            session.ask("a", view=Interrupts())
        assert [turn.status for turn in session.turns] == ["complete"]


def test_a_new_llm_brings_its_own_wishes() -> None:
    """What was set on the old one is no wish of the new one."""
    with ScriptedServer(answer("ok")) as server:
        session = Session()
        session.llm.temperature = 0.5
        session.llm = ChatGLM(endpoint_url=server.url + "v1", max_retries=50, timeout=7)
        session.ask("a")
        assert "temperature" not in server.posts[0].body
        assert session.settings.idle == 7
        session.settings.idle = 8
        expected = {"connect": 5.0, "first_byte": 7.0, "idle": 8.0, "content": 7.0, "total": 3600.0}
        assert session.llm.timeout == expected


def test_a_preview_is_the_request_that_is_sent() -> None:
    """Parameters and conversation of --dry-run are those of the question, in a re-run cell too."""
    with ScriptedServer(answer("ok")) as server:
        session = session_at(server.url + "v1")
        session.cell = ("c1", 1)
        session.ask("a")
        session.settings.temperature = 0.1
        session.cell = ("c1", 2)
        expected = dict(session.preview("a").body)
        session.ask("a")
        assert server.posts[1].body == expected and expected["temperature"] == 0.1


@pytest.mark.parametrize("script", [hang(), raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), drip()])
def test_a_probe_is_never_fatal_and_never_long(script: Script) -> None:
    """Silence, a short body or a byte at a time: two seconds, no foreign error."""
    with ScriptedServer(legacy(), on_get=script) as server:
        began = time.monotonic()
        session_at(server.url + "v1").probe()
        assert_within(time.monotonic() - began, 4.5)


def test_a_cancelled_task_stops_although_data_keeps_coming() -> None:
    """A cancellation that comes together with data is not lost."""

    async def cancelled(session: Session) -> None:
        streams = asyncio.Event()

        class Sees:
            def update(self, draft: Draft) -> None:
                if len(draft.text) >= 10:
                    streams.set()

            def close(self, turn: Turn) -> None:
                """Nothing."""

        task = asyncio.ensure_future(session.aask("x", view=Sees()))
        await asyncio.wait_for(streams.wait(), 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)

    with ScriptedServer(answer(*["a"] * 3000, pause=0.01)) as server:
        for _ in range(3):
            session = session_at(server.url + "v1")
            asyncio.run(cancelled(session))
            assert session.turns[-1].status == "interrupted"


@pytest.mark.parametrize("takes", [panel, history_viewer, partial(sweep, "x"), partial(lens, "x")])
@pytest.mark.parametrize("given", [ChatGLM(), 5, ""])
def test_what_is_no_session_is_refused(takes: Callable[..., object], given: object) -> None:
    """A model in its place, as people try, is told of by name, and nothing is asked."""
    with pytest.raises(ParameterError, match=f"not {type(given).__name__}"):
        takes(session=given)


def test_versions_stand_in_one_place_and_one_is_chosen(tmp_path: Path) -> None:
    """Asked again, an answer has versions, the oldest first; the chosen one is what later prompts send."""
    session = Session()
    session.settings.store = str(tmp_path)
    answers = iter(["one", "two", "next", "last"])
    with ScriptedServer(legacy(lambda body: next(answers))) as server:
        session.settings.endpoint_url = server.url
        first = session.ask("hi").turn.id
        session.ask("hi", replaces=first)
        session.ask("more")
        assert [[turn.answer for turn in each.turns] for each in session.versions] == [["one", "two"], ["next"]]
        assert [each.turn.answer for each in session.versions] == ["two", "next"]
        session.choose_version(first)
        session.choose_version("of no turn")
        assert session.versions[0].current == 0 and session.llm.history == [["hi", "one"], ["more", "next"]]
        session.ask("last?")
        assert server.posts[-1].body["history"] == [["hi", "one"], ["more", "next"]]
        kept = {turn.answer: turn.status for turn in session.history.all}
        assert kept == {"one": "complete", "two": "superseded", "next": "complete", "last": "complete"}
    session.close()
