"""The history viewer in real JupyterLab, by pointer and keyboard; an exported page in the browser."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chatglm_magic.store import History, Store

from ..support.hostile import ANSWERS, arm
from ..support.servers import ScriptedServer, answer, legacy, reply
from ..support.viewers import make_turn

if TYPE_CHECKING:
    from playwright.sync_api import Locator, LocatorAssertions, Page

    from ..support.lab import Lab, Notebook

FILL = """from chatglm_magic import get_session
from chatglm_magic.values import Turn
session = get_session()
texts = [("什么是爱情？", "爱情是两个人之间的深厚感情。"), ("Name a colour", "Blue is the best colour."),
         ("为什么天空是蓝色的", "因为散射。"), ("Name a colour", "Red is the best colour, 真的。")] + [
         (f"question {n}", f"answer {n}") for n in range(26)]
session.store.add([(Turn(prompt=prompt, answer=answer, id=f"{n:032x}", conversation="0123456789ab",
    model=["glm-4", "chatglm3-6b"][n % 2], asked={"temperature": n / 20}, first_token=0.2, duration=1.5,
    created=f"2026-03-{n + 1:02}T12:00:00+00:00", reasoning="Let me think." if n == 0 else ""), n)
    for n, (prompt, answer) in enumerate(texts)])
