"""``python -m tests.browser.pictures``: takes the pictures of README anew, into ``notebooks/pictures``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .lab import Lab, Notebook, browser

if TYPE_CHECKING:
    from playwright.sync_api import Locator

PICTURES = Path(__file__).parent.parent.parent / "notebooks" / "pictures"
START = "%load_ext chatglm_magic\n%chatglm_serve"
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
def opened(cells: tuple[str, ...], *, theme: str, width: int, height: int) -> Iterator[Notebook]:
    """Open cells as a notebook in JupyterLab, with the side bar closed."""
    with tempfile.TemporaryDirectory() as parent, browser() as chromium:
        folder = Path(parent, "lab")
        folder.mkdir()
        lab = Lab(folder, theme=theme)
        try:
            context = chromium.new_context(viewport={"width": width, "height": height}, device_scale_factor=1.5)
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
    with opened((START, "%chatglm_panel"), theme=theme, width=width, height=1000) as notebook:
        notebook.run(0)
        shown = notebook.run(1)
        box = shown.get_by_role("spinbutton", name="temperature", exact=True)
        shown.get_by_role("textbox", name="Prompt", exact=True).fill("Tell me a joke.")
        for check in shown.get_by_role("checkbox", name="unset").all()[:1]:
            check.uncheck()
        shown.get_by_role("checkbox", name="Live mode").check()
        for temperature in ("0.2", "1.4", "2"):
            box.fill(temperature)
            box.press("Tab")
            notebook.page.wait_for_timeout(1500)
        save(notebook, shown, name)


def history(name: str, theme: str) -> None:
    """The viewer with one turn opened."""
    cells = (START, "\n".join(f"%chatglm -q {prompt}" for prompt in ASKED), "%chatglm_history --view")
    with opened(cells, theme=theme, width=1300, height=1000) as notebook:
        for number in (0, 1):
            notebook.run(number)
        shown = notebook.run(2)
        shown.get_by_role("button", name="Compare temperature").first.click()
        shown.locator("table th", has_text="top_p").first.wait_for()
        save(notebook, shown, name)


def save(notebook: Notebook, what: Locator, name: str) -> None:
    """Take a picture once the page has settled: fonts, formulas and status bar."""
    notebook.wait_idle()
    notebook.page.mouse.move(5, 5)
    notebook.page.wait_for_timeout(1500)
    what.screenshot(path=str(PICTURES / f"{name}.png"))


PARTS: tuple[Callable[[], None], ...] = (
    lambda: quickstart("quickstart", LIGHT),
    lambda: quickstart("quickstart-dark", DARK),
    lambda: panel("panel", LIGHT, 1300),
    lambda: panel("panel-dark", DARK, 1300),
    lambda: panel("panel-narrow", LIGHT, 800),
    lambda: history("history", LIGHT),
)


def main() -> None:
    """Take every picture."""
    PICTURES.mkdir(exist_ok=True)
    for part in PARTS:
        part()


if __name__ == "__main__":
    main()
