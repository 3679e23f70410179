"""Sweeps and lenses in a live kernel: their widgets are displayed, fill, and obey clicks."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ..support.hiding import hide_package
from ..support.kernel_requests import evaluate, point_at
from ..support.kernels import Ran
from ..support.logprobs import ANSWER, LlamaServer
from ..support.pages import VIEW, Page, View, Widget
from ..support.servers import Script, answer, by_body, chunk, reply, sse
from ..support.visible import strip_markup
from .conftest import installed

pytestmark = pytest.mark.heavy

SWEEPS = {
    "sweep cell": "%%chatglm_sweep temperature=0.1,0.9\nName a colour.",
    "sweep()": "from chatglm_magic import sweep\nsweep('Name a colour.', temperature=[0.1, 0.9])",
}
LENSES = {
    "lens line": "%chatglm_lens Hi?",
    "lens cell": "%%chatglm_lens\nHi?",
    "lens()": "from chatglm_magic import lens\nlens('Hi?')",
}
BOTH = list((SWEEPS | LENSES).values())


def colours(*scripts: Script) -> Script:
    """Return a script that answers lenses with their probabilities, and sweeps with ``scripts`` or a colour."""
    left = list(scripts)

    def choose(body: Any) -> Script:
        if body.get("logprobs"):
            return ANSWER
        return left.pop(0) if left else answer("red" if body["temperature"] < 0.5 else "blue")

    return by_body(choose)


def displayed(ran: Ran) -> list[dict[str, Any]]:
    """Return the MIME bundles that a cell has displayed, without updates, and without a long wait's progress."""
    assert ran.error is None, ran.error
    bundles = [content["data"] for content in ran.of("display_data", "execute_result")]
    return [data for data in bundles if not data["text/plain"].startswith("Waiting for the sweep: ")]


def module(view: View, trait: str) -> Widget:
    """Return the widget of a view with a module of its own, by one of its traits."""
    (found,) = [widget for widget in view.all() if trait in widget.state]
    return found


def tile(view: View, setting: str) -> tuple[int, str]:
    """Return the number of the sweep's cell with these values, as ``temperature 0.1``, and what it shows."""
    grid = module(view, "tiles")
    (number,) = re.findall(rf'data-n="(\d+)" title="{re.escape(setting)}"', grid.state["html"])
    return int(number), strip_markup(grid.state["tiles"][number]["html"])


def until_tile(view: View, setting: str, text: str) -> None:
    """Wait until a cell of the sweep shows a text."""
    view.page.until_true(lambda: re.search(text, tile(view, setting)[1]), of=f"{text} in {setting}")


def change(view: View, **traits: Any) -> None:
    """Move a lens' sliders, or choose one of its tokens."""
    view.page.tell(module(view, "marks"), {"method": "update", "state": traits, "buffer_paths": []})


def last_update(page: Page) -> str:
    """Return the text of the display that was updated last."""
    updates = [heard.message["content"] for heard in page.heard if heard.kind == "update_display_data"]
    return str(updates[-1]["data"]["text/plain"]) if updates else ""


@installed
def test_sweeps_and_lenses_are_displayed_every_time(page: Page) -> None:
    """Two of each in one kernel: every one is displayed once, as widgets with an output beneath, and fills."""
    with LlamaServer(colours()) as server:
        point_at(page, server)
        for code in BOTH * 2:
            ran = page.run(code)
            widget, beneath = displayed(ran)
            assert VIEW in widget and VIEW not in beneath, code
            view = page.view(ran)
            if code in SWEEPS.values():
                view.until_sees("2 answers")
                until_tile(view, "temperature 0.1", "red")
                until_tile(view, "temperature 0.9", "blue")
            else:
                assert "Hi" in strip_markup(module(view, "marks").state["html"]) and view.holding("␣all")
                assert "Hi" in beneath["text/plain"] and "chatglm-still" in beneath["text/html"]
        assert len(server.posts) == 2 * (2 * len(SWEEPS) + len(LENSES))


