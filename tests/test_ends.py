"""What tells of an end comes after it: whoever sees it and acts at once is accepted.

Each test acts inside an observer of what tells, which is as early as anybody can act.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, TypeVar

import pytest
import traitlets

from chatglm_magic import Session, lens
from chatglm_magic.store import Query
from chatglm_magic.sweeps import Sweep
from chatglm_magic.sweeps.prepare import prepare_sweep
from chatglm_magic.values import Turn
from chatglm_magic.widgets.lens_box import LensBox
from chatglm_magic.widgets.panel_box import Panel
from chatglm_magic.widgets.trouble import StatusWidget

from .support.explorers import Explored, open_explorer, start_sweep
from .support.logprobs import ANSWER
from .support.logprobs import open_session as open_lens_session
from .support.panels import (
    click,
    open_panel,
    press,
    read_answers,
    read_lanes,
    read_text,
    send_prompt,
    visible_text,
    wait_idle,
    wait_until,
)
from .support.servers import Asked, Script, ScriptedServer, answer, chunk, legacy, reply, sse
from .support.transcripts import TranscriptState
from .support.viewers import make_turn, open_viewer

T = TypeVar("T")

REFUSAL = reply({"error": {"message": "no such luck"}}, status=400)
ENDS = ("answered", "failed", "stopped")
TOLD = {"answered": "Answered.", "failed": "no such luck", "stopped": "Stopped"}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test a store of its own."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path))


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What holds the second answer; it is let go at the end."""
    event = threading.Event()
    yield event
    event.set()


def act_once(widget: Any, trait: str, tells: Callable[[Any], bool], act: Callable[[], object]) -> threading.Event:
    """Act inside the first change of a trait that tells of an end; return the event of having done so."""
    done = threading.Event()

    def observe(change: Any) -> None:
        if not done.is_set() and tells(change["new"]):
            done.set()
            act()

    widget.observe(observe, names=trait)
    return done


def first_answer(end: str) -> Script:
    """Return the script of an answer that comes to such an end; one that is to be stopped never ends by itself."""
    if end == "failed":
        return REFUSAL
    return answer("eins") if end == "answered" else sse([chunk("eins"), chunk("x")], hold=threading.Event())


def second_answer(gate: threading.Event) -> Script:
    """Return the script of an answer that stays under way until the gate is opened."""
    return sse([chunk("two"), chunk("", finish_reason="stop")], hold=gate)


# --- the panel -------------------------------------------------------------------------------------------------


def is_failed(html: str) -> bool:
    return "chatglm-failed" in html


class Shown(traitlets.HasTraits):
    """What a page has of a panel's messages, as a trait that can be observed."""

    messages: Any = traitlets.List()

    def __init__(self, panel: Panel) -> None:
        super().__init__()
        self._state = TranscriptState(panel.transcript.get_state())
        self._send = panel.transcript.comm.send
        panel.transcript.comm.send = self._take

    def _take(self, data: Any = None, **other: Any) -> None:
        self._send(data, **other)
        if data["method"] == "custom":
            self._state.take(data["content"])
            self.messages = copy.deepcopy(self._state.messages)


def has_ended(messages: list[dict[str, Any]]) -> bool:
    """Tell whether the first answer is shown as one that has ended."""
    answers = [message for message in messages if message["role"] == "assistant"]
    return bool(answers) and not answers[0]["busy"]


PANEL_SIGNS: dict[str, Callable[[Panel], tuple[Any, str, Callable[[Any], bool]]]] = {
    "announcement": lambda panel: (
        *(panel.transcript, "announced"),
        lambda said: any(text in said for text in TOLD.values()),
    ),
    "button": lambda panel: (panel.transcript, "busy", lambda busy: not busy),
    "answer": lambda panel: (Shown(panel), "messages", has_ended),
    "lane": lambda panel: (Shown(panel), "messages", has_ended),
}


