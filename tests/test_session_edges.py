"""What a session must not lose or do wrongly: shortening twice, interrupts at odd moments, turns under way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from traitlets import TraitError

from chatglm_magic import Session
from chatglm_magic.errors import ChatGLMError, Interrupted, ResponseError
from chatglm_magic.session.settings import TIMEOUT_TRAITS
from chatglm_magic.values import Turn

from .support.servers import Script, ScriptedServer, answer, by_body, chunk, legacy, reply, sse

TOO_LONG = reply({"error": {"message": "maximum context length is 10"}}, status=400)


@pytest.fixture
def session() -> Iterator[Session]:
    """A session that keeps its turns in memory."""
    made = Session()
    made.settings.store = "off"
    yield made
    made.close()


def talk(session: Session, server: ScriptedServer, prompts: str) -> None:
    """Ask each letter as a turn of the conversation."""
    session.settings.endpoint_url = server.url + "v1"
    for prompt in prompts:
        session.ask(prompt)
    server.asked.clear()


def lengths(server: ScriptedServer) -> list[int]:
    return [len(post.body["messages"]) for post in server.posts]


def ask(session: Session, prompt: str, manner: str) -> Any:
    if manner == "sync":
        return session.ask(prompt)
    return session.submit(session.aask(prompt)).result(20)


def fits(most: int, patience: int = 12) -> Script:
    """Refuse more than so many messages; after so many refusals take anything, lest a test never end."""
    left = [patience]

    def choose(body: Any) -> Script:
        left[0] -= len(body["messages"]) > most
        return TOO_LONG if len(body["messages"]) > most and left[0] >= 0 else answer("ok")

    return by_body(choose)


@pytest.mark.parametrize("manner", ["sync", "async"])
def test_a_conversation_is_shortened_until_it_fits(session: Session, manner: str) -> None:
    """Each refusal leaves out more of the oldest turns, never the same again, and the turn counts all of them."""
    with ScriptedServer(answer("x")) as server:
        talk(session, server, "abcdefgh")
        server.scripts[:] = [fits(3)]
        turn = ask(session, "i", manner).turn
        assert lengths(server) == [17, 9, 5, 3]
        assert (turn.turns_left_out, turn.turns_sent, turn.status) == (7, 1, "complete")
        assert [m["content"] for m in server.posts[-1].body["messages"]] == ["h", "x", "i"]
        assert session.turns_in_context == 9, "nothing of the conversation itself is lost"


@pytest.mark.parametrize("manner", ["sync", "async"])
def test_a_conversation_that_never_fits_ends_with_the_refusal(session: Session, manner: str) -> None:
    """Once nothing is left to leave out, the error stands."""
    with ScriptedServer(answer("x")) as server:
        talk(session, server, "abcd")
        server.scripts[:] = [fits(0)]
        with pytest.raises(ResponseError) as raised:
            ask(session, "e", manner)
        assert raised.value.kind == "too_long" and lengths(server) == [9, 5, 3, 1]
        assert session.turns[-1].turns_left_out == 4 and session.turns[-1].status == "error"


@pytest.mark.parametrize(("tokens", "room"), [(100, 200), (100, 100), (0, 0), (101, 100)])
def test_at_least_one_turn_is_left_out_whatever_the_server_counts(
    session: Session, tokens: int, room: int
) -> None:
    """A server whose figures make no sense is not asked the same again."""
    words = f"request ({tokens} tokens) exceeds the available context size ({room} tokens), try increasing it"
    refuse = reply({"error": {"message": words}}, status=400)
    with ScriptedServer(answer("x")) as server:
        talk(session, server, "abc")
        server.scripts[:] = [refuse, answer("ok")]
        assert session.ask("d").turn.turns_left_out == 1
        assert lengths(server) == [7, 5]


def test_as_many_turns_are_left_out_as_the_server_has_tokens_too_many(session: Session) -> None:
    """Half too many tokens are half of the text, the oldest."""
    refuse = reply(
        {"error": {"message": "maximum context length is 100 tokens. However, you requested 200 tokens"}},
        status=400,
    )
    with ScriptedServer(answer("x" * 9)) as server:
        talk(session, server, "abcdefgh")
        server.scripts[:] = [refuse, answer("ok")]
        assert session.ask("i").turn.turns_left_out == 5
        assert server.posts[-1].body["messages"][0]["content"] == "f"


def test_other_refusals_shorten_nothing(session: Session) -> None:
    """Only what is too long is asked again with less."""
    with ScriptedServer(answer("x")) as server:
        talk(session, server, "ab")
        server.scripts[:] = [reply({"error": {"message": "temperature is wrong"}}, status=400)]
        with pytest.raises(ResponseError):
            session.ask("c")
        assert lengths(server) == [5] and session.turns[-1].turns_left_out == 0


@pytest.fixture
def default_handler() -> Iterator[None]:
    """Python's own handler of interrupts, before a test and after it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    left = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert left is signal.default_int_handler


