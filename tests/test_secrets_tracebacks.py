"""Tracebacks as people see them, in IPython at each %xmode and in pytest with --showlocals, hold no key."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython
from IPython.utils.capture import capture_output

from chatglm_magic import get_session
from chatglm_magic.errors import ChatGLMError

from .support.canary import KEY, PLACES, ROADS, WAYS, has_leaked, open_road


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = start_ipython() or InteractiveShell.instance()
    shell.history_manager.enabled = False
    shell.run_line_magic("load_ext", "chatglm_magic")
    yield shell
    with capture_output():
        shell.run_line_magic("xmode", "Context")
    shell.run_line_magic("unload_ext", "chatglm_magic")


def shown_by(shell: InteractiveShell, cell: str, **names: Any) -> str:
    """Run a cell that fails; return all that it wrote."""
    shell.push(names)
    with capture_output() as wrote:
        result = shell.run_cell(cell)
    assert not result.success, cell
    return str(wrote.stdout + wrote.stderr)


MODES = ("Plain", "Context", "Verbose", "Minimal")
CELLS = (
    "llm.invoke('hi')",
    "def mine():\n    return list(llm.stream('hi'))\nmine()",
    "await llm.ainvoke('hi')",
    "session.ask('hi')",
    "%chatglm hi",
    "%%time\nllm.batch(['hi'])",
)


@pytest.mark.row("S14")
def test_a_verbose_traceback_shows_variables(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: %xmode Verbose shows the headers that pass through requests, though no cell names them."""
    with capture_output():
        shell.run_line_magic("xmode", "Verbose")
    monkeypatch.setenv("CANARY", KEY)
    cell = "requests.post('http://127.0.0.1:1/', headers={'X-Auth': os.environ['CANARY']})"
    assert has_leaked(shown_by(shell, f"import os, requests\n{cell}"))


@pytest.mark.row("S14")
@pytest.mark.parametrize("mode", MODES)
def test_no_traceback_shows_the_key(shell: InteractiveShell, mode: str) -> None:
    """At every %xmode, for every manner of asking and of failing, wherever the key was given."""
    with capture_output():
        shell.run_line_magic("xmode", mode)
    session, found = get_session(), []
    for place, cell in enumerate(CELLS):
        for name in (*ROADS, "echo_401", *(["interrupt"] if "await" not in cell and "batch" not in cell else [])):
            if (len(name) + place) % (2 if mode == "Verbose" else 6):
                continue  # each road in some cells: all of them in all would take long
            with open_road(name, PLACES[place % 3]) as llm:
                with suppress(ChatGLMError):
                    session.llm = llm
                text = shown_by(shell, cell, llm=llm, session=session)
            assert "Error" in text or "Interrupt" in text, text
            found += [(name, cell)] if has_leaked(text) else []
    assert not found


ADDRESSES = [
    "http://u:{key}@127.0.0.1:1/",
    "http://127.0.0.1:1/v1?api_key={key}",
    "http://127.0.0.1:1/?token={key}",
]


@pytest.mark.row("S14")
@pytest.mark.parametrize("address", ADDRESSES, ids=["password", "api_key", "token"])
def test_a_key_in_an_address_is_not_shown_either(shell: InteractiveShell, address: str) -> None:
    """Refused when it is given, or shown by no traceback: name and password, and a query that holds a key."""
    shell.user_ns["given"] = lambda: address.format(key=KEY)  # a variable of the cell would be shown
    cell = (
        "from chatglm_magic import ChatGLM\nllm = ChatGLM(endpoint_url=given(), max_retries=0)\nllm.invoke('hi')"
    )
    for mode in MODES:
        with capture_output():
            shell.run_line_magic("xmode", mode)
        assert not has_leaked(shown_by(shell, cell)), mode


FAILING = """
import os
import pytest, requests
from tests.support.canary import PLACES, ROADS, WAYS, ask_by, open_road

@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", (*ROADS[::2], "broken_off"))
def test_road(name, way):
    with open_road(name, PLACES[(len(name) + len(way)) % 3]) as llm:
        ask_by(llm, way)

def test_control():
    requests.post("http://127.0.0.1:1/", headers={"X-Auth": os.environ["CANARY"]}, timeout=5)
"""


@pytest.mark.row("S14")
def test_pytest_with_showlocals_shows_no_key(tmp_path: Path) -> None:
    """A test of somebody's own that fails shows each frame's variables: none holds the key."""
    path = tmp_path / "test_failing.py"
    path.write_text(FAILING)
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--showlocals",
            "-vv",
            "-p",
            "no:cacheprovider",
            f"--rootdir={tmp_path}",
            path,
        ],
        env={**os.environ, "PYTHONPATH": str(root), "CANARY": KEY, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=100,
    )
    *_, reports = done.stdout.partition("= FAILURES =")
    parts = re.split(r"^_{3,} (test_\S+) _{3,}$", reports.partition("short test summary")[0], flags=re.M)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert has_leaked(found.pop("test_control"))
    assert len(found) == 5 * len(WAYS)
    assert all("llm " in text for text in found.values()), "the variables are shown"
    assert not [name for name, text in found.items() if has_leaked(text)]