@installed
def test_a_displayed_sweep_fills_stops_and_resumes(page: Page) -> None:
    """Its tiles fill while answers come, Stop closes the connection, Resume asks for the rest, a tile opens."""
    stalled = sse([chunk("bl"), chunk("ue")], hold=threading.Event())
    with LlamaServer(colours(answer("red"), stalled, answer("green"))) as server:
        point_at(page, server)
        view = page.view(page.run("%%chatglm_sweep temperature=0.1,0.9 --jobs 1 -o kept\nName a colour."))
        view.until_sees("1 of 2 answers")
        until_tile(view, "temperature 0.9", r"running\s+bl")
        until_tile(view, "temperature 0.1", "red")
        assert view.find("Resume", "Button").state["disabled"]

        view.click("Stop")
        page.until_true(lambda: view.find("Stop", "Button").state["disabled"])
        server.wait_closed(server.posts[1])
        view.until_sees("Stopped at 1 of 2")
        assert not view.find("Resume", "Button").state["disabled"]
        assert evaluate(page, "[turn.status for turn in kept]") == ["complete", "interrupted"]

        view.click("Resume")
        view.until_sees("2 answers")
        until_tile(view, "temperature 0.9", "green")
        assert len(server.posts) == 3, "the whole answer is not asked for again"

        number, _ = tile(view, "temperature 0.1")
        page.tell(module(view, "tiles"), {"method": "custom", "content": {"open": number}})
        view.until_sees("Opened: temperature 0.1")
        view.until_sees("red")
        page.until_true(lambda: "2 of 2 answers" in last_update(page), of="the end in the output beneath")


@installed
def test_a_displayed_sweep_retries_what_failed(page: Page) -> None:
    """A failure stands in its tile and below the bar; Retry failed asks for that cell alone."""
    refused = reply({"error": {"message": "out of paint"}}, status=400)
    with LlamaServer(colours(answer("red"), refused, answer("green"))) as server:
        point_at(page, server)
        view = page.view(page.run("%%chatglm_sweep temperature=0.1,0.9 --jobs 1\nName a colour."))
        view.until_sees("1 failed")
        until_tile(view, "temperature 0.9", "failed")
        assert not view.find("Retry failed", "Button").state["disabled"]
        view.click("Retry failed")
        view.until_sees("2 answers")
        until_tile(view, "temperature 0.9", "green")
        assert [post.body["temperature"] for post in server.posts] == [0.1, 0.9, 0.9]


@installed
def test_a_displayed_lens_is_reshaped_without_a_request(page: Page) -> None:
    """A token opens its candidates, the sliders change their figures, and the server receives one request."""
    with LlamaServer(colours()) as server:
        point_at(page, server)
        view = page.view(page.run("%chatglm_lens -t 1 Hi?"))
        change(view, index=0)
        view.until_sees("Yo")
        before = view.text
        change(view, temperature=0.1)
        page.until_true(lambda: view.text != before)
        assert view.holding("Yo")
        change(view, temperature=1.0)
        page.until_true(lambda: view.text == before)
        view.click("Next token")
        view.until_sees("␣there")
        assert not view.holding("Yo") and len(server.posts) == 1


@installed
def test_the_body_of_a_lens_cell_is_its_prompt(page: Page) -> None:
    """``%%chatglm_lens`` sends what stands below it as typed, after what stands on its line."""
    with LlamaServer(colours()) as server:
        point_at(page, server)
        page.run("%%chatglm_lens -t 0.5 --top 3\nHi {x}\n  there?\n")
        page.run("%%chatglm_lens Read this:\nHi")
        sent = [post.body["messages"][-1]["content"] for post in server.posts]
        assert sent == ["Hi {x}\n  there?", "Read this:\nHi"]
        assert server.posts[0].body["temperature"] == 0.5 and server.posts[0].body["top_logprobs"] == 3


