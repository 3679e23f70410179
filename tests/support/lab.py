"""Real JupyterLab in real Chromium, driven by pointer and keyboard."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import nbformat
from playwright.sync_api import Browser, Locator, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
LOST = 10.0
"""Seconds after which a cell that was started and shows no sign of it never reached the kernel."""

SEVENS_IDLE = ".jp-NotebookKernelStatus:has-text('Idle'), .jp-Notebook-ExecutionIndicator[data-status='idle']"
QUIET = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosaveInterval": 3600},
}


def chromium() -> str | None:
    """Return the path of Debian's Chromium, if it is installed."""
    return shutil.which("chromium")


@contextmanager
def browser(*flags: str) -> Iterator[Browser]:
    """Start Chromium, with further flags of its command line."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, *flags])
        yield started
        started.close()


class Lab:
    """A JupyterLab server of its own over a folder of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        theme: str = "JupyterLab Light",
        python: str = sys.executable,
        app: Literal["lab", "notebook"] = "lab",
    ) -> None:
        """``app`` may be Notebook 7, which shows the same notebooks in a page of its own."""
        self.folder, self._app = folder, app
        self._settings = folder.parent / f"{folder.name}-settings"
        self._write_settings({**QUIET, "apputils-extension/themes": {"theme": theme}})
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._log = (folder.parent / f"{folder.name}.log").open("wb")
        self._process = subprocess.Popen(
            [
                *(python, "-m", "jupyter", app, "--no-browser", "--allow-root"),
                *(f"--ServerApp.port={self._port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=lab"),
                f"--ServerApp.root_dir={folder}",
            ],
            env={
                **os.environ,
                "JUPYTERLAB_SETTINGS_DIR": str(self._settings),
                "JUPYTERLAB_WORKSPACES_DIR": str(self._settings / "workspaces"),
                "JUPYTER_CONFIG_DIR": str(self._settings / "config"),
                "IPYTHONDIR": str(self._settings / "ipython"),
            },
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait()

    @property
    def base(self) -> str:
        """The server's own address."""
        return f"http://127.0.0.1:{self._port}"

    def url(self, name: str) -> str:
        """Return the address of a notebook, in a workspace of its own: Lab opens earlier tabs again."""
        workspace = name.replace(".", "-")
        page = f"lab/workspaces/{workspace}/tree" if self._app == "lab" else "notebooks"
        return f"{self.base}/{page}/{name}?token=lab"

    def write(self, name: str, *cells: str) -> str:
        """Make a notebook of code cells; return its address."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)
        return self.url(name)

    def saved_outputs(self, name: str, number: int) -> list[dict[str, Any]]:
        """Return a cell's outputs as they stand in a notebook's file; none while it is being written."""
        try:
            saved = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except json.JSONDecodeError:
            return []
        outputs: list[dict[str, Any]] = saved["cells"][number]["outputs"]
        return outputs

    def stop(self) -> None:
        """End the server with its kernels."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()

    def _write_settings(self, settings: dict[str, Any]) -> None:
        for name, values in settings.items():
            path = self._settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def _wait(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{self.base}/api?token=lab", timeout=2).read()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("JupyterLab did not start; see its log beside its folder")


class Notebook:
    """One notebook in one page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        # Where its server was slow to say so, Notebook 7 asks which kernel is meant, and its user presses Select.
        choice = page.locator(".jp-Dialog").filter(has_text="Select Kernel")
        page.add_locator_handler(choice, lambda: choice.locator(".jp-mod-accept").click())
        page.goto(url)
        page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=30_000)
        self.wait_idle()

    def wait_idle(self, seconds: float = 90) -> None:
        """Wait until the status bar, or Notebook 7's mark of the kernel, says that the kernel is idle."""
        seven = "/notebooks/" in self.page.url
        idle = self.page.locator(SEVENS_IDLE) if seven else self.page.get_by_text("| Idle")
        idle.first.wait_for(timeout=seconds * 1000)

    def cell(self, number: int) -> Locator:
        """Return a cell by its place, from 0 on."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def start(self, number: int) -> None:
        """Run a cell by keyboard; do not wait for its end."""
        try:
            self.cell(number).locator(".jp-InputArea-editor").click()
        except PlaywrightError as error:
            error.add_note(f"dialogs: {self.page.locator('.jp-Dialog').all_inner_texts()}")
            raise
        self.page.keyboard.press("Control+Enter")

    def run(self, number: int, seconds: float = 60) -> Locator:
        """Run a cell by keyboard and wait until it has ended; return its output area."""
        self.start(number)
        prompt = self.cell(number).locator(".jp-InputPrompt")
        end = time.monotonic() + LOST
        while not prompt.inner_text().strip("[]: \xa0"):
            if time.monotonic() > end:  # the server lost the first connection to the kernel, and the cell with it
                self.start(number)
                end = time.monotonic() + LOST
            self.page.wait_for_timeout(20)
        self.ended(number, seconds)
        return self.cell(number).locator(".jp-OutputArea")

    def ended(self, number: int, seconds: float = 60) -> None:
        """Wait until a cell's prompt shows its number."""
        prompt = self.cell(number).locator(".jp-InputPrompt")
        end = time.monotonic() + seconds
        while not any(char.isdigit() for char in prompt.inner_text()):
            if time.monotonic() > end:
                raise TimeoutError(f"cell {number} did not end")
            self.page.wait_for_timeout(20)

    def run_all(self, seconds: float = 120) -> None:
        """Run every cell, by the menu."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        codes = self.page.locator(".jp-Notebook .jp-CodeCell")
        last = codes.nth(codes.count() - 1).locator(".jp-InputPrompt")
        end = time.monotonic() + seconds
        while not any(char.isdigit() for char in last.inner_text()):
            if time.monotonic() > end:
                raise TimeoutError("the notebook did not run through")
            self.page.wait_for_timeout(50)
        self.wait_idle()

    def outputs(self, number: int) -> Locator:
        """Return a cell's outputs."""
        return self.cell(number).locator(".jp-OutputArea-output")
