"""Sweeps in real JupyterLab, by pointer and keyboard: the grid fills, is stopped, gone on with, compared."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from ..support.servers import Script, ScriptedServer, answer, by_body, chunk, reply, sse

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from ..support.lab import Lab, Notebook

SWEEP = "%%chatglm_sweep temperature=0.1,0.5,1,1.5,2 top_p=0.2:1:5 --samples 4 --jobs 1 -o jokes\nTell me a joke."
LOCAL = "%load_ext chatglm_magic\n%chatglm_serve\n%config ChatGLMSettings.store='off'"


def opened(lab: Lab, page: Page, name: str, *cells: str) -> Notebook:
    """Open a notebook and run its first cell."""
    from ..support.lab import Notebook

    notebook = Notebook(page, lab.write(name, *cells))
    notebook.run(0)
    return notebook


def button(shown: Locator, name: str) -> Locator:
    return shown.get_by_role("button", name=name, exact=True)


def tile(shown: Locator, setting: str) -> Locator:
    """Return the button of the cell with these values."""
    return shown.locator(f'.chatglm-cells button[title="{setting}"]')


def came(shown: Locator) -> int:
    """Return how many answers the bar, or where it is gone the line in its place, says have come."""
    bar = shown.evaluate("e => e.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow')")
    if bar is not None:
        return int(bar)
    found = re.search(r"(\d+) (?:of \d+|answers?)", shown.locator(".chatglm-status").first.inner_text())
    return int(found[1]) if found else 0


def until(page: Page, test: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        page.wait_for_timeout(30)


@contextmanager
def slowed() -> Iterator[None]:
    """Let the local server run a tenth of the time: at its own speed all is over before a pointer gets there."""
    ours = psutil.Process().children(recursive=True)
    servers = [process for process in ours if "chatglm_magic.server" in " ".join(process.cmdline())]
    assert servers
    over = threading.Event()

    def slow() -> None:
        while not over.wait(0.005):
            for process in servers:
                process.suspend()
            over.wait(0.045)
            for process in servers:
                process.resume()

    thread = threading.Thread(target=slow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def at(server: ScriptedServer) -> str:
    return (
        f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'\n"
        "%config ChatGLMSettings.store='off'"
    )


def test_a_sweep_fills_is_stopped_resumed_and_compared(lab: Lab, page: Page) -> None:
    """5 × 5 × 4 answers of the built-in model; whole ones stay, and the diversity rises with the temperature."""
    told = "import json\nprint(json.dumps([[turn.id for turn in jokes], not jokes.running]))"
    rising = (
        "found = {t: [s.diversity for s in jokes.sel(temperature=t).stats()] for t in jokes.axes['temperature']}\n"
        "print(json.dumps([sum(values) / len(values) for values in found.values()]))"
    )
    notebook = opened(lab, page, "explore.ipynb", LOCAL, SWEEP, told, told, rising)
    with slowed():
        shown = notebook.run(1)
        seen = [0]
        for _ in range(3):
            until(page, lambda: came(shown) > seen[-1], f"more than {seen[-1]} answers")
            seen.append(came(shown))
        button(shown, "Stop").click()
        button(shown, "Resume").wait_for()
    stopped = came(shown)
    assert seen == sorted(set(seen)) and seen[-1] <= stopped < 100
    before, done = json.loads(notebook.run(2).inner_text())
    assert done and stopped <= len(before) < 100
    button(shown, "Resume").click()
    until(page, lambda: came(shown) == 100, "all answers")
    after, _ = json.loads(notebook.run(3).inner_text())
    assert len(after) == 100 and len(set(before) & set(after)) >= stopped, "whole answers stay"
    means = json.loads(notebook.run(4).inner_text())
    assert means[0] < 0.05 and means[-1] > 0.5
    assert all(later >= earlier - 0.05 for earlier, later in pairwise(means)), means

    tile(shown, "temperature 0.1, top_p 0.2").click()
    shown.get_by_role("group", name="4 × the same").wait_for()
    button(shown, "Pin as baseline").click()
    tile(shown, "temperature 2, top_p 1").focus()
    page.keyboard.press("Enter")
    shown.get_by_text("A different answer").first.wait_for()
    assert shown.get_by_role("group", name="Sample 4").count() == 1


def test_widgets_of_one_page_leave_each_other_as_they_are(lab: Lab, page: Page) -> None:
    """They share the page's style sheets: with each one that comes, places and sizes in the others stay."""
    sweep = "%%chatglm_sweep temperature=0.1,0.5 top_p=0.2,0.6 -o grid\nTell me a joke."
    shows = {".chatglm-explorer": sweep, ".chatglm-lens": "%chatglm_lens -t 1 What is love?"}
    shows |= {".chatglm-viewer": "%chatglm_history --view", ".chatglm-panel": "%chatglm_panel"}
    last = {".chatglm-explorer": "[role=gridcell]", ".chatglm-lens": "[role=option]"}
    last |= {".chatglm-viewer": ".chatglm-reader article", ".chatglm-panel": ".chatglm-go"}
    notebook = opened(lab, page, "side-by-side.ipynb", LOCAL, *shows.values())
    laid_out: dict[str, list[str]] = {}
    for number, selector in enumerate(shows, 1):
        shown = notebook.run(number)
        shown.locator(selector).locator(last[selector]).first.wait_for()
        if number == 1:
            shown.get_by_text("4 answers").first.wait_for()
            tile(shown, "temperature 0.5, top_p 0.2").click()
            shown.get_by_text("Opened: temperature 0.5, top_p 0.2").wait_for()
        notebook.wait_idle()
        page.evaluate(DRAWN)
        for other, before in laid_out.items():
            assert page.evaluate(LAID_OUT, other) == before, (other, "after", selector)
        laid_out[selector] = page.evaluate(LAID_OUT, selector)
        assert len(laid_out[selector]) > 30