@pytest.mark.parametrize("sign", PANEL_SIGNS)
@pytest.mark.parametrize("end", ENDS)
def test_the_panel_accepts_a_prompt_as_soon_as_it_tells_of_an_end(
    end: str, sign: str, gate: threading.Event
) -> None:
    """Send, clicked at that moment, sends; and the panel shows the second answer and not the end of the first."""
    with ScriptedServer(first_answer(end), second_answer(gate)) as server, open_panel(server) as panel:
        if sign == "lane":
            press(panel, "live", on=True)
        acted = act_once(*PANEL_SIGNS[sign](panel), lambda: send_prompt(panel, "next"))
        send_prompt(panel, "hi")
        if end == "stopped":
            wait_until(lambda: "eins" in "".join(map(read_text, panel.transcript.all_messages)))
            wait_until(lambda: len(server.posts) == 1)
            press(panel, "stop")
        assert acted.wait(10), "nothing told of the end"
        wait_until(lambda: len(server.posts) == 2, "the second request")
        wait_until(lambda: panel.transcript.announced == "Answering…", "the second answer")
        assert panel.transcript.busy
        gate.set()
        wait_idle(panel)
        shown = read_lanes(panel) if sign == "lane" else read_answers(panel)
        assert panel.transcript.announced == "Answered." and read_text(shown[-1]) == "two"
        assert [post.body["messages"][-1]["content"] for post in server.posts] == ["hi", "next"]


@pytest.mark.parametrize("held", ["announcement", "button"])
def test_the_panel_accepts_a_prompt_while_the_page_is_still_being_told(held: str, gate: threading.Event) -> None:
    """The thread that tells of the end is held up there; Send in another thread need not wait for it."""
    going = threading.Event()
    with ScriptedServer(answer("eins"), second_answer(gate)) as server, open_panel(server) as panel:
        told = threading.Event()

        def hold() -> None:
            told.set()
            assert going.wait(10)

        act_once(*PANEL_SIGNS[held](panel), hold)
        send_prompt(panel, "hi")
        assert told.wait(10)
        clicked = threading.Thread(target=send_prompt, args=(panel, "next"))
        clicked.start()
        clicked.join(5)
        accepted = not clicked.is_alive() and panel.transcript.busy
        going.set()
        clicked.join()
        assert accepted
        wait_until(lambda: len(server.posts) == 2, "the second request")
        wait_until(lambda: panel.transcript.announced == "Answering…", "the second answer")
        assert panel.transcript.busy
        gate.set()
        wait_idle(panel)
        assert read_text(read_answers(panel)[-1]) == "two"


def test_regenerate_as_soon_as_the_panel_tells_of_an_end_replaces_that_answer() -> None:
    """The turn that has just ended is the one that is superseded."""
    with ScriptedServer(answer("eins"), answer("two")) as server, open_panel(server) as panel:
        sign = PANEL_SIGNS["announcement"](panel)
        act_once(*sign, lambda: press(panel, "again"))
        send_prompt(panel, "hi")
        wait_until(lambda: len(server.posts) == 2, "the second request")
        wait_idle(panel)
        assert {t.answer: t.status for t in panel._session.turns} == {"eins": "superseded", "two": "complete"}


class Swift(Session):
    """A session whose questions have ended before the click that asked them returns."""

    def submit(self, question: Coroutine[Any, Any, T]) -> Future[T]:
        future = super().submit(question)
        wait([future], 10)
        return future


@pytest.mark.parametrize("sign", sorted(PANEL_SIGNS.keys() - {"lane", "answer"}))
@pytest.mark.parametrize("end", ["answered", "failed"])
def test_an_end_is_told_however_fast_it_comes(end: str, sign: str) -> None:
    """The buttons are those of a question under way before it can end, so that its end changes them."""
    with ScriptedServer(first_answer(end)) as server, open_panel(server, session=Swift()) as panel:
        told = act_once(*PANEL_SIGNS[sign](panel), lambda: None)
        send_prompt(panel, "hi")
        assert told.is_set()
        assert TOLD[end] in panel.transcript.announced and not panel.transcript.busy


def test_a_refused_click_is_not_the_first_of_two() -> None:
    """A click that came while an answer was under way asked nothing: the same click right after the end asks."""
    hold = threading.Event()
    held = sse([chunk("eins"), chunk("", finish_reason="stop")], hold=hold)
    with ScriptedServer(held, answer("two")) as server, open_panel(server) as panel:
        send_prompt(panel, "hi")
        wait_until(lambda: len(server.posts) == 1)
        act_once(*PANEL_SIGNS["button"](panel), lambda: send_prompt(panel, "next"))
        send_prompt(panel, "next")
        hold.set()
        wait_until(lambda: len(server.posts) == 2, "the second request")
        wait_idle(panel)


def test_models_can_be_chosen_as_soon_as_the_endpoint_is_found() -> None:
    """When the connection's state says what was found, the models of that server are the choices."""
    models = reply({"data": [{"id": "glm-4"}, {"id": "glm-4-plus"}]})
    with ScriptedServer(answer("ok"), on_get=models) as server, open_panel() as panel:
        offered: list[list[str]] = []
        acted = act_once(
            *(panel.sidebar, "head", lambda head: "with glm-4" in head["text"]),
            lambda: offered.append(panel.sidebar.options["model"]),
        )
        panel._session.settings.endpoint_url = f"{server.url}v1"
        assert acted.wait(10)
        assert offered == [["glm-4", "glm-4-plus"]]


