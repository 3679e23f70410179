"""The panel in real JupyterLab, by pointer and keyboard."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ..support.counting import WHOLE, Counting
from ..support.servers import Asked, ScriptedServer, answer, legacy, reply

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from ..support.lab import Lab, Notebook

pytestmark = pytest.mark.heavy


class Shown:
    """A panel in a page: its controls by their roles and names, as a screen reader finds them."""

    def __init__(self, notebook: Notebook, area: Locator, server: ScriptedServer) -> None:
        self.notebook, self.area, self.server = notebook, area, server
        self.page = area.page
        self.answer = area.get_by_role("region", name="Answer")
        self.status = area.locator(".chatglm-main .chatglm-status")

    def button(self, name: str) -> Locator:
        return self.area.get_by_role("button", name=name, exact=True)

    def number(self, name: str) -> Locator:
        return self.area.get_by_role("spinbutton", name=name, exact=True)

    def slider(self, name: str) -> Locator:
        row = self.area.locator(
            ".chatglm-parameter", has=self.page.get_by_role("spinbutton", name=name, exact=True)
        )
        return row.get_by_role("slider")

    def box(self, name: str) -> Locator:
        return self.area.get_by_role("textbox", name=name, exact=True)

    def ask(self, text: str) -> None:
        """Type a prompt, click Send, and wait for the end of the answer."""
        before = self.turns
        self.send(text)
        self.ended(before + 1)

    @property
    def turns(self) -> int:
        """How many turns the panel counts."""
        found = re.search(r"\d+", self.area.get_by_role("button", name="history").inner_text())
        return int(found[0]) if found else 0

    def send(self, text: str) -> None:
        """Type a prompt over what stands there, and click Send."""
        self.box("Prompt").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.type(text)
        self.button("Send").click()

    def ended(self, turns: int, text: str = "Answered.") -> None:
        """Wait until the panel counts so many turns, says how the last one ended, and Send can be clicked."""
        self.area.get_by_role("button", name=re.compile(rf"history \({turns} turn")).wait_for()
        self.status.get_by_text(text).wait_for()
        self.area.locator("button:enabled", has_text="Send").wait_for()

    def drag(self, name: str, by: int) -> None:
        """Drag a slider's handle by a number of pixels."""
        handle = self.slider(name).bounding_box()
        assert handle is not None
        x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + by, y, steps=6)
        self.page.mouse.up()


def name_of(request: pytest.FixtureRequest) -> str:
    return re.sub(r"\W+", "-", request.node.name) + ".ipynb"


def opened(lab: Lab, page: Page, server: ScriptedServer, name: str, *further: str, path: str = "v1") -> Shown:
    """Show a panel in the second cell of a new notebook."""
    from ..support.lab import Notebook

    start = f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}{path}'"
    notebook = Notebook(page, lab.write(name, start, "%chatglm_panel", *further))
    notebook.run(0)
    area = notebook.run(1)
    area.get_by_role("button", name="Send", exact=True).wait_for()
    return Shown(notebook, area, server)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer("ok")) as server:
        yield server


@pytest.fixture
def panel(lab: Lab, page: Page, server: ScriptedServer, request: pytest.FixtureRequest) -> Shown:
    """A panel over a server that streams, and one more cell."""
    return opened(lab, page, server, name_of(request), "get_session().llm.temperature")


def test_the_answer_grows_and_is_whole(panel: Shown) -> None:
    """Three lengths are read from the page before the last byte is sent; then text and metrics stand there."""
    counting = Counting()
    panel.server.scripts[:] = [counting]
    panel.send("你好吗?")
    for sent in (0, 5, 10):
        counting.grow(panel.answer, 5, sent)
    assert panel.button("Send").is_disabled() and panel.button("Stop").is_enabled()
    counting.finish()
    panel.ended(1)
    assert panel.answer.inner_text().strip() == WHOLE
    line = panel.area.locator(".chatglm-main").get_by_text("test-glm · 31 tokens").inner_text()
    assert "tokens/s" in line and "first token" in line and "finish: stop" in line
    assert panel.server.posts[0].body["messages"][-1]["content"] == "你好吗?"


