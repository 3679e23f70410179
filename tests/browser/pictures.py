"""``python -m tests.browser.pictures [NAME …]``: takes README's pictures again, into ``notebooks/pictures``."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..support.lab import Lab, Notebook, browser

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

PICTURES = Path(__file__).parent.parent.parent / "notebooks" / "pictures"
START = "%load_ext chatglm_magic\n%chatglm_serve"
MARGIN, ABOVE = 12, 4
"""Pixels around what a picture shows, and above it, where the cell's code ends."""
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"

QUICKSTART = (
    "%load_ext chatglm_magic",
    "%chatglm_serve",
    "%%chatglm -t 0\nCompare temperature and top_p in a table.",
    "%chatglm -t 0 什么是爱？",
    "%chatglm -t 0 Show the softmax formula.",
)
ASKED = (
    "What is temperature?",
    "什么是温度？",
    "Compare temperature and top_p in a table.",
    "什么是爱？",
    "Tell me a joke.",
)


@contextmanager
def opened(
    cells: tuple[str, ...], *, theme: str, width: int, height: int, scale: float = 1.5
) -> Iterator[Notebook]:
    """Open cells as a notebook in JupyterLab, with the side bar closed."""
    with tempfile.TemporaryDirectory() as parent, browser() as chromium:
        folder = Path(parent, "lab")
        folder.mkdir()
        os.environ["CHATGLM_MAGIC_HOME"] = parent
        Path(parent, "history.sqlite").touch(mode=0o600)  # of a store that is there already nothing is told
        lab = Lab(folder, theme=theme)
        try:
            context = chromium.new_context(viewport={"width": width, "height": height}, device_scale_factor=scale)
            page = context.new_page()
            notebook = Notebook(page, lab.write("picture.ipynb", *cells))
            page.keyboard.press("Control+b")
            yield notebook
        finally:
            lab.stop()


def quickstart(name: str, theme: str) -> None:
    """A few cells and their answers."""
    with opened(QUICKSTART, theme=theme, width=1000, height=900) as notebook:
        for number in range(len(QUICKSTART)):
            notebook.run(number)
        save(notebook, notebook.page.locator(".jp-Notebook"), name)


def panel(name: str, theme: str, width: int) -> None:
    """The panel after a question, in its live mode."""
    with opened((START, "%chatglm_panel"), theme=theme, width=width, height=1500) as notebook:
        notebook.run(0)
        shown = notebook.run(1)
        prompt = shown.get_by_role("textbox", name="Prompt", exact=True)
        for text in ("Compare temperature and top_p in a table.", "Tell me a joke."):
            if text == "Tell me a joke.":
                shown.get_by_role("checkbox", name="Live").check()
            prompt.fill(text)
            prompt.press("Enter")
            shown.get_by_role("button", name="Stop").wait_for(state="detached")
        narrow = shown.get_by_role("button", name="Settings", exact=True)
        if narrow.is_visible():
            narrow.click()
        for temperature in ("1.4", "2"):
            box = shown.get_by_role("textbox", name="Temperature", exact=True)
            box.fill(temperature)
            box.press("Enter")
            shown.locator(".chatglm-lanes .chatglm-who", has_text=f"Temperature {temperature}").wait_for()
        if narrow.is_visible():
            shown.get_by_role("button", name="Close", exact=True).click()
        save(notebook, shown, name)


def history(name: str, theme: str) -> None:
    """The viewer after a search, with the conversation of a turn that was found."""
    cells = (START, "\n".join(f"%chatglm -q {prompt}" for prompt in ASKED), "%chatglm_history --view")
    with opened(cells, theme=theme, width=1300, height=1500) as notebook:
        for number in (0, 1):
            notebook.run(number)
        shown = notebook.run(2)
        shown.get_by_role("textbox", name="Search", exact=True).fill("温度")
        shown.locator(".chatglm-snippet mark").first.wait_for()
        shown.locator(".chatglm-item button").first.click()
        shown.locator("article", has_text="温度").first.wait_for()
        save(notebook, shown, name)


def lens(name: str, theme: str) -> None:
    """The lens after its sliders were moved."""
    with opened((START, "%chatglm_lens -t 1 What is love?"), theme=theme, width=1000, height=1000) as notebook:
        notebook.run(0)
        shown = notebook.run(1)
        for parameter, value in (("temperature", "1.5"), ("top_p", "0.9")):
            box = shown.get_by_role("spinbutton", name=parameter, exact=True)
            box.fill(value)
            box.press("Enter")
        shown.get_by_text("cut", exact=True).first.wait_for()
        save(notebook, shown, name)


def explorer(name: str, theme: str) -> None:
    """A sweep that is done, with two of its cells compared."""
    sweep = "%%chatglm_sweep temperature=0.1,0.5,1,2 top_p=0.5:1:3 --samples 2 -o jokes\nTell me a joke."
    with opened((START, sweep), theme=theme, width=1000, height=1800) as notebook:
        notebook.run(0)
        shown = notebook.run(1)
        shown.get_by_text("24 answers").first.wait_for()
        shown.locator('button[title="temperature 0.1, top_p 1"]').click()
        shown.get_by_role("button", name="Pin as baseline").click()
        shown.locator('button[title="temperature 2, top_p 0.5"]').click()
        words = re.compile("Differences highlighted|A different answer|The same in both")
        shown.get_by_text(words).first.wait_for()
        save(notebook, shown, name)


