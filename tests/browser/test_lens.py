"""The lens in real JupyterLab, by pointer and keyboard: everything after the one question happens in the page."""

from __future__ import annotations

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


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with LlamaServer(ANSWER) as server:
        yield server


def opened(app: Lab, page: Page, server: ScriptedServer, name: str, options: str = "") -> Locator:
    """Run a lens in a new notebook; return what its cell shows."""
    from ..support.lab import Notebook

    start = f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'\n"
    start += "%config ChatGLMSettings.store='off'"
    ask = f"%chatglm_lens -t 1 --vocabulary 3 {options} Which colour?"
    notebook = Notebook(page, app.write(name, start, ask))
    notebook.run(0)
    shown = notebook.run(1)
    token(shown, "Red").first.wait_for()
    return shown


def token(shown: Locator, name: str) -> Locator:
    return shown.get_by_role("option", name=name, exact=True)


def drag(shown: Locator, name: str, by: int) -> None:
    """Drag a slider's handle, which is in the middle, by a number of pixels."""
    page = shown.page
    box = shown.get_by_role("slider", name=name, exact=True).bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=6)
    page.mouse.up()


def drawn(shown: Locator) -> list[str]:
    """Return the last column of the table of candidates: with which probability each is drawn."""
    cells = shown.locator(".chatglm-candidates tbody tr:has(th) td:last-child")
    return [text.strip() for text in cells.all_inner_texts()]


def shows(shown: Locator, position: int) -> None:
    """Wait until the candidates of a position are shown."""
    shown.locator(".chatglm-position").get_by_text(f"Position {position}:").wait_for()


def test_sliders_re_shape_and_a_click_opens_a_token(app: Lab, page: Page, server: ScriptedServer) -> None:
    """Dragged, typed and reset; the figures follow at once, and the server hears of one question alone."""
    before = len(server.posts)
    shown = opened(app, page, server, "lens-sliders.ipynb")
    assert drawn(shown) == ["50.0 %", "30.0 %", "20.0 %"]
    assert shown.locator(".chatglm-candidates").get_by_text("<b>Green</b>").is_visible()
    drag(shown, "temperature", -100)
    shown.locator(".chatglm-candidates tbody tr:first-child td:last-child:not(:text('50.0 %'))").wait_for()
    assert 50 < float(drawn(shown)[0].rstrip(" %")) <= 100
    box = shown.get_by_role("spinbutton", name="top_p", exact=True)
    box.fill("0.4")
    box.press("Tab")
    shown.get_by_text("top_p 0.4 keeps 1 token").wait_for()
    assert drawn(shown) == ["100 %", "cut", "cut"]
    shown.get_by_role("button", name="Reset top_p", exact=True).click()
    shown.get_by_role("button", name="Reset temperature", exact=True).click()
    shown.locator(".chatglm-candidates tbody tr:first-child td:last-child:text('50.0 %')").wait_for()
    token(shown, "␣fox").click()
    shown.locator(".chatglm-candidates", has_text="狐狸").wait_for()
    assert drawn(shown) == ["90.0 %", "8.0 %", "2.0 %"]
    # the pointer shows a token before the kernel has heard of the click that chooses it
    previous = shown.get_by_role("button", name="Previous token")
    previous.and_(shown.locator(":enabled")).wait_for()
    previous.focus()
    page.keyboard.press("Enter")
    shown.locator(".chatglm-candidates", has_text="Blue").wait_for()
    assert len(server.posts) == before + 1


def test_a_value_out_of_range_is_refused_beside_the_box(lab: Lab, page: Page, server: ScriptedServer) -> None:
    """Nothing is cut down in silence; the next value that is in range takes the message away."""
    shown = opened(lab, page, server, "lens-range.ipynb")
    box = shown.get_by_role("spinbutton", name="temperature", exact=True)
    box.fill("50")
    box.press("Enter")
    shown.get_by_text("temperature goes from 0 to 10.").wait_for()
    assert box.input_value() == "50" and drawn(shown)[0] == "50.0 %"
    box.fill("8")
    box.press("Enter")
    shown.locator(".chatglm-candidates").get_by_text("temperature 8", exact=True).wait_for()
    slider = shown.get_by_role("slider", name="temperature", exact=True)
    assert slider.get_attribute("max") == "8" and not shown.get_by_text("goes from").count()
    box.fill("1")
    box.press("Enter")
    shown.locator(".chatglm-candidates").get_by_text("temperature 1", exact=True).wait_for()
    assert slider.get_attribute("max") == "2"