def test_stop_ends_the_answer_and_keeps_what_had_come(panel: Shown) -> None:
    """The server sees the close within a second, the text stays, and the next question is asked."""
    counting = Counting()
    panel.server.scripts[:] = [counting, answer("whole")]
    panel.send("count")
    counting.grow(panel.answer, 3)
    panel.button("Stop").click()
    panel.server.wait_closed(panel.server.posts[0], 1.0)
    panel.ended(1, "Stopped; what had arrived is kept.")
    assert panel.answer.inner_text().startswith("word0") and "[stopped before" in panel.answer.inner_text()
    panel.ask("again")
    assert panel.answer.inner_text().strip() == "whole" and len(panel.server.posts) == 2


@pytest.mark.parametrize(
    ("name", "key", "by", "typed"),
    [
        ("temperature", "temperature", 80, 1.25),
        ("top_p", "top_p", -60, 0.35),
        ("max_token", "max_tokens", -70, 77),
    ],
)
def test_a_slider_moves_the_next_request(panel: Shown, name: str, key: str, by: int, typed: float) -> None:
    """Dragged, stepped by keyboard, typed, reset and unset: each shows in what the server gets next."""
    posts = panel.server.posts

    def sent(prompt: str) -> Any:
        panel.ask(prompt)
        return panel.server.posts[-1].body.get(key)

    assert posts == [] and sent("one") is None, "an untouched default is not sent"
    panel.drag(name, by)
    dragged = sent("two")
    assert dragged is not None and float(panel.number(name).input_value()) == pytest.approx(dragged)
    panel.slider(name).focus()
    panel.page.keyboard.press("ArrowLeft")
    assert sent("three") < dragged
    panel.number(name).fill(f"{typed}")
    panel.number(name).press("Enter")
    assert sent("four") == typed
    unset = panel.area.get_by_role("checkbox", name=f"unset {name}", exact=True)
    assert not unset.is_checked()
    unset.check()
    assert sent("five") is None
    unset.uncheck()
    assert sent("six") == typed
    panel.button(f"Reset {name}").click()
    assert sent("seven") is None and unset.is_checked()


def test_a_temperature_of_ten_can_be_typed_and_the_slider_widens(panel: Shown) -> None:
    """Beyond the slider's range, up to 10; the handle stands at the end of the wider range."""
    panel.number("temperature").fill("10")
    panel.number("temperature").press("Tab")
    panel.ask("hot")
    assert panel.server.posts[0].body["temperature"] == 10
    assert float(panel.slider("temperature").get_attribute("aria-valuetext") or 0) == 10
    assert float(panel.slider("temperature").get_attribute("aria-valuemax") or 0) == 10


def test_live_mode_compares_the_last_three_answers(panel: Shown) -> None:
    """A slider is dragged while an answer streams: it is cancelled, asked again, and differences are marked."""

    def hot(connection: Any, asked: Asked) -> None:
        t = asked.body["temperature"]
        answer("天气", "冷" if t < 1 else "很热", f" at {t}")(connection, asked)

    counting = Counting()
    panel.server.scripts[:] = [answer("天气", "冷"), counting, hot]
    panel.area.get_by_role("checkbox", name="Live mode").check()
    panel.ask("weather?")
    panel.drag("temperature", 40)
    counting.grow(panel.area.locator(".chatglm-lane").nth(1), 2)
    panel.drag("temperature", 150)
    panel.server.wait_closed(panel.server.posts[1], 1.5)
    panel.ended(3)
    lanes = panel.area.locator(".chatglm-lane:visible")
    panel.slider("temperature").focus()
    panel.page.keyboard.press("Home")
    lanes.nth(2).get_by_text("at 0").wait_for()
    panel.ended(4)
    assert lanes.count() == 3 and len(panel.server.posts) == 4
    assert lanes.nth(0).locator("mark").all_inner_texts() == ["冷"]
    assert "很热" in "".join(lanes.nth(1).locator("mark").all_inner_texts())
    assert "the server's defaults" in lanes.nth(0).inner_text() and "temperature 0\n" in lanes.nth(2).inner_text()
    boxes = [lane.bounding_box() for lane in lanes.all()]
    assert len({box["y"] for box in boxes if box}) == 1, "they stand side by side"
    panel.area.get_by_role("checkbox", name="Live mode").uncheck()
    panel.ask("and now?")
    contents = [message["content"] for message in panel.server.posts[-1].body["messages"]]
    assert contents == ["weather?", "天气冷", "and now?"]


