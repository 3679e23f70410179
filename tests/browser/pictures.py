"""``python -m tests.browser.pictures``: takes the pictures of README anew, into ``notebooks/pictures``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .lab import Lab, Notebook, browser

PICTURES = Path(__file__).parent.parent.parent / "notebooks" / "pictures"
CELLS = (
    "%load_ext chatglm_magic",
    "%chatglm_serve",
    "%%chatglm -t 0\nCompare temperature and top_p in a table.",
    "%chatglm -t 0 什么是爱？",
    "%chatglm_panel",
)


def main() -> None:
    """Run a few cells and the panel in JupyterLab, in the light and the dark theme, and take pictures."""
    PICTURES.mkdir(exist_ok=True)
    for name, theme in (("quickstart", "JupyterLab Light"), ("quickstart-dark", "JupyterLab Dark")):
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent, "lab")
            folder.mkdir()
            lab = Lab(folder, theme=theme)
            try:
                _take(lab, PICTURES / f"{name}.png")
            finally:
                lab.stop()


def _take(lab: Lab, path: Path) -> None:
    with browser() as chromium:
        page = chromium.new_context(viewport={"width": 1000, "height": 1020}, device_scale_factor=1.5).new_page()
        notebook = Notebook(page, lab.write("quickstart.ipynb", *CELLS))
        for number in range(len(CELLS)):
            notebook.run(number)
        panel = notebook.cell(4).locator(".jp-OutputArea")
        box = panel.get_by_role("spinbutton", name="temperature", exact=True)
        box.fill("0")
        box.press("Tab")
        panel.get_by_role("textbox", name="Prompt").fill("Name a colour and say why.")
        panel.get_by_role("button", name="Send").click()
        panel.get_by_text("Turns so far").wait_for()
        panel.get_by_text("(3)").wait_for()
        page.keyboard.press("Control+b")
        page.wait_for_timeout(1000)
        page.locator(".jp-Notebook").screenshot(path=str(path))


if __name__ == "__main__":
    main()
