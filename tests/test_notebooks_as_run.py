"""Every notebook as users run it: in notebook mode, watched by a front end, and by tools that run notebooks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from .support.servers import ScriptedServer, legacy

pytestmark = pytest.mark.heavy

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
NAMES = [path.stem for path in sorted(NOTEBOOKS.glob("*.ipynb"))]

KNOWN = ("Turns are saved to ", " - distributed.")
"""Parts of lines in stderr that are no error."""

SWEPT = "%%chatglm_sweep temperature=0.1,0.5,1 -n 2 -j 1 -o jokes\nTell me a joke."
READ = "print(len(jokes), [len(stats.setting) for stats in jokes.stats()])"


class Watched(NotebookClient):  # type: ignore[misc]
    """Runs cells as JupyterLab does, which answers input requests; nbclient says that nobody does."""

    async def async_start_new_kernel_client(self) -> Any:
        client = await super().async_start_new_kernel_client()
        client.allow_stdin = True
        return client


def run_notebook(kind: type[NotebookClient], notebook: Any, folder: Path) -> Any:
    """Run all cells of a notebook in a fresh kernel; an error in a cell raises."""
    kind(notebook, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def errors_of(notebook: Any) -> list[str]:
    """Return tracebacks and what stands in stderr, but for the line about a new store and what Dask logs."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    errors = [output["evalue"] for output in outputs if output["output_type"] == "error"]
    written = [o["text"] for o in outputs if o["output_type"] == "stream" and o["name"] == "stderr"]
    return errors + [text for text in written if not any(known in text for known in KNOWN)]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_through_in_notebook_mode(name: str, tmp_path: Path) -> None:
    """All cells in a fresh kernel, with widgets, streams and nothing of the tests' modes: no error output."""
    pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    run_notebook(Watched, notebook, tmp_path / "notebooks")
    assert errors_of(notebook) == []


def sweep_and_read(server: ScriptedServer) -> Any:
    """Return a notebook that uses a sweep in the cell after it."""
    load = f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url = '{server.url}'"
    cells = [nbformat.v4.new_code_cell(source) for source in (load, SWEPT, READ)]
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})


def read_output(notebook: Any) -> str:
    return "".join(output["text"] for output in notebook.cells[2].outputs if output["output_type"] == "stream")


@pytest.mark.row("H18")
@pytest.mark.parametrize("kind", [NotebookClient, Watched], ids=["unwatched", "watched"])
def test_a_sweep_is_whole_in_the_next_cell(kind: type[NotebookClient], tmp_path: Path) -> None:
    """The next cell sees all six answers, and the saved notebook shows them, whoever runs it."""
    with ScriptedServer(legacy("ha")) as server:
        notebook = run_notebook(kind, sweep_and_read(server), tmp_path)
    assert read_output(notebook) == "6 [1, 1, 1]\n" and errors_of(notebook) == []
    if kind is NotebookClient:
        saved = "".join(output["data"]["text/plain"] for output in notebook.cells[1].outputs)
        assert "6 of 6 answers" in saved and "running" not in saved


@pytest.mark.row("H18")
def test_papermill_runs_a_sweep_and_reads_it(tmp_path: Path) -> None:
    """papermill gets the whole sweep too, and keeps its output."""
    papermill = pytest.importorskip("papermill", reason="papermill is in the extra test")
    with ScriptedServer(legacy("ha")) as server:
        nbformat.write(sweep_and_read(server), tmp_path / "in.ipynb")
        papermill.execute_notebook(
            tmp_path / "in.ipynb", tmp_path / "out.ipynb", progress_bar=False, cwd=tmp_path, kernel_name="python3"
        )
    notebook = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    notebook.cells = [
        cell for cell in notebook.cells if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    assert read_output(notebook) == "6 [1, 1, 1]\n"
    assert "6 of 6 answers" in str(notebook.cells[1].outputs)