def test_regenerate_takes_the_place_of_the_answer(panel: Shown) -> None:
    """The same question, asked again with what it saw; the conversation has it once."""
    panel.server.scripts[:] = [answer("first"), answer("one"), answer("two"), answer("three")]
    panel.ask("before")
    panel.ask("hi")
    panel.button("Regenerate").click()
    panel.ended(3)
    assert panel.answer.inner_text().strip() == "two"
    panel.ask("next")
    contents = [message["content"] for message in panel.server.posts[-1].body["messages"]]
    assert contents == ["before", "first", "hi", "two", "next"]
    assert "context: 3 turns" in panel.area.inner_text()


def test_a_double_click_sends_once(panel: Shown) -> None:
    """Two clicks in a row are one question, however fast its answer comes."""
    panel.server.scripts[:] = [legacy("fast")]
    panel.page.keyboard.press("Escape")
    panel.area.get_by_role("combobox", name="Dialect").select_option("ChatGLM (POST /)")
    panel.box("Prompt").fill("hi")
    panel.button("Send").dblclick()
    panel.ended(1)
    panel.page.wait_for_timeout(400)
    assert len(panel.server.posts) == 1


def test_an_error_is_one_line_with_its_details_a_click_away(panel: Shown) -> None:
    """Never swallowed: what happened, what to do, and on a click where; the next question works."""
    panel.server.scripts[:] = [reply({"error": {"message": "out of <b>memory</b>"}}, status=500), answer("ok")]
    panel.send("hi")
    alert = panel.area.get_by_role("alert")
    alert.wait_for()
    assert "The server answered 500" in alert.inner_text() and "<b>memory</b>" in alert.inner_text()
    details = alert.locator("pre")
    assert not details.is_visible()
    alert.get_by_text("Details").click()
    assert (
        "ResponseError (server_error)" in details.inner_text() and "client/async_client.py" in details.inner_text()
    )
    panel.ask("again")
    assert panel.answer.inner_text().strip() == "ok"


def test_two_panels_and_the_model_are_one(lab: Lab, page: Page, server: ScriptedServer) -> None:
    """What is typed into one panel shows in the other, and in session.llm; answers don't mix."""
    from playwright.sync_api import expect

    slow = Counting()
    shown = opened(lab, page, server, "two.ipynb", "%chatglm_panel", "from chatglm_magic import get_session")
    second = Shown(shown.notebook, shown.notebook.run(2), server)
    shown.number("temperature").fill("1.5")
    shown.number("temperature").press("Tab")
    expect(second.number("temperature")).to_have_value("1.5")
    expect(second.area.get_by_role("checkbox", name="unset temperature")).not_to_be_checked()
    second.box("System prompt").fill("Be brief.")
    second.box("System prompt").press("Tab")
    expect(shown.box("System prompt")).to_have_value("Be brief.")
    server.scripts[:] = [slow, answer("the other")]
    shown.send("slow")
    slow.grow(shown.answer, 2)
    second.ask("quick")
    assert second.answer.inner_text().strip() == "the other"
    slow.grow(shown.answer, 2, 2)
    slow.finish()
    shown.ended(2)
    assert shown.answer.inner_text().strip() == WHOLE
    assert [post.body["temperature"] for post in server.posts] == [1.5, 1.5]


@pytest.mark.parametrize("form", ["magic", "Python"])
def test_copied_code_asks_the_same(panel: Shown, form: str) -> None:
    """The button puts it on the clipboard; pasted into a cell and run, the server gets the same request."""
    page = panel.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    panel.number("temperature").fill("0.75")
    panel.number("temperature").press("Tab")
    panel.box("Prompt").fill('it\'s "so" {{x}}\n -t 2 \\')
    panel.button(f"Copy as {form}").click()
    panel.area.get_by_text("Copied", exact=True).wait_for()
    assert panel.box(f"Copied as {form}").input_value() == page.evaluate("navigator.clipboard.readText()")
    panel.notebook.cell(2).locator(".jp-InputArea-editor").click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+v")
    page.keyboard.press("Control+Enter")
    panel.notebook.ended(2)
    panel.button("Send").click()
    panel.ended(2 if form == "magic" else 1)
    pasted, own = (post.body for post in panel.server.posts)
    if form == "magic":  # the pasted question has become part of the conversation
        own["messages"] = own["messages"][2:]
    assert pasted.pop("stream", True) and own.pop("stream")
    pasted.pop("stream_options", None), own.pop("stream_options", None)
    assert pasted == own and own["temperature"] == 0.75


