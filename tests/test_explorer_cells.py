"""A cell of the explorer: its samples, the baseline beside it, hostile text; errors, and the end of it all."""

from __future__ import annotations

import logging
import threading
from typing import Any

import ipywidgets as w
import pytest
from ipywidgets.widgets.widget import _instances

from chatglm_magic.session import get_session
from chatglm_magic.sweeps import Sweep
from chatglm_magic.sweeps.grid import Grid
from chatglm_magic.values import Turn

from .support.canary import KEY
from .support.explorers import Explored, open_explorer, run_sweep, start_sweep
from .support.hostile import ANSWERS
from .support.kernels import Kernel
from .support.markup import CONTROLS, Page
from .support.panels import wait_until
from .support.scale import choose_count
from .support.servers import ScriptedServer, answer, by_body, chunk, hang, legacy, reply, sse
from .support.timers import HeldSleep, TrackedSession
from .test_panel_kernel import Page as Notebook


def two_texts(body: Any) -> str:
    """Return an answer of which one word depends on the temperature."""
    return f"The {'red' if body['temperature'] == 0.1 else 'blue'} fox sleeps."


def marks(shown: Explored) -> list[str]:
    """Return the marked words, the baseline's first."""
    found = Marked()
    found.feed(shown.html)
    return found.words


class Marked(Page):
    """Collects what stands in ``<mark>``."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._inside = False
        super().__init__("")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "mark"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.words.append(data)


# --- samples ---------------------------------------------------------------------------------------------------


def test_a_click_shows_every_sample_of_a_cell_whole() -> None:
    """Each with its status, length, tokens and how it ended; long ones in full, as Markdown."""
    long = "word " * 400 + "**end**"
    usage = {"prompt_tokens": 3, "completion_tokens": 42}
    with (
        ScriptedServer(answer(long, usage=usage)) as server,
        open_explorer(run_sweep(server, path="v1", temperature=[0.1, 0.5], samples=2)) as shown,
    ):
        assert "42 tokens" not in shown.text
        shown.open("temperature 0.5")
        assert "2 × the same · 2,007 characters · 42 tokens" in shown.text
        assert shown.text.count("word " * 400 + "end") == 1 and "<strong>end</strong>" in shown.html
        assert "chatglm-is-open" in shown.tile("temperature 0.5").classes
        assert "open" in shown.tile("temperature 0.5").face.split("\n")
        shown.click("Close")
        assert "42 tokens" not in shown.text and "open" not in "".join(shown.faces)


def test_a_half_answer_and_one_that_is_missing_say_so() -> None:
    """A connection that broke off leaves its text and its error; what was not asked is told as such."""
    half = sse([chunk("half of"), "{not json"], done=False)
    with (
        ScriptedServer(half, hang()) as server,
        open_explorer(start_sweep(server, path="v1", max_token=[5], samples=3, jobs=1)) as shown,
    ):
        wait_until(lambda: shown.sweep.progress.running and shown.sweep.progress.failed)
        shown.open("max_token 5")
        wait_until(lambda: "Sample 2 · sent · no token yet" in shown.text)
        assert "Sample 1 · incomplete · 7 characters" in shown.text and "half of" in shown.text
        assert "1 request not sent yet" in shown.text
        shown.click("Stop")
        shown.ended()
        assert "sent · no token" not in shown.text and "2 requests not sent yet" in shown.text


def test_an_opened_cell_follows_its_answers() -> None:
    """What comes later appears in it; samples that were there are not drawn again, so what is unfolded stays."""
    hold = threading.Event()

    def script(connection: Any, asked: Any) -> None:
        if len(server.posts) > 1:
            hold.wait(10)
        legacy(f"answer {len(server.posts)}")(connection, asked)

    with (
        ScriptedServer(script) as server,
        open_explorer(start_sweep(server, seed=[1], samples=2, jobs=1)) as shown,
    ):
        shown.open("seed 1")
        wait_until(lambda: "Sample 1 · 8 characters" in shown.text)
        drawn: list[Any] = []
        shown.box.details.opened.panes[0].observe(drawn.append, names="value")
        hold.set()
        wait_until(lambda: "Sample 2 · 8 characters" in shown.text and "answer 2" in shown.text)
        shown.ended()
        assert not drawn


def test_many_different_answers_are_shown_20_at_once() -> None:
    """A dropdown turns to the others; nothing is left out."""
    with (
        ScriptedServer(legacy(lambda body: f"<{len(server.posts)}>")) as server,
        open_explorer(run_sweep(server, seed=[1], samples=45, jobs=1)) as shown,
    ):
        shown.open("seed 1")
        assert "Sample 20 ·" in shown.text and "Sample 21 ·" not in shown.text
        shown.choose("Opened: answers shown", "41 to 45")
        assert "Sample 45 ·" in shown.text and "Sample 40 ·" not in shown.text


# --- the baseline ----------------------------------------------------------------------------------------------


def test_a_pinned_cell_stays_and_differences_are_marked() -> None:
    """The words that differ, in both; another cell takes the opened one's place, and Unpin ends it."""
    with (
        ScriptedServer(legacy(two_texts)) as server,
        open_explorer(run_sweep(server, temperature=[0.1, 0.5, 0.9])) as shown,
    ):
        shown.open("temperature 0.1")
        assert not marks(shown) and not shown.has("Unpin")
        shown.click("Pin as baseline")
        assert "Baseline: temperature 0.1" in shown.text and "Opened" not in shown.text
        assert "pinned" in shown.tile("temperature 0.1").face
        shown.open("temperature 0.5")
        assert marks(shown) == ["red", "blue"]
        shown.open("temperature 0.9")
        assert "Baseline: temperature 0.1" in shown.text and "Opened: temperature 0.9" in shown.text
        assert marks(shown) == ["red", "blue"]
        shown.click("Unpin")
        assert not marks(shown) and "Baseline" not in shown.text and "Opened: temperature 0.9" in shown.text
        assert "pinned" not in "".join(shown.faces)