DRAWN = """() => new Promise(
    done => requestAnimationFrame(() => requestAnimationFrame(() => document.fonts.ready.then(done)))
)"""
"""Waits until what has arrived is drawn."""

LAID_OUT = """selector => {
    const at = document.querySelector(selector);
    const around = at.getBoundingClientRect();
    return [...at.querySelectorAll('*')].filter(part => part.offsetParent).map(part => {
        const {left, top, width, height} = part.getBoundingClientRect();
        const place = [left - around.left, top - around.top, width, height].map(Math.round).join(' ');
        return `${part.tagName} ${part.className} ${place}`;
    });
}"""


def test_the_grid_stands_as_its_axes_say(lab: Lab, page: Page) -> None:
    """Each value's cells are in its line and in its column, beside and below its name; another choice turns it."""
    with ScriptedServer(by_body(lambda body: answer(f"{body['temperature']} {body['top_p']}"))) as server:
        sweep = "%%chatglm_sweep temperature=0.1,0.5 top_p=0.2,0.6,1 -o grid\nWhich?"
        notebook = opened(lab, page, "explore-grid.ipynb", at(server), sweep)
        shown = notebook.run(1)
        until(page, lambda: came(shown) == 6, "all answers")
        temperatures, top_ps = ("0.1", "0.5"), ("0.2", "0.6", "1")
        boxes: dict[tuple[str, str], Any] = {
            (t, p): tile(shown, f"temperature {t}, top_p {p}").bounding_box() for t in temperatures for p in top_ps
        }
        for t in temperatures:
            assert len({round(boxes[t, p]["y"]) for p in top_ps}) == 1
        for p in top_ps:
            assert len({round(boxes[t, p]["x"]) for t in temperatures}) == 1
        assert [boxes["0.1", p]["x"] for p in top_ps] == sorted(boxes["0.1", p]["x"] for p in top_ps)
        shown.get_by_role("combobox", name="Rows").select_option("top_p")
        until(page, lambda: _below(shown, "temperature 0.1, top_p 0.6", "temperature 0.1, top_p 0.2"), "turned")
        tile(shown, "temperature 0.1, top_p 0.2").click()
        button(shown, "Pin as baseline").click()
        tile(shown, "temperature 0.1, top_p 0.6").click()
        shown.get_by_text("Differences highlighted").first.wait_for()
        assert shown.locator(".chatglm-marked mark").all_inner_texts() == ["0.2", "0.6"]


def _below(shown: Locator, lower: str, upper: str) -> bool:
    low, high = tile(shown, lower).bounding_box(), tile(shown, upper).bounding_box()
    return bool(low and high and low["y"] > high["y"] + 5 and abs(low["x"] - high["x"]) < 2)