# --- the viewer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["status line", "Stop is gone"])
@pytest.mark.parametrize("end", ENDS)
def test_the_viewer_asks_again_as_soon_as_it_tells_of_an_end(end: str, sign: str, gate: threading.Event) -> None:
    """Again, clicked at that moment, asks: the turn that has ended is shown, and nobody is told to wait."""
    with (
        ScriptedServer(first_answer(end), second_answer(gate)) as server,
        open_viewer(server, make_turn(1)) as shown,
    ):
        stop, opened = shown.box.reader.stop, []

        def act() -> None:
            opened.append("turn #2" in shown.text)
            shown.act("again", "question 1")

        if sign == "status line":
            lines = [widget for widget in shown.widgets() if isinstance(widget, StatusWidget)]
            acted = [act_once(line, "value", lambda html: TOLD[end] in html, act) for line in lines]
        else:
            acted = [act_once(stop.layout, "display", lambda display: display == "none", act)]
        shown.act("again", "question 1")
        if end == "stopped":
            shown.says("eins")
            shown.click("Stop")
        wait_until(lambda: any(event.is_set() for event in acted), "what tells of the end")
        wait_until(lambda: len(server.posts) == 2, "the second request")
        shown.told("Answering…")
        assert opened == [True]
        assert stop.layout.display is None and "An answer is under way" not in shown.text
        gate.set()
        shown.told("Answered.")
        shown.says("turn #3")
        assert shown.session.store.count(Query()) == 3


def test_the_viewer_asks_again_while_the_page_is_still_being_told(gate: threading.Event) -> None:
    """The thread that tells of the error is held up there; Ask again in another thread need not wait for it."""
    told, going = threading.Event(), threading.Event()

    def hold() -> None:
        told.set()
        assert going.wait(10)

    with ScriptedServer(REFUSAL, second_answer(gate)) as server, open_viewer(server, make_turn(1)) as shown:
        for line in [widget for widget in shown.widgets() if isinstance(widget, StatusWidget)]:
            act_once(line, "value", lambda html: "no such luck" in html, hold)
        shown.act("again", "question 1")
        assert told.wait(10)
        clicked = threading.Thread(target=shown.act, args=("again", "question 1"))
        clicked.start()
        clicked.join(5)
        prompt = not clicked.is_alive()
        going.set()
        clicked.join()
        assert prompt
        wait_until(lambda: len(server.posts) == 2, "the second request")
        shown.told("Answering…")
        gate.set()
        shown.told("Answered.")


def test_continuing_a_conversation_is_told_when_the_buttons_show_it() -> None:
    """The line that says so comes after the button that would continue it is gone."""
    name = "Continue this conversation"
    with open_viewer(None, make_turn(1), make_turn(2), show="all conversations") as shown:
        offered: list[bool] = []
        for line in [widget for widget in shown.widgets() if isinstance(widget, StatusWidget)]:
            act_once(
                line,
                "value",
                lambda html: "Switched to this conversation" in html,
                lambda: offered.append(name in shown.names),
            )
        shown.click(name)
        assert offered == [False]


# --- sweeps ----------------------------------------------------------------------------------------------------


def failing_once() -> Script:
    """Return a script that refuses the first request for each temperature above 1 and answers all others."""
    seen: set[float] = set()

    def script(connection: Any, asked: Asked) -> None:
        temperature = asked.body["temperature"]
        refuse = temperature > 1 and temperature not in seen
        seen.add(temperature)
        (REFUSAL if refuse else legacy("ok"))(connection, asked)

    return script


def come(sweep: Sweep) -> int:
    return sweep.progress.done + sweep.progress.failed