def test_the_pointer_and_the_arrows_move_among_the_tokens(app: Lab, page: Page, server: ScriptedServer) -> None:
    """The answer is prose; pointing at a token shows its top three, arrows choose, and the notebook stays put."""
    shown = opened(app, page, server, "lens-keys.ipynb")
    assert shown.get_by_role("listbox", name="Tokens of the answer").inner_text() == "Red fox"
    shows(shown, 1)
    token(shown, "␣fox").hover()
    tip = shown.get_by_role("tooltip")
    tip.get_by_text("almost certain").wait_for()
    assert " ".join(tip.inner_text().split()) == "Position 2: almost certain ␣fox 90.0 % 狐狸 8.0 % ␣dog 2.0 %"
    shows(shown, 2)
    page.mouse.move(5, 5)
    shows(shown, 1)
    assert not tip.is_visible()
    token(shown, "Red").focus()
    cells = page.locator(".jp-Notebook .jp-Cell").count()
    page.keyboard.press("ArrowRight")
    shows(shown, 2)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("x")
    assert token(shown, "␣fox").evaluate("e => e === document.activeElement")
    assert page.locator(".jp-Notebook .jp-Cell").count() == cells
    page.keyboard.press("Home")
    shows(shown, 1)
    assert token(shown, "Red").get_attribute("aria-selected") == "true"


def test_shades_tell_how_open_a_token_is(lab: Lab, page: Page, server: ScriptedServer) -> None:
    """The open one is darker than the one that is almost certain; at temperature 0 neither has a shade."""
    shown = opened(lab, page, server, "lens-shades.ipynb")

    def opacity(name: str) -> float:
        ground = token(shown, name).evaluate("e => getComputedStyle(e).backgroundColor")
        return float(ground.rstrip(")").split(",")[3]) if ground.count(",") == 3 else 1.0

    assert opacity("Red") > opacity("␣fox") > 0
    box = shown.get_by_role("spinbutton", name="temperature", exact=True)
    box.fill("0")
    box.press("Enter")
    shown.get_by_text("temperature 0 keeps 1 token").wait_for()
    assert opacity("Red") == opacity("␣fox") == 0


def test_more_than_100_tokens_scroll(lab: Lab, page: Page) -> None:
    """A long answer takes a part of the page; a token that is chosen by keyboard comes into view."""
    events = [make_event(" fox", make_entry(ENDS[0], ENDS)) for _ in range(400)]
    with LlamaServer(stream_events(make_event("Red", make_entry(COLOURS[0], COLOURS)), *events)) as server:
        shown = opened(lab, page, server, "lens-long.ipynb", "-m 500")
        prose = shown.locator(".chatglm-prose")
        assert prose.evaluate("e => e.scrollHeight > e.clientHeight + 20 && e.clientHeight < 300")
        token(shown, "Red").focus()
        page.keyboard.press("End")
        shows(shown, 401)
        assert prose.evaluate("e => e.scrollTop > 20")
        last = shown.locator('[data-n="400"]').bounding_box()
        around = prose.bounding_box()
        assert last and around and around["y"] <= last["y"] < around["y"] + around["height"]


def test_without_the_module_there_are_plain_widgets(lab: Lab, page: Page, server: ScriptedServer) -> None:
    """A page that can't load anywidget shows the answer, plain sliders and the candidates all the same."""
    from ..support.lab import Notebook

    page.route("**/anywidget/**", lambda route: route.abort())
    start = f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'\n"
    notebook = Notebook(page, lab.write("lens-plain.ipynb", start, "%chatglm_lens -t 1 --vocabulary 3 Which?"))
    notebook.run(0)
    shown = notebook.run(1)
    shown.locator(".chatglm-fallback .noUi-handle").first.wait_for()
    assert shown.locator(".chatglm-fallback").get_by_text("Red").first.is_visible()
    shown.get_by_role("button", name="Next token").click()
    shows(shown, 2)


def test_a_saved_notebook_keeps_the_lens(lab: Lab, page: Page, server: ScriptedServer) -> None:
    """While the widgets live, the static picture beneath them is hidden; opened without a kernel, it is there."""
    shown = opened(lab, page, server, "lens-saved.ipynb")
    assert not shown.locator(".chatglm-still").is_visible()
    page.keyboard.press("Control+s")
    end = time.monotonic() + 10
    while not (outputs := lab.saved_outputs("lens-saved.ipynb", 1)):
        assert time.monotonic() < end, "the notebook was not saved"
        page.wait_for_timeout(50)
    (still,) = ("".join(out["data"]["text/html"]) for out in outputs if "chatglm-still" in str(out))
    assert "50.0 %" in still and "狐狸" in still and "<b>Green" not in still and "&lt;b&gt;Green" in still
    assert "Position 1: " in still and "rgba(30,144,255" in still