def test_failures_are_told_and_retried(lab: Lab, page: Page) -> None:
    """A cell that failed says why; Retry failed asks for it alone."""
    well = threading.Event()

    def choose(body: Any) -> Script:
        if body["temperature"] == 0.5 and not well.is_set():
            return reply({"error": {"message": "the <b>card</b> is hot"}}, status=400)
        return answer(f"at {body['temperature']}")

    with ScriptedServer(by_body(choose)) as server:
        sweep = "%%chatglm_sweep temperature=0.1,0.5,1 --jobs 1\nHow?"
        notebook = opened(lab, page, "explore-failed.ipynb", at(server), sweep)
        shown = notebook.run(1)
        failed = tile(shown, "temperature 0.5")
        failed.get_by_text("failed").wait_for()
        failed.click()
        shown.locator(".chatglm-beside").get_by_text("the <b>card</b> is hot").wait_for()
        assert len(server.posts) == 3
        well.set()
        button(shown, "Retry failed").click()
        failed.get_by_text("at 0.5").wait_for()
        assert len(server.posts) == 4
        shown.get_by_text(re.compile(r"^3 answers · (<0\.1|\d+\.\d) s$")).wait_for()
        assert not shown.get_by_role("progressbar").count() and not button(shown, "Retry failed").is_visible()


def test_a_saved_notebook_keeps_the_heat_map(lab: Lab, page: Page) -> None:
    """Hidden while the grid lives; written when the sweep ends, with its numbers."""
    with ScriptedServer(by_body(lambda body: answer(f"at {body['temperature']}"))) as server:
        sweep = "%%chatglm_sweep temperature=0.1,0.5 --samples 2\nHow?"
        notebook = opened(lab, page, "explore-saved.ipynb", at(server), sweep)
        shown = notebook.run(1)
        until(page, lambda: came(shown) == 4, "all answers")
        assert not shown.locator(".chatglm-still").is_visible()

        def still() -> str:
            page.keyboard.press("Control+s")
            outputs = lab.saved_outputs("explore-saved.ipynb", 1)
            return "".join("".join(out.get("data", {}).get("text/html", "")) for out in outputs)

        until(page, lambda: "4 of 4 answers" in still(), "the heat map in the file", 15)
        until(page, lambda: "Diversity" in (kept := still()) and "0.00" in kept, "its numbers", 15)


@pytest.mark.parametrize("width", [800, 1600])
def test_nothing_is_cut_off(lab: Lab, page: Page, width: int) -> None:
    """At both widths the grid's cells are inside the page or can be scrolled to, and none covers another."""
    page.set_viewport_size({"width": width, "height": 900})
    with ScriptedServer(by_body(lambda body: answer("word " * 40))) as server:
        sweep = "%%chatglm_sweep temperature=0.1,0.5,1,2 top_p=0.1:0.9:5\nHow?"
        notebook = opened(lab, page, f"explore-{width}.ipynb", at(server), sweep)
        shown = notebook.run(1)
        until(page, lambda: came(shown) == 20, "all answers")
        boxes = [found.bounding_box() for found in shown.locator(".chatglm-cells button").all()]
        assert len(boxes) == 20 and all(box and box["width"] > 60 and box["height"] < 200 for box in boxes)
        corners = {(round(box["x"]), round(box["y"])) for box in boxes if box}
        assert len(corners) == 20


# --- how it looks, and what the keyboard does ------------------------------------------------------------------

THREE = "%%chatglm_sweep temperature=0.1,0.5,1 top_p=0.2,0.6,1 --samples 2\nHow?"


def explored(app: Lab, page: Page, server: ScriptedServer, name: str, sweep: str = THREE) -> Locator:
    """Sweep to the end in a new notebook; return what its cell shows."""
    shown = opened(app, page, name, at(server), sweep).run(1)
    until(page, lambda: shown.get_by_text(re.compile(r"answers? · |failed · ")).count(), "the end")
    return shown


def box_of(found: Locator) -> dict[str, float]:
    box = found.bounding_box()
    assert box is not None
    return dict(box)


