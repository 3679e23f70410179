"""What the panel must never do: swallow an error, hold a key, or let a model's or a server's text be markup."""

from __future__ import annotations

import ast
import io
import logging
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ipywidgets
import pytest
from ipywidgets.embed import dependency_state, embed_minimal_html

import chatglm_magic
from chatglm_magic import ChatGLM, Session
from chatglm_magic.widgets.messages import Message
from chatglm_magic.widgets.panel_box import Panel

from .support.canary import KEY, echo_request, has_leaked
from .support.hostile import ANSWERS, Hostile, arm
from .support.markup import TAGS
from .support.panels import (
    ask_and_wait,
    choose,
    open_panel,
    press,
    press_beside,
    read_notices,
    send_prompt,
    wait_idle,
    wait_until,
    walk_widgets,
)
from .support.scale import choose_count
from .support.servers import ScriptedServer, answer, chunk, legacy, reply, sse

PACKAGE = Path(chatglm_magic.__file__).parent


def failing(change: Any) -> None:
    """Fail as a person's own observer might."""
    raise LookupError("an observer of one's own")


@pytest.mark.row("D10")
def test_an_exception_in_a_callback_stands_in_the_panel_and_is_recorded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One line, the way through this package a click away, a record in the log, and the panel goes on."""
    with ScriptedServer(legacy("ok")) as server, open_panel(server, "") as panel, caplog.at_level(logging.ERROR):
        panel._session.settings.observe(failing, names="temperature")
        choose(panel, "temperature", 1.5)
        panel._session.settings.unobserve(failing, names="temperature")
        notice = panel.transcript.notice
        assert notice["text"] == "Something went wrong here: an observer of one's own"
        assert notice["tone"] == "failed"
        assert "widgets/panel_box/settings.py" in notice["details"]
        assert "LookupError in a panel" in caplog.text and "widgets/panel_box/settings.py" in caplog.text
        ask_and_wait(panel, "hi")
        assert panel.transcript.announced == "Answered."


@pytest.mark.row("D10")
@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("seed", "seven", "Seed must be a whole number"),
        ("endpoint_url", "not an address", "contains spaces"),
        ("endpoint_url", "file:///etc/passwd", "must begin with http"),
        ("endpoint_url", "http://me:secret@127.0.0.1/", "must not contain a name or password"),
    ],
)
def test_a_value_that_is_refused_stays_in_its_box(name: str, typed: str, said: str) -> None:
    """What holds is what held before; under the box stands what it takes, in words for people."""
    with open_panel() as panel:
        before = panel.sidebar.values[name]
        choose(panel, name, typed)
        error = panel.sidebar.errors[name]
        assert panel.sidebar.values[name] == before and error["typed"] == typed and said in error["text"]
        assert "%" not in error["text"] and "ChatGLMSettings" not in error["text"]


@pytest.mark.row("D10")
def test_a_question_that_fails_says_why_with_the_details_a_click_away() -> None:
    """At once where nothing can be asked, and after the server has refused; the next question works."""
    refusal = reply({"error": {"message": "no"}}, status=500)
    with ScriptedServer(refusal, answer("ok")) as server, open_panel(server) as panel:
        ask_and_wait(panel, "hi")
        (notice,) = [message.notice for message in panel.transcript.all_messages if message.notice]
        assert notice.text.startswith("The server answered 500") and notice.tone == "failed"
        assert "server_error" in notice.details and "client/async_client.py" in notice.details
        assert "ResponseError" not in notice.details + notice.text, "names of classes are nobody's words"
        panel._session.llm.model_kwargs = {"x": object()}
        ask_and_wait(panel, "hi again")
        assert panel.transcript.notice["tone"] == "failed" and panel.transcript.draft == "hi again"
        panel._session.llm.model_kwargs = None
        ask_and_wait(panel, "and again")
        assert panel.transcript.announced == "Answered." and len(server.posts) == 2


@pytest.mark.row("D10")
@pytest.mark.parametrize("pause", [0.2, 0.0], ids=["in a frame", "in a late frame"])
def test_a_fault_while_an_answer_is_shown_is_told(pause: float) -> None:
    """Also in a frame that nobody waits for; what was received is kept."""
    hold = threading.Event()
    pieces = sse([chunk("alpha "), chunk("beta "), chunk("gamma", finish_reason="stop")], pause=pause, hold=hold)
    with ScriptedServer(pieces) as server, open_panel(server) as panel:
        failed, comm = threading.Event(), panel.transcript.comm
        send = comm.send

        def fails(data: Any = None, **other: Any) -> None:
            if "beta" in str(data) and "gamma" not in str(data) and not failed.is_set():
                failed.set()
                failing(data)
            send(data, **other)

        comm.send = fails
        send_prompt(panel, "hi")
        assert failed.wait(10)
        hold.set()
        wait_idle(panel)
        assert any("could not be shown" in said or "went wrong" in said for said in read_notices(panel))
        assert panel._session.turns[0].answer.startswith("alpha beta")
        ask_and_wait(panel, "next")
        assert panel.transcript.announced == "Answered."


@pytest.mark.row("D11")
def test_no_output_widget_takes_what_is_written() -> None:
    """Nothing of the package captures output, whose ``with`` swallows exceptions and whose text goes astray."""
    used = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "attr", None) or getattr(node, "id", None)
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else [name]
            used += [f"{path.name}: {name}" for name in names if name in ("Output", "capture")]
    assert used == []
    swallowed = ipywidgets.Output()
    assert hasattr(swallowed, "__exit__")  # the control: that is what it would be called
    swallowed.close()


ARIA = {"aria-hidden", "aria-label", "aria-level", "aria-live"}


class Judge(HTMLParser):
    """Names what may not be in the HTML of a widget, whatever a model or a server has written."""

    TAGS = TAGS | {"details", "mark", "summary"}
    ATTRIBUTES = ARIA | {"class", "href", "rel", "role", "start", "style", "tabindex", "target", "title"}

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if name not in self.ATTRIBUTES:
                self.wrong.append(f"<{tag} {name}>")
            if name == "href" and urlsplit(value or "").scheme not in ("http", "https", "mailto"):
                self.wrong.append(f"href={value}")
            if name == "style" and re.search(r"url|expression|import|\\", value or "", re.IGNORECASE):
                self.wrong.append(f"style={value}")

    def handle_comment(self, data: str) -> None:
        self.wrong.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.wrong.append("declaration")

    def handle_pi(self, data: str) -> None:
        self.wrong.append("processing instruction")


def wrong(panel: Panel) -> list[str]:
    """Return what is wrong in any HTML of a panel, but its own style sheets, which are constant."""
    values = [block for message in panel.transcript.all_messages for block in message.blocks]
    values += [widget.value for widget in walk_widgets(panel) if isinstance(widget, ipywidgets.HTML)]
    assert len(values) > 1
    return [found for value in values if not value.startswith("<style>") for found in Judge(value).wrong]


@pytest.mark.row("S5")
def test_the_judge_finds_what_it_looks_for() -> None:
    """The control: the same payloads put into a widget as they are."""
    for text in ("<script>1</script>", '<img src=x onerror="1">', '<a href="javascript:1">x</a>', "<!-- x -->"):
        with open_panel() as panel:
            panel.transcript.put(Message("1", blocks=(text,)))
            assert wrong(panel), text
    hostile = arm(ANSWERS, "http://127.0.0.1:9")
    assert sum(bool(Judge(one.text).wrong) for one in hostile) > len(hostile) / 3


def roads(server: ScriptedServer, panel: Panel, text: str) -> Iterator[str]:
    """Bring a text into the panel by every road that there is."""
    server.scripts[:] = [
        sse([{**chunk(text, reasoning_content=text), "model": text}, chunk("", finish_reason=text)])
    ]
    ask_and_wait(panel, text)
    yield "answer, thinking, model, reason and prompt"
    for size, script in ((1, reply({"error": {"message": text}}, status=400)), (2, reply(text, kind="text/html"))):
        server.scripts[:] = [script]
        ask_and_wait(panel, text + " " * size)
        yield "error"
    server.on_get = reply({"data": [{"id": text}]})
    press_beside(panel, "check")
    wait_until(lambda: panel.sidebar.options.get("model"))
    yield "names of models"


def choose_payloads() -> list[Hostile]:
    """Return hand-written payloads that a server can send: every sixth each day, all in ``.ci/soak``."""
    sent = [one for one in arm(ANSWERS, "http://127.0.0.1:9") if "\ud800" not in one.text]
    return sent[:: choose_count(6, 1)]


@pytest.mark.row("S5")
def test_no_text_of_a_model_or_a_server_is_markup() -> None:
    """Every hand-written payload: as answer, thinking, name of a model, finish reason, prompt, error, look.

    Every sixth each day, all in ``.ci/soak``.
    """
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        for number, one in enumerate(choose_payloads()):
            panel.sidebar.options = {}
            for road in roads(server, panel, f"{number} {one.text}"):
                assert wrong(panel) == [], (one.id, road)


@pytest.mark.row("S5")
def test_the_columns_of_live_mode_show_text_alone() -> None:
    """Also with differences marked in it; every sixth payload each day, all in ``.ci/soak``."""
    for one in choose_payloads():
        texts = (one.text, f"{one.text} and more", one.text[::-1])
        with ScriptedServer(*map(answer, texts)) as server, open_panel(server) as panel:
            press(panel, "live", on=True)
            for number, prompt in enumerate((one.text, f"{one.text}!", f"{one.text}?")):
                ask_and_wait(panel, prompt)
                assert wrong(panel) == [], (one.id, number)


@pytest.mark.row("S5")
def test_the_page_inserts_the_kernels_html_alone() -> None:
    """Its modules make HTML of nothing but what the kernel has sent as such, and evaluate no text."""
    known = {
        "transcript.js": ["html"],
        "grid.js": ["state.html", 'model.get("html")'],
        "view.js": ['model.get("html")', 'model.get("tips")[numberOf(token)]'],
    }
    for path in sorted(PACKAGE.rglob("*.js")):
        source = path.read_text(encoding="utf-8")
        inserted = re.findall(r"\.(?:innerHTML|outerHTML)\s*\+?=\s*([^;\n]+)|insertAdjacentHTML", source)
        assert inserted == known.get(path.name, []), path.name
        assert not re.findall(r"\beval\(|\bFunction\(|document\.write|setTimeout\(\s*[\"'`]|\bimport\(", source)


def state(panel: Panel) -> list[Any]:
    """Return all that a notebook could save of the widgets there are."""
    page = io.StringIO()
    embed_minimal_html(page, panel)
    whole = ipywidgets.Widget.get_manager_state(drop_defaults=False)
    assert len(whole["state"]) > 8
    return [whole, dependency_state(panel), panel._repr_mimebundle_(), page.getvalue()]


@pytest.mark.row("S13")
def test_the_search_finds_a_key_in_a_widget() -> None:
    """The control: planted in one box of the panel, it is found."""
    with open_panel() as panel:
        assert not has_leaked(*state(panel))
        choose(panel, "system", f"My key is {KEY}")
        assert has_leaked(*state(panel))


@pytest.mark.row("S13")
@pytest.mark.parametrize("place", ["api_key", "headers", "environment"])
def test_no_trait_of_the_panel_holds_a_key(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a question, after an answer, after a refusal that repeats it, copied as code, in the history."""
    with ScriptedServer(legacy("ok"), echo_request("echo_401"), legacy("two")) as server:
        given: dict[str, Any] = {"api_key": {"api_key": KEY}, "headers": {"headers": {"X-Auth": KEY}}}.get(
            place, {}
        )
        if place == "environment":
            monkeypatch.setenv("CHATGLM_API_KEY", KEY)
        session = Session()
        session.llm = ChatGLM(endpoint_url=server.url, **given)
        server.on_get = echo_request("echo_401") if place != "headers" else server.on_get
        with open_panel(session=session) as panel:
            assert not has_leaked(*state(panel))
            for number in range(3):
                ask_and_wait(panel, f"q{number}")
                assert not has_leaked(*state(panel))
            for name in ("magic", "python"):
                press(panel, name, text="next")
            for name in ("check", "history"):
                press_beside(panel, name)
            wait_until(lambda: panel.sidebar.head["text"] != "Connecting…")
            press(panel, "live", on=True)
            send_prompt(panel, "live")
            wait_idle(panel)
            assert not has_leaked(*state(panel))
            assert len(server.posts) == 4 and all(KEY in str(post.headers) for post in server.posts)


