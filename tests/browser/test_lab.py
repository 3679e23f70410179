"""The quickstart and a growing answer, as a person meets them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from ..support.counting import WHOLE, Counting
from ..support.servers import ScriptedServer, answer

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from ..support.lab import Lab, Notebook

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"
ERRORS = ".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']"
SHOWN = {
    "01-quickstart": (
        ".jp-OutputArea-output table th:has-text('temperature')",
        ".jp-OutputArea-output mjx-container",
        ".jp-OutputArea-output .highlight .k",
        ".chatglm-box",
    ),
    "02-panel-and-history": (".chatglm-box", ".chatglm-answer"),
    "03-explore": (".chatglm-explorer", ".chatglm-candidates"),
    "04-langchain": (".jp-OutputArea-output",),
    "05-chat-model": (".jp-OutputArea-output",),
}
"""What stands on the page of each notebook, as selectors."""


def open_notebook(page: Page, url: str) -> Notebook:
    from ..support.lab import Notebook

    return Notebook(page, url)


def start_cell(server: ScriptedServer) -> str:
    """Return a first cell; a store that is a file would add a line to a cell's outputs that says where it is."""
    url = f"{server.url}v1"
    return (
        f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{url}'\n"
        "%config ChatGLMSettings.store='off'"
    )


def read_stderr(page: Page) -> list[str]:
    """Return what stands in the page as stderr, but for the line about a new store and what Dask logs."""
    texts = page.locator("[data-mime-type='application/vnd.jupyter.stderr']").all_text_contents()
    return [text for text in texts if "Turns are saved to " not in text and " - distributed." not in text]


@pytest.mark.parametrize("name", [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))])
def test_a_notebook_runs_through(lab: Lab, page: Page, name: str) -> None:
    """*Run All* of each notebook in JupyterLab ends with no error in any cell."""
    for path in NOTEBOOKS.glob(f"{name}.jsonl"):
        shutil.copy(path, lab.folder)
    saved = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    for cell in saved.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(saved, lab.folder / f"{name}.ipynb")
    notebook = open_notebook(page, lab.url(f"{name}.ipynb"))
    notebook.run_all()
    assert page.locator(ERRORS).count() == 0
    assert read_stderr(page) == []
    for selector in SHOWN[name]:
        assert page.locator(selector).count() >= 1, selector


def test_the_answer_grows_while_it_streams(lab: Lab, page: Page) -> None:
    """Three lengths are read from the page before the server has sent its last byte."""
    counting = Counting()
    with ScriptedServer(counting) as server:
        url = lab.write(
            "grows.ipynb",
            start_cell(server),
            "%chatglm hi",
        )
        notebook = open_notebook(page, url)
        notebook.run(0)
        notebook.start(1)
        text = notebook.cell(1).locator(".chatglm-answer")
        for sent in (0, 5, 10):
            counting.grow(text, 5, sent)
        counting.finish()
        notebook.ended(1)
        assert text.inner_text().strip() == WHOLE
        assert notebook.outputs(1).count() == 1


def test_the_text_is_shown_once_in_lab(lab: Lab, page: Page) -> None:
    """One output for each evaluation, in JupyterLab itself."""
    with ScriptedServer(answer("你", "好")) as server:
        url = lab.write(
            "once.ipynb",
            start_cell(server),
            *("%chatglm hi", "x = %chatglm hi", "x = %chatglm hi\nx", "x", "_", "print(x)"),
        )
        notebook = open_notebook(page, url)
        notebook.run(0)
        for number in range(1, 7):
            notebook.run(number)
            assert notebook.outputs(number).count() == 1
            shown = notebook.cell(number).locator(".jp-OutputArea").inner_text()
            assert shown.count("你好") == 1, (number, shown)


IN_WIDGETS = """
import ipywidgets
out = ipywidgets.Output()
def ask(n):
    %chatglm hi
display(out, ipywidgets.interactive(ask, n=3))
with out:
    %chatglm hi
"""


@pytest.mark.row("H17")
def test_an_answer_in_an_output_widget_is_whole(lab: Lab, page: Page) -> None:
    """In JupyterLab, where an Output widget shows no update: all of the text, in it and in ``interact``."""
    with ScriptedServer(answer("The ", "sea ", "is ", "blue.", pause=0.1)) as server:
        notebook = open_notebook(page, lab.write("widgets.ipynb", start_cell(server), IN_WIDGETS))
        notebook.run(0)
        notebook.run(1)
        shown = notebook.cell(1).locator(".jupyter-widgets .chatglm-answer")
        for number in range(2):
            shown.nth(number).get_by_text("The sea is blue.").wait_for()
        assert shown.count() == 2