@pytest.mark.parametrize(("width", "place"), [(1400, "right"), (1100, "right"), (900, "below"), (600, "below")])
def test_the_grid_fills_the_width_and_the_open_cell_is_at_its_right_where_there_is_room(
    lab: Lab, page: Page, width: int, place: str
) -> None:
    """The last column ends where the explorer does; the answers of a cell stand beside the grid, or below it."""
    page.set_viewport_size({"width": width, "height": 900})
    page.keyboard.press("Control+b")
    with ScriptedServer(by_body(lambda body: answer(f"at {body['temperature']}"))) as server:
        notebook = opened(lab, page, f"explore-wide-{width}.ipynb", at(server), THREE)
        page.keyboard.press("Control+b")
        shown = notebook.run(1)
        until(page, lambda: came(shown) == 18, "all answers")
        explorer, last = box_of(shown.locator(".chatglm-explorer")), tile(shown, "temperature 1, top_p 1")
        end = explorer["x"] + explorer["width"]
        until(
            page, lambda: abs(box_of(last)["x"] + box_of(last)["width"] - end) < 20, "a grid as wide as it can be"
        )
        tile(shown, "temperature 0.1, top_p 0.2").click()
        side = shown.locator(".chatglm-side:visible")
        side.wait_for()
        grid = box_of(shown.locator(".chatglm-cells"))
        if place == "right":
            assert box_of(side)["x"] > grid["x"] + grid["width"] and abs(box_of(side)["y"] - grid["y"]) < 30
        else:
            assert box_of(side)["y"] > grid["y"] + grid["height"]
        right = box_of(side)["x"] + box_of(side)["width"]
        assert right <= end + 1, "nothing is cut off"


def test_arrow_keys_stay_in_the_grid(app: Lab, page: Page) -> None:
    """They move among the cells, stop at its edges, and neither they nor letters reach the notebook."""
    with ScriptedServer(by_body(lambda body: answer(f"at {body['temperature']}"))) as server:
        shown = explored(app, page, server, "explore-keys.ipynb")
        cells = page.locator(".jp-Notebook .jp-Cell").count()

        def focused() -> str:
            return str(page.evaluate("document.activeElement.title"))

        tile(shown, "temperature 0.1, top_p 0.2").focus()
        seen = []
        for key in (
            "ArrowRight",
            "ArrowDown",
            "End",
            "ArrowRight",
            "ArrowDown",
            "ArrowDown",
            "Home",
            "x",
            "ArrowUp",
        ):
            page.keyboard.press(key)
            seen.append(focused())
        assert seen == [
            "temperature 0.1, top_p 0.6",
            "temperature 0.5, top_p 0.6",
            "temperature 0.5, top_p 1",
            "temperature 0.5, top_p 1",
            "temperature 1, top_p 1",
            "temperature 1, top_p 1",
            "temperature 1, top_p 0.2",
            "temperature 1, top_p 0.2",
            "temperature 0.5, top_p 0.2",
        ]
        page.keyboard.press("Enter")
        shown.get_by_text("Opened: temperature 0.5, top_p 0.2").wait_for()
        assert page.locator(".jp-Notebook .jp-Cell").count() == cells
        assert focused() == "temperature 0.5, top_p 0.2"
        button(shown, "Close").click()
        until(page, lambda: focused() == "temperature 0.5, top_p 0.2", "the keyboard in the grid")


def test_answers_are_bold_facts_are_grey_and_equal_answers_are_shown_once(lab: Lab, page: Page) -> None:
    """In the cell and in what is opened of it, with the number of answers that are the same."""
    with ScriptedServer(by_body(lambda body: answer("ten"))) as server:
        shown = explored(lab, page, server, "explore-equal.ipynb")
        cell = tile(shown, "temperature 0.1, top_p 0.2")
        style = "e => [getComputedStyle(e).fontWeight, getComputedStyle(e).opacity]"
        assert cell.get_by_text("ten", exact=True).evaluate(style) == ["600", "1"]
        weight, opacity = cell.get_by_text("2 × the same · 3 chars").evaluate(style)
        assert weight == "400" and float(opacity) < 1
        cell.click()
        region = shown.get_by_role("group", name="2 × the same")
        region.wait_for()
        assert shown.locator(".chatglm-side:visible").get_by_text("ten", exact=True).count() == 1


def test_only_a_cell_whose_answer_has_begun_is_running(lab: Lab, page: Page) -> None:
    """Of three requests at once the server works at one: the others are sent, and a fourth waits."""
    hold = threading.Event()
    begun, queued = answer("one ", "two", hold=hold), sse([chunk("late")], hold=hold)
    with ScriptedServer(by_body(lambda body: begun if body["temperature"] == 0.1 else queued)) as server:
        sweep = "%%chatglm_sweep temperature=0.1,0.5,1,2 --jobs 3\nHow?"
        shown = opened(lab, page, "explore-running.ipynb", at(server), sweep).run(1)
        tile(shown, "temperature 0.1").get_by_text("running").wait_for()
        words = [tile(shown, f"temperature {t}").inner_text().split()[1] for t in ("0.1", "0.5", "1", "2")]
        hold.set()
        assert words == ["running", "sent", "sent", "waiting"]


