"""The quickstart and a growing answer, as a person meets them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from ..support.servers import ScriptedServer, answer

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from ..support.lab import Lab, Notebook

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"


def open_notebook(page: Page, url: str) -> Notebook:
    from ..support.lab import Notebook

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
    told = page.locator("[data-mime-type='application/vnd.jupyter.stderr']").all_text_contents()
    assert [text for text in told if "Turns are kept in " not in text] == []  # said where the store is new
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