def sessions(lab: Lab) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{lab.base}/api/sessions?token=lab") as found:
        listed: list[dict[str, Any]] = json.load(found)
    return listed


@pytest.mark.row("D19")
def test_a_saved_notebook_without_a_kernel_shows_the_last_answer(
    lab: Lab, page: Page, server: ScriptedServer, chromium: Browser
) -> None:
    """Hidden while the panel is there; readable, and saved, when the notebook is opened with its kernel gone."""
    server.scripts[:] = [answer("The **last** answer: $x^2$")]
    shown = opened(lab, page, server, "saved.ipynb")
    shown.ask("What is <left>?")
    assert not shown.area.locator(".chatglm-still").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    path = lab.folder / "saved.ipynb"
    page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    for _ in range(100):
        saved = json.loads(path.read_text())["cells"][1]["outputs"]
        if len(saved) > 1 and "last" in "".join(saved[1]["data"]["text/plain"]):
            break
        page.wait_for_timeout(50)
    assert "".join(saved[1]["data"]["text/plain"]) == "What is <left>?\n\nThe **last** answer: $x^2$"
    for session in sessions(lab):
        request = urllib.request.Request(f"{lab.base}/api/sessions/{session['id']}?token=lab", method="DELETE")
        urllib.request.urlopen(request).close()
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    reader = context.new_page()
    reader.goto(lab.url("saved.ipynb"))
    still = reader.locator(".chatglm-still")
    still.wait_for()
    assert "What is <left>?" in still.inner_text() and "The last answer:" in still.inner_text()
    assert still.locator("strong").inner_text() == "last"
    context.close()


@pytest.mark.row("D19")
def test_a_page_that_is_loaded_again_shows_the_panel_as_it_was(panel: Shown) -> None:
    """The kernel has the widgets' state: prompt, parameters and answer are there, and the panel goes on."""
    page = panel.page
    panel.number("temperature").fill("0.75")
    panel.ask("one?")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')")
    page.reload()
    panel.button("Send").wait_for()
    assert panel.box("Prompt").input_value() == "one?" and panel.number("temperature").input_value() == "0.75"
    assert panel.answer.inner_text().strip() == "ok"
    assert not panel.area.locator(".chatglm-still").is_visible()
    panel.ask("two?")
    assert panel.server.posts[1].body["temperature"] == 0.75 and len(panel.server.posts) == 2


def test_everything_is_reached_by_keyboard_in_order(panel: Shown) -> None:
    """Tab goes from the endpoint to the history, each stop has a name and a visible focus; Enter sends."""
    page = panel.page
    panel.box("Prompt").fill("hi")
    panel.area.get_by_role("textbox", name="Endpoint").click()
    names = []
    for _ in range(40):
        names.append(page.evaluate(FOCUSED))
        if names[-1][0].startswith("Show history"):
            break
        page.keyboard.press("Tab")
    order = [name.partition(" (")[0] for name, _ in names]
    assert order == [
        *("Endpoint", "Model", "Dialect", "Check"),
        *(f"{part}" for name in ("temperature", "top_p", "max_token") for part in parts(name)),
        *("thinking", "seed", "stop strings", "with_history"),
        *("More sampling", "System prompt", "Prompt"),
        *("Send", "Regenerate", "Live mode", "Copy as magic", "Copy as Python"),
        "Show history",
    ]
    assert all(visible for _, visible in names), names
    panel.button("Send").focus()
    page.keyboard.press("Enter")
    panel.ended(1)
    assert panel.server.posts[0].body["messages"][0]["content"] == "hi"


def parts(name: str) -> list[str]:
    return [name, f"unset {name}", f"Reset {name}", "slider"]


FOCUSED = """() => {
    const at = document.activeElement, style = getComputedStyle(at);
    const labels = at.labels && at.labels.length ? at.labels[0].innerText || at.labels[0].textContent : '';
    const name = at.getAttribute('role') === 'slider' ? 'slider' : (labels || at.textContent).trim();
    const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
    return [name, outlined || style.boxShadow !== 'none'];
}"""