def test_an_interrupt_that_comes_while_the_answer_is_kept_is_not_lost(
    session: Session, default_handler: None
) -> None:
    """The whole turn is kept, and the interrupt is raised when the question has ended."""
    with ScriptedServer(answer("whole")) as server:
        session.settings.endpoint_url = server.url + "v1"
        struck: list[bool] = []

        def strike() -> None:
            if session.turns and not struck:
                struck.append(True)
                signal.raise_signal(signal.SIGINT)

        session.on_change(strike)
        with pytest.raises(Interrupted, match="the request had already ended"):
            session.ask("q")
        assert struck and [(turn.status, turn.answer) for turn in session.turns] == [("complete", "whole")]
        assert session.ask("again") == "whole", "it is over with that"


def test_an_interrupt_that_comes_while_a_turn_begins_sends_nothing(
    session: Session, default_handler: None
) -> None:
    """The turn is kept as stopped."""
    with ScriptedServer(answer("whole")) as server:
        session.settings.endpoint_url = server.url + "v1"
        forget = session.on_change(lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(Interrupted, match="nothing had arrived"):
            session.ask("q")
        forget()
        assert server.posts == [] and [turn.status for turn in session.turns] == ["interrupted"]


class Swallowing:
    """A view that swallows the first interrupt, as a callback of somebody else's may."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def update(self, draft: Any) -> None:
        self.seen.append(draft.text)
        if len(self.seen) == 1:
            with suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)

    def close(self, turn: Turn) -> None:
        pass


def test_an_interrupt_that_foreign_code_swallowed_strikes_at_the_next_piece(
    session: Session, default_handler: None
) -> None:
    """What had come is kept, and the answer does not go on."""
    hold = threading.Event()
    with ScriptedServer(sse([chunk(letter) for letter in "abcd"], hold=hold)) as server:
        session.settings.endpoint_url = server.url + "v1"
        view = Swallowing()
        try:
            with pytest.raises(Interrupted, match="kept"):
                session.ask("q", view=view)
        finally:
            hold.set()
        assert [turn.status for turn in session.turns] == ["interrupted"] and len(view.seen) == 1
        assert "abcd".startswith(session.turns[0].answer)


def test_an_interrupt_while_the_answer_is_shown_leaves_it_whole(session: Session, default_handler: None) -> None:
    """The question has ended: the turn is complete, and the interrupt strikes at once, for that may take long."""

    class Struck(Swallowing):
        def update(self, draft: Any) -> None:
            pass

        def close(self, turn: Turn) -> None:
            self.seen.append(turn.status)
            signal.raise_signal(signal.SIGINT)
            self.seen.append("went on")

    with ScriptedServer(answer("whole")) as server:
        session.settings.endpoint_url = server.url + "v1"
        view = Struck()
        with pytest.raises(Interrupted, match="had already ended"):
            session.ask("q", view=view)
        assert view.seen == ["complete"] and [turn.status for turn in session.turns] == ["complete"]


def test_a_thread_of_its_own_leaves_interrupts_alone(session: Session, default_handler: None) -> None:
    """Only the main thread has a handler to set."""
    with ScriptedServer(answer("ok")) as server:
        session.settings.endpoint_url = server.url + "v1"
        said: list[str] = []
        thread = threading.Thread(target=lambda: said.append(session.ask("q")))
        thread.start()
        thread.join(20)
        assert said == ["ok"]


def upper(body: Any) -> str:
    return str(body["prompt"]).upper()


def test_a_fork_is_no_run_of_the_cells_it_came_from(session: Session) -> None:
    """Those cells, run again, ask on in the new conversation and supersede nothing of it."""
    with ScriptedServer(legacy(upper)) as server:
        session.settings.endpoint_url = server.url
        session.cell = ("cell-a", 1)
        first = session.ask("a").turn
        session.cell = ("cell-b", 2)
        second = session.ask("b").turn
        session.fork(second.id)
        assert [turn.id for turn in session.turns] != [first.id, second.id]
        session.cell = ("cell-a", 3)
        session.ask("c")
        assert server.posts[-1].body["history"] == [["a", "A"], ["b", "B"]]
        assert [turn.status for turn in session.turns] == ["complete"] * 3


def test_a_fork_has_copies_of_its_own(session: Session) -> None:
    """To delete one of them leaves the other conversation as it was."""
    with ScriptedServer(legacy(upper)) as server:
        session.settings.endpoint_url = server.url
        session.ask("a")
        turn = session.ask("b").turn
        old = session.conversation
        session.fork(turn.id)
        assert session.delete([one.id for one in session.turns]) == 2
        assert session.resume(old) == 2 and [one.prompt for one in session.turns] == ["a", "b"]


def test_a_fork_goes_on_from_a_turn_that_is_no_part_of_its_conversation(session: Session) -> None:
    """One that was asked outside, or was superseded by another, is part of the new one; a failed one is not."""
    with ScriptedServer(legacy(upper)) as server:
        session.settings.endpoint_url = server.url
        outside = session.ask("o", history=False).turn
        replaced = session.ask("r").turn
        session.ask("s", replaces=replaced.id)
        server.scripts[:] = [reply({"detail": "down"}, status=500)]
        with pytest.raises(ChatGLMError):
            session.ask("f")
        failed = session.turns[-1]
        server.scripts[:] = [legacy(upper)]
        home = session.conversation
        for turn, history in ((outside, [["o", "O"]]), (replaced, [["r", "R"]]), (failed, [["s", "S"]])):
            session.resume(home)
            session.fork(turn.id)
            session.ask("next")
            assert server.posts[-1].body["history"] == history, turn.prompt


def test_undo_takes_back_what_is_part_of_the_conversation(session: Session) -> None:
    """Not the older run of a cell, which its newer one has superseded."""
    with ScriptedServer(legacy(upper)) as server:
        session.settings.endpoint_url = server.url
        for run, prompt in enumerate("ab"):
            session.cell = ("cell", run)
            session.ask(prompt)
        undone = session.undo()
        assert undone is not None and (undone.prompt, undone.status) == ("b", "complete")
        assert session.turns_in_context == 0 and session.undo() is None


def test_a_cell_whose_turn_was_replaced_from_outside_asks_at_the_end(session: Session) -> None:
    """``llm.history`` was assigned meanwhile: what stands there now is what the cell sees."""
    with ScriptedServer(legacy(upper)) as server:
        session.settings.endpoint_url = server.url
        session.cell = ("cell", 1)
        session.ask("a")
        session.llm.history = [["x", "y"]]
        session.cell = ("cell", 2)
        session.ask("b")
        assert server.posts[-1].body["history"] == [["x", "y"]]
        assert session.llm.history == [["x", "y"], ["b", "B"]]


def test_resume_goes_to_another_conversation_than_the_present_one(session: Session) -> None:
    """The one used last before it, and from there back again."""
    with ScriptedServer(legacy(upper)) as server:
        session.settings.endpoint_url = server.url
        session.ask("a")
        first = session.conversation
        session.reset()
        session.ask("b")
        second = session.conversation
        assert session.resume() == 1 and session.conversation == first
        assert session.resume() == 1 and session.conversation == second
        session.forget()
        assert session.resume() == 1 and session.conversation == first
        with pytest.raises(ChatGLMError, match="no earlier conversation"):
            session.resume()


@pytest.mark.parametrize("off", ["off", "OFF", "Off"])
def test_a_store_that_is_off_writes_no_file(off: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the word is spelt; turns are kept in memory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path / "home"))
    with ScriptedServer(legacy(upper)) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = server.url, off
        session.ask("a")
        assert [turn.prompt for turn in session.history] == ["a"]
        session.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TIMEOUT_TRAITS)
@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan")])
def test_a_limit_of_time_is_a_number_of_seconds_above_nought(session: Session, name: str, wrong: float) -> None:
    """The one before stays."""
    before = getattr(session.settings, name)
    with pytest.raises(TraitError):
        setattr(session.settings, name, wrong)
    assert getattr(session.settings, name) == before
    setattr(session.settings, name, 0.001)
    assert session.llm.timeout is not None


def test_a_turn_under_way_is_neither_deleted_nor_taken_back(session: Session) -> None:
    """Its answer comes into the conversation; undo takes the turn before it."""
    hold = threading.Event()
    with ScriptedServer(answer("A"), sse([chunk("B"), chunk("", finish_reason="stop")], hold=hold)) as server:
        session.settings.endpoint_url = server.url + "v1"
        before = session.ask("a").turn
        asked = session.submit(session.aask("b"))
        try:
            (under_way,) = [turn for turn in session.history if turn.prompt == "b"]
            session.delete([under_way.id])
            undone = session.undo()
            with pytest.raises(ChatGLMError, match="isn't part of this conversation"):
                session.ask("c", replaces=under_way.id)
        finally:
            hold.set()
        assert asked.result(20) == "B"
        assert undone is not None and undone.id == before.id
        assert [(turn.id, turn.answer) for turn in session.turns] == [(under_way.id, "B")]
        assert session.turns_in_context == 1 and "B" in [turn.answer for turn in session.history]
