"""The quickstart, a growing answer and the panel, as a person meets them."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from ..servers import ScriptedServer, answer, chunk, legacy, sse

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from .lab import Lab, Notebook

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"


def open_notebook(page: Page, url: str) -> Notebook:
    from .lab import Notebook

    return Notebook(page, url)


def test_the_quickstart_runs_through(lab: Lab, page: Page) -> None:
    """Every cell of the first notebook runs in JupyterLab, with no error and with its answers typeset."""
    saved = nbformat.read(NOTEBOOKS / "01-quickstart.ipynb", as_version=4)
    for cell in saved.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(saved, lab.folder / "quickstart.ipynb")
    notebook = open_notebook(page, lab.url("quickstart.ipynb"))
    notebook.run_all()
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-OutputArea-output table th", has_text="temperature").count() >= 1
    assert page.locator(".jp-OutputArea-output mjx-container").count() >= 1
    assert page.locator(".jp-OutputArea-output .highlight .k").count() >= 1
    assert page.get_by_role("spinbutton", name="temperature").count() == 1


def test_the_answer_grows_while_it_streams(lab: Lab, page: Page) -> None:
    """At least three lengths are read from the page before the server has sent its last byte."""
    hold = threading.Event()
    words = [f"word{n} " for n in range(40)]
    with ScriptedServer(answer(*words, pause=0.05, hold=hold)) as server:
        url = lab.write(
            "grows.ipynb",
            f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'",
            "%chatglm hi",
        )
        notebook = open_notebook(page, url)
        notebook.run(0)
        notebook.start(1)
        text = notebook.cell(1).locator(".chatglm-answer")
        text.wait_for()
        lengths = set()
        while len(lengths) < 3 or len(text.inner_text()) < len("".join(words)) - 10:
            lengths.add(len(text.inner_text()))
            page.wait_for_timeout(30)
        assert len(lengths) >= 3 and not hold.is_set()
        hold.set()
        notebook.ended(1)
        assert text.inner_text().strip() == "".join(words).strip()
        assert notebook.outputs(1).count() == 1


def test_the_text_is_shown_once_in_lab(lab: Lab, page: Page) -> None:
    """One output for each evaluation, in JupyterLab itself."""
    with ScriptedServer(answer("你", "好")) as server:
        url = lab.write(
            "once.ipynb",
            f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'",
            *("%chatglm hi", "x = %chatglm hi", "x = %chatglm hi\nx", "x", "_", "print(x)"),
        )
        notebook = open_notebook(page, url)
        notebook.run(0)
        for number in range(1, 7):
            notebook.run(number)
            assert notebook.outputs(number).count() == 1
            shown = notebook.cell(number).locator(".jp-OutputArea").inner_text()
            assert shown.count("你好") == 1, (number, shown)


@pytest.fixture
def panel(lab: Lab, page: Page, request: pytest.FixtureRequest) -> Iterator[tuple[ScriptedServer, Locator]]:
    """A panel in a notebook, and the scripted server it asks."""
    with ScriptedServer(legacy("ok")) as server:
        url = lab.write(
            re.sub(r"\W+", "-", request.node.name) + ".ipynb",
            f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}'",
            "%chatglm_panel",
            "from chatglm_magic import get_session\nget_session().llm.temperature",
        )
        notebook = open_notebook(page, url)
        notebook.run(0)
        yield server, notebook.run(1)


def ask(panel: Locator, text: str) -> None:
    """Type a prompt and click Send."""
    panel.get_by_role("textbox", name="Prompt").fill("")
    panel.get_by_role("textbox", name="Prompt").press_sequentially(text)
    panel.get_by_role("button", name="Send").click()


def wait_for_turns(panel: Locator, count: int) -> None:
    panel.get_by_text(f"({count})", exact=False).first.wait_for()


@pytest.mark.parametrize(
    ("row", "key", "start"),
    [("temperature", "temperature", 0.1), ("top_p", "top_p", 0.7), ("max_token", "max_length", 20000)],
)
def test_a_slider_moves_the_next_request(
    panel: tuple[ScriptedServer, Locator], page: Page, row: str, key: str, start: float
) -> None:
    """Dragging by pointer, stepping by keyboard and typing into the box each show in what the server gets."""
    server, shown = panel
    box = shown.get_by_role("spinbutton", name=row, exact=True)
    handle = shown.locator(".widget-hbox", has=page.get_by_role("spinbutton", name=row)).get_by_role("slider")
    ask(shown, "one")
    wait_for_turns(shown, 1)
    assert server.posts[0].body[key] == start
    track = handle.bounding_box()
    assert track is not None
    page.mouse.move(track["x"] + track["width"] / 2, track["y"] + track["height"] / 2)
    page.mouse.down()
    page.mouse.move(track["x"] + (-60 if row != "temperature" else 80), track["y"], steps=5)
    page.mouse.up()
    ask(shown, "two")
    wait_for_turns(shown, 2)
    dragged = server.posts[1].body[key]
    assert dragged != start and float(box.input_value()) == pytest.approx(dragged)
    handle.focus()
    page.keyboard.press("ArrowRight")
    ask(shown, "three")
    wait_for_turns(shown, 3)
    assert server.posts[2].body[key] > dragged
    typed = {"temperature": "1.25", "top_p": "0.35", "max_token": "77"}[row]
    box.fill(typed)
    box.press("Enter")
    ask(shown, "four")
    wait_for_turns(shown, 4)
    assert server.posts[3].body[key] == float(typed)


def test_the_panel_and_the_model_are_one(panel: tuple[ScriptedServer, Locator], page: Page) -> None:
    """What is typed into a box shows in session.llm."""
    _, shown = panel
    shown.get_by_role("spinbutton", name="temperature", exact=True).fill("1.5")
    page.keyboard.press("Tab")
    from .lab import Notebook

    notebook = Notebook.__new__(Notebook)
    notebook.page = page
    assert "1.5" in notebook.run(2).inner_text()


def test_the_panel_streams_and_stops(lab: Lab, page: Page) -> None:
    """The answer grows in the panel; Stop ends it, the server sees the close, and the text is kept."""
    hold = threading.Event()
    script = sse([chunk(f"word{n} ") for n in range(30)], pause=0.05, hold=hold)
    with ScriptedServer(script, answer("whole")) as server:
        url = lab.write(
            "stops.ipynb",
            f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'",
            "%chatglm_panel",
        )
        notebook = open_notebook(page, url)
        notebook.run(0)
        shown = notebook.run(1)
        stop = shown.get_by_role("button", name="Stop")
        assert stop.is_disabled()
        ask(shown, "你好吗?")
        text = shown.locator(".chatglm-answer").first
        text.wait_for()
        lengths = set()
        while len(lengths) < 3:
            lengths.add(len(text.inner_text()))
            page.wait_for_timeout(30)
        stop.click()
        shown.get_by_text("Stopped; what had arrived is kept.").wait_for()
        assert server.wait_closed(server.posts[0], 1.0)
        wait_for_turns(shown, 1)
        assert text.inner_text().startswith("word0")
        assert server.posts[0].body["messages"][-1]["content"] == "你好吗?"
        ask(shown, "again")
        wait_for_turns(shown, 2)
        assert len(server.posts) == 2


def test_a_double_click_sends_once(panel: tuple[ScriptedServer, Locator], page: Page) -> None:
    """Two clicks in a row are one question."""
    server, shown = panel
    server.scripts[:] = [answer("slow", pause=0.3)]
    shown.get_by_role("textbox", name="Prompt").fill("hi")
    shown.get_by_role("button", name="Send").dblclick()
    wait_for_turns(shown, 1)
    page.wait_for_timeout(300)
    assert len(server.posts) == 1


def test_an_error_stands_in_the_panel(panel: tuple[ScriptedServer, Locator]) -> None:
    """A fault is one line in the panel, never swallowed, and Send works again."""
    server, shown = panel
    server.__exit__()
    ask(shown, "hi")
    shown.get_by_text("No server answers at").wait_for()
    assert shown.get_by_role("button", name="Send").is_enabled()
