"""Only the formulas of answers are typeset, in real JupyterLab and Notebook 7 with the MathJax that they bring.

MathJax knows a command whose font reaches a style unescaped, and so loads a picture; its definitions hold for the
whole page. Each place in which text of a server or of an import is shown, but no answer, holds both.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chatglm_magic.store import History, Query, Store
from chatglm_magic.values import Turn

from ..support.servers import Asked, ScriptedServer, chunk, legacy, reply

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from ..support.lab import Lab, Notebook

PLACES = (
    *("footer", "stream-error", "explorer-error"),
    *("show-prompt", "show-model", "show-error", "show-changed"),
)
"""Places whose text MathJax would typeset. What stands in panel and viewer holds a trap too; their module closes
all but the formulas of answers, also when the kernel's HTML is let through."""


def make_trap(beacon: str, place: str) -> str:
    """Return text that makes a typesetter load a picture, and define what α is."""
    return rf"$\unicode[x;background:url({beacon}{place})]{{65}}$ $\def\alpha{{Q}}$"


class Server:
    """Answers with a trap in the place that the prompt names."""

    def __init__(self, beacon: str) -> None:
        self._beacon = beacon

    def __call__(self, connection: socket.socket, asked: Asked) -> None:
        place = asked.body["messages"][-1]["content"]
        trap = make_trap(self._beacon, place)
        model = trap if place.endswith("footer") else "test-glm"
        last = chunk(None, finish_reason="stop")
        if place.endswith("error"):
            last = {"error": {"message": trap}}
        header = "X-ChatGLM-Changed: $\\def\\gamma{Q}$\r\n" if place == "changed" else ""  # a ; would split it
        events = [chunk(r"One $\alpha\gamma$ ") | {"model": model}, last | {"model": model}]
        data = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{header}Connection: close\r\n\r\n"
        connection.sendall((head + data).encode())
        connection.shutdown(socket.SHUT_WR)


def write_import(folder: Path, beacon: str) -> None:
    """Export two turns that were never asked, with a trap in each text but the answer."""
    with closing(Store(folder / "elsewhere.sqlite")) as store:
        turns = [
            Turn(
                prompt=make_trap(beacon, f"{way}-prompt"),
                answer="half",
                status="incomplete",
                model=make_trap(beacon, f"{way}-model"),
                error=make_trap(beacon, f"{way}-error"),
                changed=(make_trap(beacon, f"{way}-changed"),),
                conversation="0123456789ab",
                id=f"{number:032x}",
                created=f"2026-01-0{number}T12:00:00+00:00",
            )
            for number, way in enumerate(("show", "view"), 1)
        ]
        store.add([(turn, place) for place, turn in enumerate(turns)])
        History(store, Query()).export(folder / "imported.jsonl", force=True)


@pytest.fixture(scope="module", params=["lab", "notebook"])
def front_end(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab, or Notebook 7, each with the MathJax that it brings."""
    lab: Lab = request.getfixturevalue("lab")
    if request.param == "lab":
        yield lab
        return
    started = type(lab)(tmp_path_factory.mktemp("notebook"), app="notebook")
    yield started
    started.stop()


def run_places(notebook: Notebook) -> None:
    """Run all cells, and do in panel, viewer and explorer what shows the rest."""
    for number in range(6):
        notebook.run(number)
    panel = notebook.run(6)
    drawn = panel.locator(".chatglm-message mjx-container")
    for place in ("panel-footer", "panel-error"):
        before = drawn.count()
        panel.get_by_role("textbox", name="Prompt", exact=True).fill(place)
        panel.get_by_role("button", name="Send", exact=True).click()
        drawn.nth(before).wait_for()
        panel.get_by_role("button", name="Send", exact=True).wait_for()
    viewer = notebook.run(7)
    viewer.get_by_role("combobox", name="Show", exact=True).select_option(index=1)
    viewer.locator(".chatglm-item button", has_text="view-prompt").click()
    viewer.locator(".chatglm-reader").get_by_text("half").last.wait_for()
    explorer = notebook.run(8)
    explorer.locator(".chatglm-cells button").first.click()
    explorer.locator(".chatglm-beside").get_by_text("One").first.wait_for()
    notebook.run(9)
    notebook.cell(9).locator("mjx-container").first.wait_for()


@pytest.mark.row("X1")
@pytest.mark.parametrize("is_open", [True, False], ids=["let-through", "as-built"])
def test_only_formulas_of_answers_are_typeset(
    front_end: Lab, page: Page, tmp_path: Path, *, is_open: bool
) -> None:
    """Nothing is loaded and nothing defined from any place; let through to MathJax, each loads its picture, and
    α and γ have become Q."""
    from ..support.lab import Notebook

    with ScriptedServer(legacy(), on_get=reply("", Access_Control_Allow_Origin="*")) as beacon:
        write_import(front_end.folder, beacon.url)
        with ScriptedServer(Server(beacon.url)) as server:
            url = front_end.write(
                f"typeset-{is_open}.ipynb",
                f"import os; os.environ['CHATGLM_MAGIC_HOME'] = {str(tmp_path)!r}\n"
                f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'\n"
                + (
                    "import chatglm_magic.render.outer as outer\nouter.NO_TYPESETTING_CLASSES = ''"
                    if is_open
                    else ""
                ),
                "%chatglm_history --import imported.jsonl\n%chatglm_history --all --show 1",
                "from IPython.display import HTML\n"
                f"HTML({make_trap(beacon.url, 'control').replace('alpha', 'beta')!r})",
                "%chatglm footer",
                "%chatglm stream-error",
                "%chatglm changed",
                "%chatglm_panel",
                "%chatglm_history --view",
                "%%chatglm_sweep temperature=0.1,0.5\nexplorer-error",
                "%chatglm alpha",
                f"HTML({make_trap(beacon.url, 'last').replace('alpha', 'beta')!r})",
            )
            notebook = Notebook(page, url)
            run_places(notebook)
            notebook.run(10)  # MathJax typesets in turn: what it loads for this comes after all else
            shown = {f"/{place}" for place in PLACES} if is_open else set()
            beacon.wait_paths({"/control", "/last"} | shown)
            assert {asked.path for asked in beacon.asked} == {"/control", "/last"} | shown
            drawn = notebook.cell(9).locator("mjx-container").first.inner_html()
            assert [drawn.count(code) for code in ("1D444", "1D6FC", "1D6FE")] == (
                [2, 0, 0] if is_open else [0, 1, 1]
            )