def test_what_is_over_says_so_in_a_line(lab: Lab, page: Page) -> None:
    """After Stop the bar is gone and Resume has the keyboard; where all requests failed it is an error."""
    hold = threading.Event()
    script = by_body(lambda body: answer("ok") if body["temperature"] == 0.1 else answer("no", "no", hold=hold))
    with ScriptedServer(script) as server:
        sweep = "%%chatglm_sweep temperature=0.1,0.5,1 --jobs 1\nHow?"
        shown = opened(lab, page, "explore-stopped.ipynb", at(server), sweep).run(1)
        until(page, lambda: came(shown) == 1, "one answer")
        assert not button(shown, "Resume").is_visible() and not button(shown, "Retry failed").is_visible()
        button(shown, "Stop").click()
        shown.get_by_text("Stopped at 1 of 3").wait_for()
        assert not shown.get_by_role("progressbar").count() and not button(shown, "Stop").is_visible()
        until(page, lambda: page.evaluate("document.activeElement.textContent") == "Resume", "Resume's focus")
        hold.set()
        button(shown, "Resume").click()
        shown.get_by_text(re.compile(r"^3 answers · (<0\.1|\d+\.\d) s$")).wait_for()
    with ScriptedServer(reply({"error": {"message": "no"}}, status=400)) as server:
        shown = explored(lab, page, server, "explore-all-failed.ipynb", "%%chatglm_sweep temperature=0.1,1\nHow?")
        line = shown.get_by_text(re.compile(r"^All 2 requests failed · (<0\.1|\d+\.\d) s$"))
        assert line.evaluate("e => e.className") == "chatglm-failed"
        assert shown.get_by_role("alert").count() == 1


@pytest.fixture(scope="module")
def dark(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab in its dark theme."""
    started = type(lab)(tmp_path_factory.mktemp("dark"), theme="JupyterLab Dark")
    yield started
    started.stop()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_greatest_figure_stands_out_in_both_themes(
    request: pytest.FixtureRequest, page: Page, theme: str
) -> None:
    """On white it is the darkest, on black the brightest."""
    app = request.getfixturevalue("lab" if theme == "light" else "dark")
    with ScriptedServer(by_body(lambda body: answer("x" * int(100 * body["temperature"])))) as server:
        sweep = "%%chatglm_sweep temperature=0.1,0.5,1\nHow?"
        shown = explored(app, page, server, f"explore-{theme}.ipynb", sweep)
        lightness = [lightness_of(tile(shown, f"temperature {t}")) for t in ("0.1", "0.5", "1")]
        assert lightness == sorted(lightness, reverse=theme == "light")
        assert abs(lightness[2] - lightness[0]) > 40


def lightness_of(found: Locator) -> float:
    """Return the mean of a cell's red, green and blue as they look on the page's ground."""
    return float(
        found.evaluate(
            """e => {
              const c = document.createElement("canvas").getContext("2d");
              const around = getComputedStyle(document.body).getPropertyValue("--jp-layout-color0");
              for (const colour of [around, getComputedStyle(e).backgroundColor]) {
                c.fillStyle = colour;
                c.fillRect(0, 0, 1, 1);
              }
              const [r, g, b] = c.getImageData(0, 0, 1, 1).data;
              return (r + g + b) / 3;
            }"""
        )
    )


def test_without_the_module_there_is_a_heat_map_and_a_way_to_open_a_cell(lab: Lab, page: Page) -> None:
    """A page that can't load anywidget shows the numbers, and dropdowns pick a cell."""
    page.route("**/anywidget/**", lambda route: route.abort())
    with ScriptedServer(by_body(lambda body: answer(f"at {body['temperature']}"))) as server:
        sweep = "%%chatglm_sweep temperature=0.1,0.5,1\nHow?"
        shown = explored(lab, page, server, "explore-plain.ipynb", sweep)
        shown.get_by_role("combobox", name="temperature", exact=True).select_option("0.5")
        button(shown, "Open cell").click()
        shown.get_by_text("Opened: temperature 0.5").wait_for()
        assert shown.locator(".chatglm-side:visible").get_by_text("at 0.5").count()
