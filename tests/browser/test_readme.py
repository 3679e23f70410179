"""README's *Try it*, typed as printed in a fresh clone, ends with the first notebook run through in a browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOK = "notebooks/01-quickstart.ipynb"


def try_it() -> str:
    """Return the line that README prints."""
    (line,) = re.findall(r"^python3 -m venv .*/jupyter lab .*$", README, re.M)
    return str(line)


@contextmanager
def typed(line: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a line in a shell, for a person who may be root, has no browser here, and whose token is known."""
    config = folder / "config"
    config.mkdir()
    (config / "jupyter_server_config.py").write_text(
        f"c.ServerApp.allow_root = True\nc.ServerApp.open_browser = False\nc.ServerApp.port = {port}\n"
        "c.IdentityProvider.token = 'lab'\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    process = subprocess.Popen(
        ["bash", "-c", line],
        cwd=folder / "clone",
        env={
            **environment,
            "JUPYTER_CONFIG_DIR": str(config),
            "JUPYTERLAB_SETTINGS_DIR": str(config / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(config / "workspaces"),
        },
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_try_it_as_printed(page: Page, tmp_path: Path) -> None:
    """A clone, one line, and the quickstart runs through in JupyterLab."""
    from ..support.lab import Notebook

    subprocess.run(["git", "clone", "-q", str(ROOT), str(tmp_path / "clone")], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/lab/tree/{Path(NOTEBOOK).name}?token=lab"
    with typed(try_it(), tmp_path, port) as process:
        assert wait_for(address, process) == 200
        notebook = Notebook(page, address)
        for button in page.get_by_role("button", name="No", exact=True).all():
            button.click()  # JupyterLab asks once whether to fetch news
        notebook.run_all()
        assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']").count() == 0
        assert page.get_by_text("Love is").count() >= 1


def wait_for(address: str, process: subprocess.Popen[bytes]) -> int:
    """Wait until the address answers, at most four minutes; return the status."""
    end = time.monotonic() + 240
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            time.sleep(0.5)
    raise AssertionError("JupyterLab did not start")
