"""Where there is no notebook, no widget, no front end, or another urllib3: questions work, and hints are typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..support import packages
from ..support.kernel_requests import point_at
from ..support.pages import VIEW, Page
from ..support.servers import ScriptedServer
from ..support.ticking import make_text, telling

pytestmark = pytest.mark.heavy

HIDE = "raise ModuleNotFoundError(\"No module named 'ipywidgets'\", name='ipywidgets')\n"
NEEDS = "ipywidgets: %pip install ipywidgets"
FUTURE = "urllib3-future==2.* jh2==5.* h11>=0.11"


@pytest.fixture(scope="module")
def without_widgets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that hides ipywidgets from whoever has it on its path."""
    folder = tmp_path_factory.mktemp("hiding")
    (folder / "ipywidgets.py").write_text(HIDE, encoding="utf-8")
    return folder


def ran(home: Path, *command: str, first: tuple[Path, ...] = ()) -> str:
    """Return what a Python process prints; it must end well."""
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=home,
        env=os.environ | {"PYTHONPATH": packages.python_path(*first), "CHATGLM_MAGIC_HOME": str(home)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PLAIN = """
from chatglm_magic import ChatGLM, errors, get_session
get_session().settings.endpoint_url = {url!r}
print(get_session().ask("q1"))
print(ChatGLM(endpoint_url={url!r}).invoke("q2"))
"""

REFUSED = """
for name in ("panel", "history_viewer"):
    try:
        getattr(__import__("chatglm_magic"), name)()
    except errors.ChatGLMError as error:
        print(error.kind, error)
"""


@pytest.mark.row("D22")
def test_in_plain_python(tmp_path: Path, without_widgets: Path) -> None:
    """Asking needs no shell and no widgets; what needs them says what to install, in one line."""
    with ScriptedServer(telling()) as server:
        code = PLAIN.format(url=server.url + "v1")
        assert ran(tmp_path, "-c", code) == f"{make_text('q1')}\n{make_text('q2')}\n"
        lines = ran(tmp_path, "-c", code + REFUSED, first=(without_widgets,)).splitlines()
        assert lines[:2] == [make_text("q1"), make_text("q2")]
        assert len(lines) == 4 and all(line.startswith("missing ") and NEEDS in line for line in lines[2:])


@pytest.mark.row("D22")
def test_in_a_terminal(tmp_path: Path) -> None:
    """%chatglm streams to the terminal; the panel and the viewer say where they can be had."""
    with ScriptedServer(telling()) as server:
        code = (
            f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url = '{server.url}v1'\n"
            "%chatglm q1\n%chatglm_panel\n%chatglm_history --view\n"
        )
        lines = ran(tmp_path, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", code).splitlines()
        assert make_text("q1") in lines
        assert len([line for line in lines if "needs a notebook" in line]) == 2


@pytest.mark.row("D22")
def test_without_ipywidgets(tmp_path: Path, without_widgets: Path) -> None:
    """In a notebook too: cells ask as ever, and the panel and the viewer are a one-line error with its remedy."""
    with ScriptedServer(telling()) as server, Page(tmp_path, first=[without_widgets]) as page:
        assert "No module named 'ipywidgets'" in str(page.run("import ipywidgets").error)
        point_at(page, server)
        assert page.run("%chatglm q1").displays == [make_text("q1")]
        for magic in ("%chatglm_panel", "%chatglm_history --view"):
            error = page.run(magic).error
            assert error is not None and error["ename"] == "ChatGLMError" and NEEDS in error["evalue"]
            assert len(error["traceback"]) == 1


@pytest.mark.row("D22")
def test_in_a_notebook_that_is_run_without_a_front_end(tmp_path: Path) -> None:
    """nbconvert --execute: answers and the panel's text stand in the file, and in the HTML that is made of it."""
    pytest.importorskip("nbconvert", reason="nbconvert comes with JupyterLab")
    import nbformat
    from nbconvert import HTMLExporter

    with ScriptedServer(telling()) as server:
        cells = [
            f"%load_ext chatglm_magic\n%config ChatGLMSettings.endpoint_url = '{server.url}v1'",
            "%chatglm q1",
            "%chatglm_panel",
            "%chatglm_history --view",
        ]
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
        nbformat.write(book, tmp_path / "book.ipynb")
        convert = ["-c", "import sys; from nbconvert.nbconvertapp import main; main(sys.argv[1:])"]
        ran(tmp_path, *convert, "--execute", "--to", "notebook", "--output", "done", "book.ipynb")
        book = nbformat.read(tmp_path / "done.ipynb", as_version=4)
        outputs = [cell.outputs for cell in book.cells]
        assert outputs[1][0].data["text/plain"] == make_text("q1")
        for shown in (outputs[2][0].data, outputs[3][0].data):
            assert VIEW in shown and "run %chatglm_" in shown["text/plain"]
        assert make_text("q1") in HTMLExporter().from_notebook_node(book)[0]


CORE = [
    *("tests/faults/test_a_connections.py", "tests/faults/test_b_bodies.py", "tests/faults/test_c_framing.py"),
    "tests/faults/test_c_shapes.py",
]
"""What the client is tested with first of all: connections, whole bodies, streams."""

PLUGINS = ["-p", "no:cacheprovider", "-p", "pytest_timeout"]


@pytest.mark.row("D23")
@pytest.mark.matrix
def test_urllib3_future(tmp_path: Path) -> None:
    """The client's own tests, and a kernel's question, are green where urllib3-future stands in for urllib3."""
    folder = packages.install(FUTURE)
    core = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", *PLUGINS, *CORE],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": packages.python_path(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    try:
        with ScriptedServer(telling()) as server, Page(tmp_path, first=[folder]) as page:
            point_at(page, server)
            assert page.run("import urllib3; print(urllib3.__file__)").text.startswith(str(folder))
            assert page.run("%chatglm q1").displays == [make_text("q1")]
        told, _ = core.communicate(timeout=100)
        assert core.returncode == 0, told
    finally:
        core.kill()
        core.wait()