session.resume("0123456789ab")"""


def expect(locator: Locator) -> LocatorAssertions:
    """Say what must become true of an element."""
    from playwright import sync_api  # it may be missing, which the fixture ``chromium`` tells

    return sync_api.expect(locator)


class Shown:
    """A viewer in a notebook, beside the scripted server that it asks."""

    def __init__(self, server: ScriptedServer, notebook: Notebook, box: Locator, folder: Path) -> None:
        self.server, self.notebook, self.box, self.folder = server, notebook, box, folder
        self.page = notebook.page

    def button(self, name: str) -> Locator:
        return self.box.get_by_role("button", name=name, exact=True)

    def field(self, name: str) -> Locator:
        return self.box.get_by_role("textbox", name=name, exact=True)

    @property
    def lines(self) -> Locator:
        """The buttons of the list, one a turn or a conversation."""
        return self.box.locator(".chatglm-item button")

    @property
    def reader(self) -> Locator:
        """The conversation that is read."""
        return self.box.locator(".chatglm-reader")

    def message(self, text: str) -> Locator:
        """Return the message that has a text, the last one if there are several."""
        return self.reader.locator("article", has_text=text).last

    def counts(self, text: str) -> None:
        """Wait until the list says how many it has."""
        expect(self.box.locator(".chatglm-listing .chatglm-status")).to_have_text(text)

    def says(self, text: str) -> None:
        """Wait until something stands in the viewer."""
        self.box.get_by_text(text).first.wait_for()

    def open(self, prompt: str) -> None:
        """Click the first line of a prompt; its turn is shown among those around it."""
        self.box.get_by_role("button", name=prompt, exact=True).first.click()
        expect(self.reader.locator("article.chatglm-user", has_text=prompt).first).to_be_visible()

    def choose(self, name: str, presses: int) -> None:
        """Choose from a list by keyboard: Space opens it, so many arrows go down, or up, and Enter chooses."""
        self.box.get_by_role("combobox", name=name, exact=True).focus()
        arrows = ["ArrowDown" if presses > 0 else "ArrowUp"] * abs(presses)
        for key in ("Space", *arrows, "Enter"):
            self.page.keyboard.press(key)


@pytest.fixture
def far_away(page: Page) -> None:
    """Move the kernel half a second away, as on Binder: messages to the page arrive late, and in order."""
    page.add_init_script("""const Near = window.WebSocket;
        window.WebSocket = class extends Near {
            set onmessage(handle) { super.onmessage = event => setTimeout(() => handle(event), 500) }
        };""")


@pytest.fixture
def shown(lab: Lab, page: Page, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shown]:
    from ..support.lab import Notebook

    page.set_viewport_size({"width": getattr(request, "param", 1500), "height": 1000})
    with ScriptedServer(answer("崭新的", "回答")) as server:
        url = lab.write(
            re.sub(r"\W+", "-", request.node.name) + ".ipynb",
            f"import os; os.environ['CHATGLM_MAGIC_HOME'] = {str(tmp_path)!r}\n"
            f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'",
            FILL,
            "%chatglm_history --view",
            "%chatglm 从单元格来的问题",
        )
        notebook = Notebook(page, url)
        page.keyboard.press("Control+b")
        for number in (0, 1):
            notebook.run(number)
        box = notebook.run(2).locator(".chatglm-viewer")
        box.evaluate("box => box.scrollIntoView()")
        shown = Shown(server, notebook, box, lab.folder)
        shown.counts("Conversations, the newest first")
        shown.choose("Show", 1)
        shown.counts("1–20 of 30 turns")
        yield shown


def test_a_chinese_search_and_filters_find_turns(shown: Shown, page: Page) -> None:
    """Typed Chinese words, a model and a range chosen by keyboard: each leaves the turns that are meant."""
    shown.field("Search").click()
    page.keyboard.type("爱情")
    shown.counts("1 turn found")
    expect(shown.lines).to_have_text(["什么是爱情？"])
    for _ in range(2):
        page.keyboard.press("Backspace")
    shown.counts("1–20 of 30 turns")
    page.keyboard.type("最好")
    shown.counts("0 turns found")
    for _ in range(2):
        page.keyboard.press("Backspace")
    shown.button("Filters").click()
    shown.choose("Model", 1)
    shown.counts("15 turns found")
    shown.field("temperature from").click()
    page.keyboard.type("1.2")
    page.keyboard.press("Tab")
    shown.counts("3 turns found")
    expect(shown.lines).to_have_text(["question 25", "question 23", "question 21"])
    shown.field("temperature to").click()
    page.keyboard.type("hot")
    page.keyboard.press("Tab")
    shown.says("temperature to: 'hot' isn't a number.")
    shown.button("Clear filters").click()
    shown.counts("1–20 of 30 turns")
    shown.box.get_by_label("Since").click(position={"x": 12, "y": 14})  # the month
    page.keyboard.type("03282026")
    page.keyboard.press("Tab")
    shown.counts("3 turns found")


def test_what_is_found_is_marked_and_read_in_its_conversation(shown: Shown, page: Page) -> None:
    """The list shows what stands around the words that were typed; a click shows that turn among the others."""
    shown.field("Search").click()
    page.keyboard.type("深厚感情")
    shown.counts("1 turn found")
    expect(shown.box.locator(".chatglm-snippet mark")).to_have_text("深厚感情")
    shown.open("什么是爱情？")
    expect(shown.message("爱情是两个人之间的深厚感情。")).to_be_in_viewport()
    expect(shown.reader.locator("article.chatglm-user")).to_have_count(20)
    shown.field("Search").fill("answer 12")
    shown.counts("1 turn found")
    shown.open("question 12")  # also when the view is at the end of what was shown before
    expect(shown.message("question 12")).to_be_in_viewport()
    shown.button("Later turns").click()
    expect(shown.message("question 16")).to_be_visible()
    shown.field("Search").fill("")
    shown.choose("Show", -1)
    shown.counts("Conversations, the newest first")
    expect(shown.lines).to_have_text(["什么是爱情？"])


def test_the_facts_of_a_line_stand_apart(shown: Shown) -> None:
    """The number, when it was asked, the model and the parameters are side by side, with room between them."""
    facts = shown.box.locator(".chatglm-item .chatglm-itemfacts").first.locator("span")
    boxes = [span.bounding_box() for span in facts.all()]
    assert len(boxes) >= 3
    for left, right in itertools.pairwise(boxes):
        assert left and right
        assert right["x"] >= left["x"] + left["width"] + 5 or right["y"] >= left["y"] + left["height"] - 1


def test_a_turn_is_read_and_asked_again(shown: Shown) -> None:
    """Its facts are a click away; Again streams a new answer into its place, and the old one is its version."""
    shown.button("Last").click()
    shown.counts("21–30 of 30 turns")
    shown.open("什么是爱情？")
    answer = shown.message("爱情是两个人之间的深厚感情。")
    expect(answer.get_by_text("Let me think.")).to_be_hidden()
    answer.get_by_text("Thinking", exact=True).click()
    expect(answer.get_by_text("Let me think.")).to_be_visible()
    expect(answer.get_by_text("first token")).to_be_hidden()
    answer.get_by_text("Details").click()
    for part in ("first token", "0.2 s", "glm-4"):
        expect(answer.get_by_text(part, exact=True).last).to_be_visible()
    answer.get_by_role("button", name="Again").click()
    shown.says("Answered.")
    new = shown.message("崭新的回答")
    expect(new).to_be_visible()
    assert [message["content"] for message in shown.server.posts[0].body["messages"]] == ["什么是爱情？"]
    expect(new.get_by_text("2/2")).to_be_visible()
    new.get_by_role("button", name="Earlier version").click()
    expect(shown.message("爱情是两个人之间的深厚感情。")).to_be_visible()


def edit(shown: Shown, prompt: str, text: str) -> None:
    """Change a prompt in its place, by keyboard."""
    shown.message(prompt).get_by_role("button", name="Edit").click()
    box = shown.field("Edit the prompt")
    expect(box).to_be_focused()
    expect(box).to_have_value(prompt)
    shown.page.keyboard.press("Control+a")
    shown.page.keyboard.type(text)
    shown.page.keyboard.press("Enter")


def test_edit_and_fork_by_keyboard(shown: Shown) -> None:
    """A prompt is edited in its place; what is typed is asked after the turns before it, in a fork."""
    shown.button("Last").click()
    shown.counts("21–30 of 30 turns")
    shown.open("为什么天空是蓝色的")
    edit(shown, "为什么天空是蓝色的", "为什么大海是蓝色的")
    shown.says("Answered.")
    sent = [message["content"] for message in shown.server.posts[0].body["messages"]]
    assert sent[::2] == ["什么是爱情？", "Name a colour", "为什么大海是蓝色的"]
    expect(shown.reader.locator("article.chatglm-user")).to_have_count(3)
    shown.choose("Show", 1)  # this conversation
    expect(shown.lines.first).to_have_text("为什么大海是蓝色的")
    expect(shown.lines).to_have_count(3)


@pytest.mark.usefixtures("far_away")
def test_a_click_right_after_typing_finds_all_that_was_typed(shown: Shown, page: Page) -> None:
    """A page holds back an update while another is under way, but not a click; and a kernel may handle both in two
    threads. Neither a prompt nor a file's name loses its end to that."""
    shown.open("question 25")
    edit(shown, "question 25", "为什么大海是蓝色的")
    shown.says("Answered.")
    assert shown.server.posts[0].body["messages"][-1]["content"] == "为什么大海是蓝色的"
    shown.box.locator(".chatglm-item").get_by_role("checkbox").first.check()
    shown.button("Export…").click()
    shown.field("File").click()
    page.keyboard.type("far-away.jsonl")
    shown.button("Export 1 turn").click()
    shown.says("1 turn in ")
    assert [file.name for file in shown.folder.glob("far-away*")] == ["far-away.jsonl"]