def test_a_cells_settings_become_the_sessions() -> None:
    """One click on the cell that is opened: the next prompt is asked with what the best answer was asked with."""
    with ScriptedServer(legacy("ok")) as server:
        sweep = run_sweep(server, temperature=[0.1, 0.9], top_p=[0.5])
        with open_explorer(sweep) as shown:
            shown.open("temperature 0.9, top_p 0.5")
            shown.click("Use these settings")
            assert sweep.session is not None
            assert (sweep.session.settings.temperature, sweep.session.settings.top_p) == (0.9, 0.5)
            assert "The next prompt will be sent with temperature 0.9, top_p 0.5." in shown.text


def test_a_default_that_a_cell_was_asked_with_is_chosen() -> None:
    """It is sent from then on, though the setting has that value already; what isn't a setting is named."""
    with ScriptedServer(legacy("ok")) as server:
        sweep = run_sweep(server, temperature=[0.1], mirostat=[1])
        assert sweep.session is not None
        settings = sweep.session.settings
        with open_explorer(sweep) as shown:
            assert settings.temperature == 0.1 and "temperature" not in settings.chosen
            shown.open("temperature 0.1, mirostat 1")
            shown.click("Use these settings")
            settings.endpoint_url, server.scripts[:] = (
                server.url + "v1",
                [answer("ok")],
            )  # where no default is sent
            sweep.session.ask("And now?")
            assert server.posts[-1].body["temperature"] == 0.1 and "mirostat" not in server.posts[-1].body
            assert "sent with temperature 0.1. mirostat: not a setting" in shown.text


def test_another_answer_is_said_to_be_one() -> None:
    """Where more than three fifths differ no word is marked, and both answers stand there as they were."""
    texts = {0.1: "The sea is blue.", 0.9: "Ask me tomorrow, please!"}
    with (
        ScriptedServer(legacy(lambda body: texts[body["temperature"]])) as server,
        open_explorer(run_sweep(server, temperature=[0.1, 0.9])) as shown,
    ):
        shown.open("temperature 0.1")
        shown.click("Pin as baseline")
        shown.open("temperature 0.9")
        assert not marks(shown) and shown.text.count("A different answer") == 2
        assert shown.text.count(texts[0.1]) == shown.text.count(texts[0.9]) == 1