class SlowDisk(Session):
    """A session whose store saves a turn only once ``gate`` is opened; ``saving`` tells that it would."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.saving = threading.Event(), threading.Event()

    @property
    def store(self) -> Any:
        return self

    def put(self, turn: Turn, position: int) -> None:
        self.saving.set()
        assert self.gate.wait(10)
        super().store.put(turn, position)


def test_a_sweep_whose_last_answer_is_being_saved_is_not_complete() -> None:
    """Whoever finds all answers there, a listener too, can begin at once: the end and the last answer are one."""
    with ScriptedServer(failing_once()) as server:
        session, found = SlowDisk(), list[object]()
        session.settings.endpoint_url = server.url
        sweep = prepare_sweep("p", {"temperature": [1.5]}, samples=1, jobs=1, session=session, resume=None)

        def listen() -> None:
            if come(sweep) == 1 and not found:
                found.append(sweep.running)
                sweep.retry(wait=False)

        sweep.on_change(listen)
        sweep.resume(wait=False)
        assert session.saving.wait(10)
        assert come(sweep) == 0 and sweep.running and sweep.progress.pending == 1
        assert not sweep.complete and "0 of 1 answers, running" in repr(sweep)
        session.gate.set()
        wait_until(lambda: sweep.complete, "the answer that failed")
        assert found == [False] and len(server.posts) == 2
        session.close()


EXPLORER_SIGNS: dict[str, Callable[[Explored], tuple[Any, str, Callable[[Any], bool]]]] = {
    "bar": lambda shown: (shown.box.bar, "value", lambda html: not html),
    "state line": lambda shown: (shown.box.state, "value", lambda html: "failed" in html),
    "Stop": lambda shown: (shown.box.buttons.stop, "disabled", bool),
    "Retry failed": lambda shown: (shown.box.buttons.retry, "disabled", lambda disabled: not disabled),
    "last cell": lambda shown: (
        shown.box.grid,
        "changed",
        lambda cells: "failed" in cells.get("1", {}).get("html", ""),
    ),
}


@pytest.mark.parametrize("sign", EXPLORER_SIGNS)
def test_the_explorer_asks_for_what_failed_as_soon_as_it_tells_of_the_end(
    sign: str, gate: threading.Event
) -> None:
    """Retry failed, clicked at that moment, asks; and Stop and the bar then are those of the new run."""
    first, again = threading.Event(), failing_once()

    def script(connection: Any, asked: Asked) -> None:
        assert (first if len(server.posts) < 3 else gate).wait(10)
        again(connection, asked)

    with (
        ScriptedServer(script) as server,
        open_explorer(start_sweep(server, temperature=[0.5, 1.5], jobs=1)) as shown,
    ):
        acted = act_once(*EXPLORER_SIGNS[sign](shown), lambda: click(shown.box.buttons.retry))
        first.set()
        assert acted.wait(10), "nothing told of the end"
        wait_until(lambda: len(server.posts) == 3, "the third request")
        wait_until(lambda: visible_text(shown.box.state) == "Running…", "that it runs again")
        assert shown.has("Stop") and not shown.has("Retry failed")
        assert "progressbar" in shown.box.bar.value and "width:100.0%" not in shown.box.bar.value
        gate.set()
        shown.ended()
        assert shown.sweep.complete and "2 answers" in shown.text


def test_stop_is_disabled_only_when_the_rest_can_be_asked() -> None:
    """Stop, clicked, says that it is stopping; when it is disabled, Resume is accepted."""
    hold = threading.Event()

    def script(connection: Any, asked: Asked) -> None:
        if len(server.posts) == 2:
            sse([chunk("x"), chunk("y")], hold=hold)(connection, asked)
        legacy("ok")(connection, asked)

    with (
        ScriptedServer(script) as server,
        open_explorer(start_sweep(server, temperature=[0.1, 0.5, 0.9], jobs=1)) as shown,
    ):
        wait_until(lambda: len(server.posts) == 2)
        stop = shown.box.buttons.stop
        wait_until(lambda: not stop.disabled)
        acted = act_once(stop, "disabled", bool, lambda: click(shown.named("Resume")))
        click(stop)
        assert acted.wait(10)
        wait_until(lambda: shown.sweep.complete, "what was missing")
        shown.ended()
        assert len(server.posts) == 4


# --- the lens --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", ["candidates", "Next token"])
def test_the_lens_takes_the_next_click_as_soon_as_it_shows_a_token(sign: str) -> None:
    """What is clicked inside the change is what is shown at its end, in all parts alike."""
    with ScriptedServer(ANSWER) as server:
        found = lens("p", open_lens_session(f"{server.url}v1"), show=False)
    box = LensBox(found)
    box.select_position(0)
    watched = (box.candidates, "value") if sign == "candidates" else (box.next, "disabled")
    acted = act_once(*watched, lambda new: new is True or isinstance(new, str), lambda: box.previous.click())
    box.next.click()
    assert acted.is_set() and box.index == 0
    assert box.previous.disabled and not box.next.disabled
    shown_now = box.candidates.value, box.heading.value
    box.select_position(1)
    box.select_position(0)
    assert (box.candidates.value, box.heading.value) == shown_now
    box.close()
