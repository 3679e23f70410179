"""The quickstart against other servers, and what nbval makes of a change and of an error."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import nbformat
import pytest
import requests
from nbclient import NotebookClient

from .support.servers import ScriptedServer, answer

pytest.importorskip("xllamacpp", reason='the local server needs the extra "local"')

from chatglm_magic import LocalServer

pytestmark = pytest.mark.heavy

QUICKSTART = Path(__file__).parent.parent / "notebooks" / "01-quickstart.ipynb"


@contextmanager
def door(server: LocalServer, allowed: str) -> Iterator[str]:
    """Let through to the local server what a path begins with, exactly "/" or "/v1"; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if not (self.path == "/" if allowed == "/" else self.path.startswith(allowed)):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.token}"}
            got = requests.post(f"{server.base_url}{self.path[1:]}", data=body, headers=headers, timeout=60)
            self.send_response(got.status_code)
            self.send_header("Content-Type", got.headers["Content-Type"])
            self.send_header("Content-Length", str(len(got.content)))
            self.end_headers()
            self.wfile.write(got.content)

        def do_GET(self) -> None:
            self.send_error(405)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()


def answers(notebook: Any) -> dict[str, str]:
    """Return what each cell that asks with %chatglm shows, as text."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "nbval-ignore-output" not in cell.metadata.get("tags", []):
            shown = [out["data"]["text/plain"] for out in cell.outputs if out["output_type"] == "display_data"]
            if shown and "%chatglm" in cell.source and "panel" not in cell.source:
                found[cell.source] = "\n".join(shown)
    return found


@pytest.mark.parametrize("path", ["/", "/v1"])
def test_the_quickstart_against_one_protocol_alone(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same notebook gives the same answers where there is only POST /, and where there is only /v1."""
    monkeypatch.setenv("CHATGLM_MAGIC_RENDER", "final")
    notebook = nbformat.read(QUICKSTART, as_version=4)
    saved = answers(notebook)
    assert len(saved) >= 6
    with LocalServer() as server, door(server, path) as url:
        for cell in notebook.cells:
            if cell.source == "%chatglm_serve":
                cell.source = f"%chatglm_config endpoint_url={url}{path}"
        NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert answers(notebook) == saved


def nbval(notebook: Any, folder: Path, mode: str = "--nbval") -> subprocess.CompletedProcess[str]:
    """Run nbval on a notebook; other plugins of pytest take seconds to import."""
    path = folder / "changed.ipynb"
    nbformat.write(notebook, path)
    plugins = ["-p", "no:cacheprovider", "-p", "nbval.plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, mode, str(path)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "CHATGLM_MAGIC_RENDER": "final", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        timeout=120,
    )


def test_a_changed_answer_turns_the_run_red(tmp_path: Path) -> None:
    """nbval compares the answers: one word changed in the saved notebook is seen, and only it."""
    notebook = nbformat.read(QUICKSTART, as_version=4)
    place, cell = next((n, c) for n, c in enumerate(notebook.cells) if c.source == "%chatglm What is love?")
    notebook.cells = notebook.cells[: place + 1]
    cell.outputs[0]["data"]["text/plain"] = "Love is a battlefield."
    passing = sum(cell.cell_type == "code" for cell in notebook.cells) - 1
    done = nbval(notebook, tmp_path)
    assert done.returncode == 1 and f"1 failed, {passing} passed" in done.stdout, done.stdout


def test_nbval_sees_an_error(tmp_path: Path) -> None:
    """A question that fails fails its cell, in lax mode too; an IPython UsageError would pass."""
    cells = ["%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='http://127.0.0.1:1/'", "%chatglm hi"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    done = nbval(notebook, tmp_path, "--nbval-lax")
    assert done.returncode == 1 and "EndpointError" in done.stdout


def test_nbclient_shows_the_text_once_per_evaluation() -> None:
    """Streamed live, each evaluation leaves one output with the whole text and its provenance."""
    with ScriptedServer(answer("你", "好", pause=0.1)) as server:
        cells = [
            f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='{server.url}v1'",
            *("%chatglm hi", "x = %chatglm hi", "x = %chatglm hi\nx", "x", "_", "print(x)"),
        ]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        NotebookClient(notebook, timeout=60, kernel_name="python3", coalesce_streams=True).execute()
    for cell in notebook.cells[1:]:
        (output,) = cell.outputs
        text = output["text"].strip() if output["output_type"] == "stream" else output["data"]["text/plain"]
        assert text == "你好", cell.source
    assert notebook.cells[1].outputs[0]["metadata"]["chatglm"]["status"] == "complete"


EXPLORE = QUICKSTART.with_name("03-explore.ipynb")


def outputs(notebook: Any) -> dict[str, list[Any]]:
    """Return what each code cell printed and showed, without what is told of a server."""
    return {
        cell.source: [out.get("text") or out.get("data") or out["evalue"] for out in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code" and not cell.source.startswith(("%load_ext", "%chatglm_config"))
    }


def replayed(folder: Path, change: tuple[str, str] = ("", "")) -> Any:
    """Run the notebook that explores where nothing listens, on a copy of its tape, one text in it changed."""
    notebook = nbformat.read(EXPLORE, as_version=4)
    for cell in notebook.cells:
        if "%chatglm_serve" in cell.source:
            cell.source = "%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url='http://127.0.0.1:9/v1'"
        cell.source = cell.source.replace(*change)
    (folder / "03-explore.jsonl").write_bytes(EXPLORE.with_suffix(".jsonl").read_bytes())
    # what a cell prints may come in several messages
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True, coalesce_streams=True)
    client.execute(cwd=str(folder))
    return notebook


def test_sweeps_and_lens_replay_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On its tape the notebook says word for word what it says with the model, and the tape is left as it was."""
    monkeypatch.setenv("CHATGLM_MAGIC_RENDER", "final")
    monkeypatch.setenv("CHATGLM_MAGIC_TAPE_MODE", "replay")
    assert outputs(replayed(tmp_path)) == outputs(nbformat.read(EXPLORE, as_version=4))
    assert (tmp_path / "03-explore.jsonl").read_bytes() == EXPLORE.with_suffix(".jsonl").read_bytes()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("temperature=0.1,0.5,1,2", "temperature=0.1,0.6,1,2"), "temperature: recorded 0.5, requested 0.6"),
        (("-m 12 --top 40", "-m 13 --top 40"), "max_token: recorded 12, requested 13"),
    ],
    ids=["sweep", "lens"],
)
def test_a_changed_parameter_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], named: str
) -> None:
    """In mode replay a sweep or a lens with one other value says which value the tape has."""
    monkeypatch.setenv("CHATGLM_MAGIC_RENDER", "final")
    monkeypatch.setenv("CHATGLM_MAGIC_TAPE_MODE", "replay")
    found = outputs(replayed(tmp_path, change))
    assert named in str(found), found