@pytest.mark.row("S13")
def test_an_error_of_elsewhere_that_repeats_a_key_does_not_show_it(caplog: pytest.LogCaptureFixture) -> None:
    """Neither its line nor its details, nor the log."""
    session = Session()
    session.llm = ChatGLM(endpoint_url="http://127.0.0.1:1/", api_key=KEY)

    def repeats(change: Any) -> None:
        try:
            raise LookupError(f"first {KEY}")
        except LookupError as error:
            raise ValueError(f"the key is {KEY}") from error

    session.settings.observe(repeats, names="temperature")
    with open_panel(session=session) as panel, caplog.at_level(logging.DEBUG):
        choose(panel, "temperature", 1.5)
        notice = panel.transcript.notice
        assert "the key is …" in notice["text"] and "first" in notice["details"]
        assert not has_leaked(notice, caplog.text)


@pytest.mark.row("S13")
def test_a_key_that_is_typed_stands_in_no_trait() -> None:
    """It goes with the next request, and the panel says no more than that there is one."""
    with ScriptedServer(answer("ok")) as server, open_panel(server) as panel:
        choose(panel, "api_key", KEY)
        assert panel.sidebar.key and not has_leaked(*state(panel))
        ask_and_wait(panel, "hi")
        assert KEY in server.posts[0].headers["authorization"] and not has_leaked(*state(panel))
        choose(panel, "api_key", "")
        assert not panel.sidebar.key


@pytest.mark.row("S13")
def test_a_key_that_is_refused_is_not_shown_again() -> None:
    """One with a line end is none that a header can hold: the box is emptied, and says so."""
    with open_panel() as panel:
        choose(panel, "api_key", [KEY])
        assert not has_leaked(*state(panel)) and panel.sidebar.errors["api_key"]["text"]
