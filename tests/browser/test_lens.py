"""The lens in real JupyterLab, by pointer and keyboard: everything after the one question happens in the page."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from ..support.logprobs import LlamaServer, make_entry, make_event, stream_events
from ..support.servers import ScriptedServer

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from ..support.lab import Lab

COLOURS = [("Red", math.log(0.5)), ("Blue", math.log(0.3)), ("<b>Green</b>", math.log(0.2))]
ENDS = [(" fox", math.log(0.9)), ("狐狸", math.log(0.08)), (" dog", math.log(0.02))]
ANSWER = stream_events(
    make_event("Red", make_entry(COLOURS[0], COLOURS)), make_event(" fox", make_entry(ENDS[0], ENDS))
)

FIRST = "document.querySelector('.chatglm-bars tbody td:last-child').innerText"
"""With which probability the first candidate is drawn, as a page's script reads it."""


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with LlamaServer(ANSWER) as server:
        yield server


def opened(lab: Lab, page: Page, server: ScriptedServer, name: str) -> Locator:
    """Run a lens in a new notebook; return what its cell shows."""
    from ..support.lab import Notebook

    start = f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'\n"
    start += "%config ChatGLMSettings.store='off'"
    ask = "%chatglm_lens -t 1 --vocabulary 3 Which colour?"
    notebook = Notebook(page, lab.write(name, start, ask))
    notebook.run(0)
    shown = notebook.run(1)
    shown.get_by_role("button", name="Red", exact=True).wait_for()
    return shown


def drag(shown: Locator, name: str, by: int) -> None:
    """Drag a slider's handle by a number of pixels."""
    page = shown.page
    row = shown.locator(".chatglm-parameter", has=page.get_by_role("spinbutton", name=name, exact=True))
    box = row.get_by_role("slider").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=6)
    page.mouse.up()


def drawn(shown: Locator) -> list[str]:
    """Return the last column of the table of candidates: with which probability each is drawn."""
    return [text.strip() for text in shown.locator(".chatglm-bars tbody td:last-child").all_inner_texts()]


def test_sliders_re_shape_and_a_click_opens_a_token(lab: Lab, page: Page, server: ScriptedServer) -> None:
    """Dragged, typed and reset; the figures follow at once, and the server hears of one question alone."""
    shown = opened(lab, page, server, "lens-sliders.ipynb")
    assert drawn(shown) == ["50.0 %", "30.0 %", "20.0 %"]
    assert shown.locator(".chatglm-bars").get_by_text("<b>Green</b>").is_visible()
    drag(shown, "temperature", -150)
    page.wait_for_function(
        "!document.querySelector('.chatglm-bars tbody td:last-child').innerText.startsWith('50')"
    )
    colder = float(drawn(shown)[0].rstrip(" %"))
    assert 50 < colder <= 100
    box = shown.get_by_role("spinbutton", name="top_p", exact=True)
    box.fill("0.4")
    box.press("Tab")
    shown.locator(".chatglm-bars td", has_text="cut").first.wait_for()
    assert drawn(shown) == ["100 %", "cut", "cut"]
    shown.get_by_role("button", name="Reset top_p", exact=True).click()
    shown.get_by_role("button", name="Reset temperature", exact=True).click()
    shown.locator(".chatglm-bars tbody tr", has_text="Blue").get_by_text("30.0 %").last.wait_for()
    page.wait_for_function(
        "document.querySelector('.chatglm-bars tbody td:last-child').innerText.startsWith('50')"
    )
    shown.get_by_role("button", name="␣fox", exact=True).click()
    shown.locator(".chatglm-bars", has_text="狐狸").wait_for()
    assert drawn(shown) == ["90.0 %", "8.0 %", "2.0 %"]
    shown.get_by_role("button", name="Previous token").focus()
    page.keyboard.press("Enter")
    shown.locator(".chatglm-bars", has_text="Blue").wait_for()
    assert len(server.posts) == 1


def test_a_saved_notebook_keeps_the_lens(lab: Lab, page: Page, server: ScriptedServer) -> None:
    """While the widgets live, the static picture beneath them is hidden; opened without a kernel, it is there."""
    shown = opened(lab, page, server, "lens-saved.ipynb")
    assert not shown.locator(".chatglm-still").is_visible()
    page.keyboard.press("Control+s")
    path = lab.folder / "lens-saved.ipynb"
    end = time.monotonic() + 10
    while not (outputs := json.loads(path.read_text(encoding="utf-8"))["cells"][1]["outputs"]):
        assert time.monotonic() < end, "the notebook was not saved"
        page.wait_for_timeout(50)
    (still,) = ("".join(out["data"]["text/html"]) for out in outputs if "chatglm-still" in str(out))
    assert "50.0 %" in still and "狐狸" in still and "<b>Green" not in still and "&lt;b&gt;Green" in still