def test_a_marked_answer_takes_the_place_of_its_own() -> None:
    """It stands once, above its facts, beside the other samples; without a baseline all are there as they were."""
    words = iter(["same one", "same one", "same two", "same three"])
    with (
        ScriptedServer(legacy(lambda body: next(words))) as server,
        open_explorer(run_sweep(server, seed=[1, 2], samples=2, jobs=1)) as shown,
    ):
        shown.open("seed 1")
        shown.click("Pin as baseline")
        shown.open("seed 2")
        shown.choose("Opened: compared answer", "sample 2")
        assert marks(shown) == ["one", "three"]
        beside = [pane for side in (shown.box.details.baseline, shown.box.details.opened) for pane in side.panes]
        assert [pane.layout.display for pane in beside] == ["none", None, None, "none"]
        assert "Sample 2 · 10 characters" in shown.box.details.opened.differences.value
        shown.click("Unpin")
        assert [pane.layout.display for pane in shown.box.details.opened.panes] == [None, None]


def test_chinese_is_marked_by_the_character() -> None:
    """One other character is one mark."""
    with (
        ScriptedServer(legacy(lambda body: "我喜欢蓝色" if body["top_p"] == 0.5 else "我喜欢红色")) as server,
        open_explorer(run_sweep(server, top_p=[0.5, 0.9])) as shown,
    ):
        shown.open("top_p 0.5")
        shown.click("Pin as baseline")
        shown.open("top_p 0.9")
        assert marks(shown) == ["蓝", "红"]


def test_other_samples_are_compared_by_choice() -> None:
    """First against first, until a dropdown says another; two samples of one cell can be compared too."""
    words = iter(["same one", "same two"])
    with (
        ScriptedServer(legacy(lambda body: next(words))) as server,
        open_explorer(run_sweep(server, seed=[1], samples=2, jobs=1)) as shown,
    ):
        shown.open("seed 1")
        assert not shown.has("Opened: compared answer")
        shown.click("Pin as baseline")
        shown.open("seed 1")
        assert not marks(shown) and "The same in both" in shown.text
        shown.choose("Opened: compared answer", "sample 2")
        assert marks(shown) == ["one", "two"] and "The same in both" not in shown.text


# --- hostile text ----------------------------------------------------------------------------------------------

OURS = ("mark", "details", "summary", "class", "role", "style", "button", "type", "tabindex", "data-n", "title")
"""Tags and attributes that the explorer writes, beyond those of an answer; all of ``aria-`` besides."""


def dangerous(html: str) -> list[str]:
    """Return what a page's HTML holds beyond what the explorer itself writes."""
    wrong = [what for what in Page(html).wrong if not (what[0] == "<" and _ours(what[1:-1].split()[-1]))]
    return [what for what in wrong if not what.startswith("style") or "url" in what]


def _ours(name: str) -> bool:
    return name in OURS or name.startswith("aria-")


@pytest.mark.row("S1")
def test_hostile_text_is_inert() -> None:
    """Control: the payload is markup as it stands. In cells, names, samples, errors and marks it is text alone.

    Every third payload each day, all in ``.ci/soak``.
    """
    raw = "<img src=x onerror=alert(1)>"
    assert Page(raw).wrong
    texts = [
        raw,
        "</style></div><script>alert(1)</script>",
        "\u202eevil\x1b[31m\x00",
        *(a.text for a in ANSWERS[:: choose_count(3, 1)]),
    ]
    sweep = Sweep(Grid((raw, "</div>" + raw), {"system": tuple(dict.fromkeys(texts))}, 1))
    for cell in sweep.cells:
        hostile = cell.setting["system"]
        cell.turns[0] = Turn(
            prompt=cell.prompt,
            answer=hostile,
            finish_reason=hostile,
            error=hostile,
            status="error",
            changed=(hostile,),
        )
        if cell.prompt == raw:
            cell.turns[0] = Turn(prompt=raw, answer=hostile, reasoning=hostile, finish_reason=hostile)
    with open_explorer(sweep) as shown:
        for number, tile in enumerate(shown.tiles):
            assert not CONTROLS.search(tile.face + tile.title), tile.face
            assert not dangerous(tile.html) and not dangerous(shown.box.grid.html), tile
            shown.open(tile.title) if number % 2 else shown.box.details.open_cell(sweep.cells[number])
            if number % 5 == 0:
                shown.click("Pin as baseline")
            for widget in shown.widgets():
                if isinstance(widget, w.HTML | w.HTMLMath) and "<style>" not in widget.value:
                    assert not [what for what in dangerous(widget.value) if what not in TABLES], widget.value