CONTRASTS = """() => {
    const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
    const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
    const light = colour => colour.slice(0, 3).map(c => c / 255)
        .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = at => {
        const layers = [];
        for (let e = at; e; e = e.parentElement) layers.unshift(rgba(getComputedStyle(e).backgroundColor));
        return layers.reduce((under, layer) => over(layer, under), [255, 255, 255, 1]);
    };
    const found = [];
    for (const e of document.querySelectorAll('.chatglm-panel *')) {
        const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        const boxed = e.matches('select, input:not([type=checkbox]), textarea') && e.value;
        if (!(own || boxed) || !e.offsetParent || e.disabled || e.matches('option, style')) continue;
        if (e.closest('.chatglm-unset') && e.matches('input')) continue;  // dimmed: it is not sent
        if (getComputedStyle(e).fontSize === '0px') continue;
        const under = ground(e), style = getComputedStyle(e), top = over(rgba(style.color), under);
        const [a, b] = [light(top), light(under)].sort((x, y) => y - x);
        const needed = e.getAttribute('aria-hidden') ? 3 : 4.5;  // a sign beside words, or words
        found.push([(e.value || e.textContent).trim().slice(0, 30), (a + 0.05) / (b + 0.05) / needed]);
    }
    return found;
}"""

OVERFLOWS = """() => {
    const right = document.querySelector('.chatglm-panel').getBoundingClientRect().right;
    return [...document.querySelectorAll('.chatglm-panel :is(button, label, input, select, textarea, p, span)')]
        .filter(e => e.offsetParent && getComputedStyle(e).fontSize !== '0px')
        .filter(e => e.getBoundingClientRect().right > right + 1
            || (e.matches('button, label') && e.scrollWidth > e.clientWidth + 1))
        .map(e => e.outerHTML.slice(0, 200));
}"""


@pytest.fixture(scope="module")
def dark(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Lab]:
    from ..support.lab import Lab

    started = Lab(tmp_path_factory.mktemp("dark"), theme="JupyterLab Dark")
    yield started
    started.stop()


@pytest.mark.parametrize("theme", ["lab", "dark"])
@pytest.mark.parametrize("width", [800, 1600])
def test_it_is_legible_in_both_themes_and_widths(
    request: pytest.FixtureRequest, chromium: Browser, server: ScriptedServer, theme: str, width: int
) -> None:
    """Every text has contrast enough, nothing is cut off, and two columns become one where there is no room."""
    context = chromium.new_context(viewport={"width": width, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(20_000)
    server.scripts[:] = [answer("**bold** `code` text")]
    shown = opened(request.getfixturevalue(theme), page, server, f"look{width}.ipynb")
    page.keyboard.press("Control+b")
    shown.ask("hi")
    measured = page.evaluate(CONTRASTS)
    assert len(measured) > 20 and [found for found in measured if found[1] < 1] == []
    assert page.evaluate(OVERFLOWS) == []
    side, main = (shown.area.locator(f".chatglm-{name}").bounding_box() for name in ("side", "main"))
    assert side is not None and main is not None
    assert (side["y"] == main["y"] and side["x"] < main["x"]) if width == 1600 else side["x"] == main["x"]
    context.close()


def test_the_panel_works_in_notebook_7(
    tmp_path_factory: pytest.TempPathFactory, page: Page, server: ScriptedServer
) -> None:
    """The same page's work in the classic's successor: type, Send, grow, Stop, drag a slider."""
    pytest.importorskip("notebook", reason="needs Notebook 7")
    from ..support.lab import Lab

    started = Lab(tmp_path_factory.mktemp("seven"), app="notebook")
    try:
        counting = Counting()
        server.scripts[:] = [counting, answer("ok")]
        shown = opened(started, page, server, "seven.ipynb")
        shown.send("count")
        for sent in (0, 2, 4):
            counting.grow(shown.answer, 2, sent)
        shown.button("Stop").click()
        server.wait_closed(server.posts[0], 1.0)
        shown.ended(1, "Stopped; what had arrived is kept.")
        shown.drag("temperature", 80)
        shown.ask("again")
        assert shown.answer.inner_text().strip() == "ok" and server.posts[1].body["temperature"] > 0.1
    finally:
        started.stop()