def test_two_selected_turns_show_what_differs(shown: Shown) -> None:
    """Differences are marked by words and by characters, with a line beneath them, not by colour alone."""
    expect(shown.button("Compare")).to_be_hidden()
    shown.button("Last").click()
    shown.counts("21–30 of 30 turns")
    shown.box.get_by_role("checkbox", name="#2", exact=True).check()
    expect(shown.button("Compare")).to_be_disabled()
    shown.open("Name a colour")
    shown.message("Name a colour").get_by_role("checkbox", name="Select").check()
    shown.says("2 turns selected")
    shown.button("Compare").click()
    marked = shown.box.locator(".chatglm-compared mark")
    expect(marked.filter(has_text="Red")).to_have_count(1)
    expect(marked.filter(has_text="Blue")).to_have_count(1)
    expect(marked.filter(has_text="真的")).to_have_count(1)
    assert marked.first.evaluate("mark => getComputedStyle(mark).textDecorationLine") == "underline"
    shown.button("Clear selection").click()
    expect(marked).to_have_count(0)
    expect(shown.button("Compare")).to_be_hidden()
    expect(shown.message("Name a colour")).to_be_visible()


def test_delete_and_export_what_is_selected(shown: Shown, page: Page) -> None:
    """Two clicks delete a turn; selected turns of two pages are written to a file that has them alone."""
    shown.open("question 25")
    shown.message("answer 25").get_by_role("button", name="Delete").dblclick()
    shown.button("Delete 1 turn for good").wait_for()
    shown.counts("1–20 of 30 turns")
    shown.button("Delete 1 turn for good").click()
    shown.says("1 turn deleted for good.")
    shown.counts("1–20 of 29 turns")
    shown.box.get_by_role("checkbox", name="#29", exact=True).check()
    shown.button("Next").click()
    shown.counts("21–29 of 29 turns")
    shown.box.get_by_role("checkbox", name="#1", exact=True).check()
    shown.says("2 turns selected")
    shown.button("Export…").click()
    expect(shown.field("File")).to_be_focused()
    page.keyboard.type("ticked.jsonl")
    page.keyboard.press("Tab")
    shown.button("Export 2 turns").click()
    shown.says("2 turns in ")
    lines = (shown.folder / "ticked.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(line)["prompt"] for line in lines) == ["question 24", "什么是爱情？"]
    shown.button("Export 2 turns").click()
    shown.says("already exists")


def test_turns_of_cells_appear_by_themselves(shown: Shown, page: Page) -> None:
    """A question asked from a cell stands in the list a moment after it has ended; nothing is clicked."""
    shown.notebook.run(3)
    expect(shown.lines.first).to_have_text("从单元格来的问题")
    shown.counts("1–20 of 31 turns")


def test_everything_goes_by_keyboard(shown: Shown, page: Page) -> None:
    """Tab reaches the list, Enter opens a turn, and Tab goes on to what it offers; the focus is seen."""
    shown.field("Search").click()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "question 24":
            break
    expect(shown.lines.nth(1)).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(shown.message("answer 24")).to_be_visible()
    expect(shown.lines.nth(1)).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    shown.says("1 turn selected")
    again = shown.message("answer 24").get_by_role("button", name="Again")
    for _ in range(120):
        page.keyboard.press("Tab")
        if again.evaluate("button => button === document.activeElement"):
            break
    expect(again).to_be_focused()
    page.keyboard.press("Enter")
    shown.says("Answered.")
    assert shown.server.posts[0].body["messages"][-1]["content"] == "question 24"


@pytest.mark.parametrize("shown", [600, 900, 1600], indirect=True)
def test_it_fits_narrow_and_wide(shown: Shown, page: Page) -> None:
    """At 600, 900 and 1600 pixels nothing stands over the edge, and nothing lies over anything else."""
    shown.button("Filters").click()
    shown.open("question 25")
    shown.box.get_by_role("checkbox", name="#30", exact=True).check()
    shown.button("Export…").click()
    expect(shown.field("File")).to_be_visible()
    shown.message("answer 25").get_by_text("Details").click()
    boxes = shown.box.evaluate(
        """box => { const edge = box.getBoundingClientRect();
        const all = [...box.querySelectorAll('button,input,select,textarea,.widget-html-content,article,dl')];
        return all.filter(e => !e.closest('details:not([open])')).map(e => [e, e.getBoundingClientRect()])
          .filter(([e, r]) => r.width && r.height && (r.left < edge.left - 1 || r.right > edge.right + 1))
          .map(([e]) => e.outerHTML) }"""
    )
    assert boxes == []
    assert overlapping(shown.box) == []
    side_by_side = shown.reader.bounding_box(), shown.lines.first.bounding_box()
    assert all(side_by_side)
    assert page.viewport_size
    wide = page.viewport_size["width"] >= 900
    reader, line = side_by_side
    assert reader and line and (reader["x"] > line["x"] + line["width"]) == wide


def overlapping(box: Locator) -> list[str]:
    """Return pairs of things to press that lie over each other, apart from what the list has scrolled away."""
    found: list[str] = box.evaluate(
        """box => { const seen = e => { const r = e.getBoundingClientRect();
          const list = e.closest('.chatglm-items, .chatglm-log')?.getBoundingClientRect();
          return r.width && r.height && !(list && (r.bottom > list.bottom || r.top < list.top)) };
        const all = [...box.querySelectorAll('button,input,select,textarea')].filter(seen), wrong = [];
        for (const a of all) for (const b of all) { if (a === b) break;
          const p = a.getBoundingClientRect(), q = b.getBoundingClientRect();
          if (Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1 &&
              Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 1)
            wrong.push(a.textContent + ' / ' + b.textContent); } return wrong }"""
    )
    return found


RAW = "<!doctype html><meta charset=utf-8><body>{}</body>"


@pytest.mark.row("S7")
def test_an_exported_page_runs_and_loads_nothing(page: Page, tmp_path: Path) -> None:
    """Control: the same texts as they stand, in a page beside it, run and ask. The export does neither."""
    with ScriptedServer(legacy(), on_get=reply("", Access_Control_Allow_Origin="*")) as beacon:
        texts = [hostile.text for hostile in arm(ANSWERS, beacon.url.rstrip("/"))]
        assert len(texts) >= 40
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        (tmp_path / "raw.html").write_text(RAW.format("\n".join(texts[:40])), errors="replace")
        page.goto((tmp_path / "raw.html").as_uri())
        page.wait_for_function("window.__pwned === 1")
        for _ in range(100):
            if beacon.asked:
                break
            page.wait_for_timeout(50)
        assert beacon.asked and len(asked) > 1
        names = ("prompt", "answer", "reasoning", "system", "model", "error", "created", "finish_reason")
        store = Store(None)
        store.add(
            [(make_turn(n, **dict.fromkeys(names, text), changed=(text,)), n) for n, text in enumerate(texts)]
        )
        file = History(store).export(tmp_path / "export.html")
        page.goto("about:blank")
        page.wait_for_timeout(500)
        asked.clear()
        beacon.asked.clear()
        page.goto(file.as_uri())
        for summary in page.locator("summary").all():
            summary.click()
        for link in page.locator("a").all():
            link.hover()
        page.mouse.move(400, 400)
        page.wait_for_timeout(1500)
        assert page.evaluate("window.__pwned") is None
        assert asked == [file.as_uri()] and beacon.asked == []
        assert page.locator("section").count() == len(texts)
        assert page.locator("script,iframe,object,embed,img,svg,form,link,base").count() == 0
        assert "window.__pwned=1" in unescape(page.content())