@pytest.mark.row("S1")
@pytest.mark.parametrize("count", [2, 150], ids=["buttons", "heat map"])
def test_hostile_names_of_axes_are_text(count: int) -> None:
    """A file may name an axis as it likes: in heads, captions, dropdowns and titles it stays text."""
    raw = "<img src=x onerror=alert(1)>\u202e"
    axes = {raw: (raw, "</div>"), f"{raw}2": (raw, 1), "seed": tuple(range(count))}
    with open_explorer(Sweep(Grid(("p",), axes, 1))) as shown:
        choices = [widget for widget in shown.widgets() if isinstance(widget, w.Dropdown)]
        assert any("<img" in label for choice in choices for label in choice._options_labels)
        for choice in choices:
            assert not CONTROLS.search("".join([choice.description, *choice._options_labels]))
        for tile in shown.tiles:
            assert not CONTROLS.search(tile.title) and not dangerous(shown.box.grid.html)
        shown.box.details.open_cell(shown.sweep.cells[0])
        assert "<img src=x onerror=alert(1)>\\u202e" in shown.text
        for widget in shown.widgets():
            if isinstance(widget, w.HTML | w.HTMLMath) and "<style>" not in widget.value:
                assert not [what for what in dangerous(widget.value) if what not in TABLES], widget.value


TABLES = (
    "<caption>",
    "<th scope>",
    "<td colspan>",
    "<th colspan>",
    "<table style>",
    "<tr style>",
    "<caption style>",
)
"""What a static heat map is made of besides."""


def test_a_very_long_answer_opens_in_part_and_says_so() -> None:
    """A page gets some hundred thousand characters of a text, with a note; the sweep has them all."""
    with ScriptedServer(legacy("字" * 1_000_000)) as server, open_explorer(run_sweep(server, seed=[1])) as shown:
        shown.open("seed 1")
        assert "800,000 more characters: the sweep's turns have them." in shown.text
        assert sum(len(box.value) for box in shown.widgets() if isinstance(box, w.HTML | w.HTMLMath)) < 2**19
        assert len(shown.sweep.answers[0]) == 1_000_000


# --- errors ----------------------------------------------------------------------------------------------------


def test_what_a_button_can_not_do_stands_in_the_status_line(tmp_path: Any) -> None:
    """A session whose parameters are no more those of the answers: one line that names what differs."""
    with ScriptedServer(by_body(lambda b: hang() if b["temperature"] == 0.5 else legacy())) as server:
        sweep = start_sweep(server, temperature=[0.1, 0.5])
        wait_until(lambda: sweep.progress.done == 1)
        loaded = Sweep.load(sweep.stop().save(tmp_path / "a.jsonl"))
        get_session().settings.endpoint_url = server.url
        get_session().settings.max_token = 7
        with open_explorer(loaded) as shown:
            shown.click("Resume")
            shown.told("The existing answers were requested with")
            assert 'role="alert"' in shown.box.status.value and not loaded.running