@pytest.mark.row("H18")
@installed
def test_a_cell_that_reads_a_running_sweep_displays_its_progress(page: Page) -> None:
    """It says how many answers have come while it waits, and how many there are at the end."""
    hold = threading.Event()
    held = sse([chunk("late"), chunk(None, finish_reason="stop")], hold=hold)
    with LlamaServer(colours(answer("red"), held)) as server:
        point_at(page, server)
        assert page.run("%%chatglm_sweep temperature=0.1,0.9 -j 1 -o held\nName a colour.").error is None
        reading = page.send("print(len(held))")
        waiting = page.until("display_data")["data"]["text/plain"]
        hold.set()
        ran = page.wait(reading)
        assert waiting.startswith("Waiting for the sweep: 1 of 2 answers")
        assert ran.text == "2\n" and ran.displays == ["Sweep: 2 of 2 answers"]


@pytest.mark.row("H18")
@installed
def test_a_cell_that_nobody_watches_waits_for_its_sweep(page: Page) -> None:
    """A cell that may not ask for input, as nbconvert's, ends with its sweep and displays the end."""
    hold = threading.Event()
    held = sse([chunk("blue"), chunk(None, finish_reason="stop")], hold=hold)
    with LlamaServer(colours(answer("red"), held)) as server:
        point_at(page, server)
        cell = page.send(SWEEPS["sweep cell"], allow_stdin=False)
        page.until_true(lambda: len(server.posts) == 2)
        hold.set()
        widget, beneath = displayed(page.wait(cell))
        assert VIEW in widget and "2 of 2 answers" in beneath["text/plain"]


@installed
def test_show_false_and_quiet_display_nothing(page: Page) -> None:
    """``show=False`` returns when all is asked; as a cell's value the result is a static output, not widgets."""
    with LlamaServer(colours()) as server:
        point_at(page, server)
        quiet = "grid = sweep('Name a colour.', temperature=[0.1, 0.9], show=False)\nprint(grid.progress.done)"
        ran = page.run(f"from chatglm_magic import lens, sweep\n{quiet}\nseen = lens('Hi?', show=False)")
        assert displayed(ran) == [] and ran.text == "2\n"
        assert displayed(page.run("seen = %chatglm_lens -q Hi?")) == []
        assert displayed(page.run("%chatglm_lens -q Hi?")) == []
        for name, text in (("grid", "2 of 2 answers"), ("seen", "2 positions")):
            (data,) = displayed(page.run(name))
            assert text in data["text/plain"] and VIEW not in data and "<table" in data["text/html"]


@installed
def test_a_notebook_under_test_gets_static_outputs(page: Page) -> None:
    """With CHATGLM_MAGIC_RENDER=final each is one output without widgets, and the same one every time."""
    with LlamaServer(colours()) as server:
        point_at(page, server)
        page.run("import os; os.environ['CHATGLM_MAGIC_RENDER'] = 'final'")
        for code in BOTH:
            first, second = (displayed(page.run(code)) for _ in range(2))
            assert first == second and len(first) == 1 and VIEW not in first[0], code
            assert ("2 of 2 answers" if code in SWEEPS.values() else "2 positions") in first[0]["text/plain"]
        assert page.run("del os.environ['CHATGLM_MAGIC_RENDER']").error is None


@pytest.fixture(scope="module")
def bare_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page on a kernel that has no ipywidgets."""
    folder = hide_package(tmp_path_factory.mktemp("hidden"), "ipywidgets")
    with Page(tmp_path_factory.mktemp("home"), first=[folder]) as page:
        yield page


@pytest.mark.parametrize("code", BOTH, ids=list(SWEEPS | LENSES))
def test_without_ipywidgets_outputs_are_static(bare_page: Page, code: str) -> None:
    """Nothing has to be installed to sweep or to look through a lens: the cell waits, and shows one output."""
    assert evaluate(bare_page, "__import__('importlib.util').util.find_spec('ipywidgets')") is None
    with LlamaServer(colours()) as server:
        point_at(bare_page, server)
        (data,) = displayed(bare_page.run(code))
        assert VIEW not in data and "<table" in data["text/html"]
        assert ("2 of 2 answers" if code in SWEEPS.values() else "2 positions") in data["text/plain"]