def loop(name: str, theme: str) -> None:
    """A sweep that fills, and three of its cells opened one after the other, as an animation."""
    axes = "temperature=0.1,0.7,1.2,2 top_p=0.3,1"
    sweep = f"%%chatglm_sweep {axes} --samples 20 --jobs 1 -o jokes\nTell me a joke."
    with opened((START, sweep), theme=theme, width=1180, height=1000, scale=1) as notebook:
        notebook.run(0)
        page, cell = notebook.page, notebook.cell(1)
        cell.locator(".jp-InputArea-editor").click()
        page.evaluate(POINTER)
        film = Film(page, cell, height=690)
        film.take(0.8)
        page.keyboard.press("Control+Enter")
        ended = cell.get_by_text(re.compile("^160 answers"))
        film.take(10, until=ended.is_visible)
        film.take(0.5)
        for title in ("temperature 2, top_p 1", "temperature 0.7, top_p 1", "temperature 2, top_p 0.3"):
            place = cell.locator(f'button[title="{title}"]')
            box = place.bounding_box()
            assert box is not None
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=6)
            film.take(0.4)
            place.click()
            film.take(2)
        film.take(1)
        film.save(PICTURES / f"{name}.png")


POINTER = """() => {
    const node = document.createElement('div');
    node.style.cssText = `position: fixed; z-index: 9999; width: 18px; height: 18px; margin: -9px; left: -50px;
        box-sizing: border-box; border-radius: 50%; border: 2px solid #1565c0; background: rgba(21, 101, 192, .35);
        pointer-events: none`;
    document.body.append(node);
    addEventListener('mousemove', ({clientX, clientY}) => {
        Object.assign(node.style, {left: `${clientX}px`, top: `${clientY}px`});
    }, true);
}"""
"""Shows where the pointer is, which a screenshot leaves out."""


class Film:
    """Pictures of a part of a page, each shown for as long as it was there."""

    def __init__(self, page: Page, what: Locator, height: int) -> None:
        box = what.bounding_box()
        assert box is not None
        self._page, self._frames, self._seconds = page, list[Image.Image](), list[float]()
        self._clip = {"x": box["x"], "y": box["y"], "width": box["width"], "height": height}

    def take(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Take pictures for some seconds, or until something is true; one that shows nothing new is the same."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            began = time.monotonic()
            shot = self._page.screenshot(clip=self._clip)  # type: ignore[arg-type]
            frame = Image.open(io.BytesIO(shot)).convert("RGB")
            if self._frames and frame.tobytes() == self._frames[-1].tobytes():
                self._seconds[-1] += time.monotonic() - began
            else:
                self._frames.append(frame)
                self._seconds.append(time.monotonic() - began)

    def save(self, path: Path) -> None:
        """Write an APNG that begins again at its end; where it can't be played, its end is shown."""
        colours = self._frames[-1].quantize(255)
        frames = [frame.quantize(palette=colours, dither=Image.Dither.NONE) for frame in self._frames]
        durations = [round(1000 * seconds) for seconds in self._seconds]
        frames[-1].save(
            path,
            save_all=True,
            append_images=frames,
            duration=durations,
            loop=0,
            default_image=True,
            optimize=True,
        )
        size = path.stat().st_size
        print(f"{path.name}: {len(durations)} pictures, {sum(durations) / 1000:.1f} s, {size / 1e6:.2f} MB")


def save(notebook: Notebook, what: Locator, name: str) -> None:
    """Take a picture of a widget, or of cells, once the page has settled; with a margin, and nothing cut off.

    Nothing has the focus in it, whose frame would only make its readers wonder.
    """
    notebook.wait_idle()
    notebook.page.evaluate("document.activeElement.blur()")
    notebook.page.mouse.move(5, 5)
    notebook.page.wait_for_timeout(1500)
    widget = what.locator(".chatglm-box").first
    if not widget.count():
        what.screenshot(path=str(PICTURES / f"{name}.png"))
        return
    box = widget.bounding_box()
    assert box is not None and box["y"] >= ABOVE, "the page is too low to show all of it"
    clip = {"x": box["x"] - MARGIN, "y": box["y"] - ABOVE}
    clip |= {"width": box["width"] + 2 * MARGIN, "height": box["height"] + ABOVE + MARGIN}
    notebook.page.screenshot(path=str(PICTURES / f"{name}.png"), clip=clip)  # type: ignore[arg-type]


PARTS: dict[str, Callable[[str], None]] = {
    "sweep": lambda name: loop(name, LIGHT),
    "quickstart": lambda name: quickstart(name, LIGHT),
    "quickstart-dark": lambda name: quickstart(name, DARK),
    "panel": lambda name: panel(name, LIGHT, 1300),
    "panel-dark": lambda name: panel(name, DARK, 1300),
    "panel-narrow": lambda name: panel(name, LIGHT, 800),
    "history": lambda name: history(name, LIGHT),
    "explorer": lambda name: explorer(name, LIGHT),
    "explorer-dark": lambda name: explorer(name, DARK),
    "lens": lambda name: lens(name, LIGHT),
}


def main() -> None:
    """Take every picture, or those that are named."""
    PICTURES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PARTS:
        PARTS[name](name)


if __name__ == "__main__":
    main()