def test_an_exception_of_a_callback_is_shown_and_recorded(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of the thread that follows the sweep; the keys stand in neither."""

    def failing(change: Any) -> None:
        raise LookupError(f"an observer of one's own {KEY}")

    monkeypatch.setenv("CHATGLM_API_KEY", KEY)
    hold = threading.Event()
    with (
        ScriptedServer(answer("one", hold=hold)) as server,
        open_explorer(start_sweep(server, path="v1", seed=[1, 2])) as shown,
        caplog.at_level(logging.ERROR),
    ):
        shown.box.bar.observe(failing, names="value")
        hold.set()
        shown.told("Something went wrong here: an observer of one's own …")
        assert "<details><summary>Details</summary>" in shown.box.status.value
        assert "LookupError" in caplog.text and KEY not in caplog.text + shown.html


# --- the end ---------------------------------------------------------------------------------------------------


def test_a_closed_explorer_forgets_the_sweep_which_goes_on() -> None:
    """Every widget is closed, the listener is gone, and the answers come all the same."""
    hold = threading.Event()

    def script(connection: Any, asked: Any) -> None:
        hold.wait(10)
        legacy()(connection, asked)

    with ScriptedServer(script) as server:
        session, sleep = TrackedSession(), HeldSleep()
        axes = {"temperature": [0.1, 0.5], "top_p": [0.3, 0.9]}
        sweep, before = start_sweep(server, samples=2, session=session, **axes), set(_instances)
        shown = Explored(sweep, sleep)
        shown.open("temperature 0.1, top_p 0.3")
        shown.choose("Rows", "top_p")
        assert len(sweep._cell_grid.listeners) and set(_instances) - before
        shown.box.close()
        assert not len(sweep._cell_grid.listeners) and not set(_instances) - before
        hold.set()
        assert sweep.wait(10).complete
        session.wait_submitted(sleep)
        assert not set(_instances) - before


def test_axes_turned_often_leave_no_widget_behind() -> None:
    """The heads of tables that are gone are closed."""
    with (
        ScriptedServer(legacy()) as server,
        open_explorer(run_sweep(server, temperature=[0.1, 0.5], top_p=[0.3, 0.9], seed=[1, 2])) as shown,
    ):
        shown.choose("Rows", "seed")
        shown.choose("Rows", "temperature")
        before = len(_instances)
        for _ in range(3):
            shown.choose("Rows", "seed")
            shown.choose("Rows", "temperature")
        assert len(_instances) == before


# --- in a kernel -----------------------------------------------------------------------------------------------


def test_the_heat_map_is_an_output_of_its_own_and_has_the_end() -> None:
    """Beneath the widget, for the saved notebook: changed whenever the sweep ends, inert."""
    hold, broken = threading.Event(), [True]

    def script(connection: Any, asked: Any) -> None:
        hold.wait(10)
        if broken[0] and asked.body["temperature"] == 0.5:
            reply({"detail": "<s>no</s>"}, status=400)(connection, asked)
        else:
            legacy(f"<b>{asked.body['temperature']}</b>")(connection, asked)

    with ScriptedServer(script) as server, Kernel() as kernel:
        notebook = Notebook(kernel)
        notebook.run("%load_ext chatglm_magic\nfrom chatglm_magic import sweep")
        notebook.run(f"%chatglm_config endpoint_url={server.url} store=off")
        notebook.written.clear()
        notebook.run("result = sweep('<i>?', temperature=[0.1, 0.5])")
        view, still = [*notebook.outputs.values()][-2:]
        assert "application/vnd.jupyter.widget-view+json" in view and "chatglm sweep" in view["text/plain"]
        assert "0 of 2 answers, running" in still["text/html"] and "chatglm-still" in still["text/html"]
        hold.set()
        notebook.until(lambda: "1 of 2 answers, 1 failed" in [*notebook.outputs.values()][-1]["text/html"])
        assert "&lt;s&gt;no&lt;/s&gt;" in [*notebook.outputs.values()][-1]["text/html"]
        broken[0] = False
        notebook.click("Retry failed")
        notebook.until(lambda: "2 of 2 answers" in [*notebook.outputs.values()][-1]["text/html"])
        still = [*notebook.outputs.values()][-1]
        assert "2 of 2 answers" in still["text/plain"] and "running" not in still["text/html"]
        assert "&lt;i&gt;?" in still["text/html"] and "&lt;b&gt;0.5&lt;/b&gt;" in still["text/html"]
        assert not notebook.written, notebook.written
