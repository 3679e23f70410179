"""axe-core, the judge of accessibility that browsers' own tools use, from npm: what it finds in a page."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

VERSION = "4.14.1"

NOT_OURS = ("region", "page-has-heading-one", "landmark-one-main", "bypass", "heading-order")
"""Rules about a whole page: it is JupyterLab's, and a widget is a part of it, after whatever other cells show."""


@functools.cache
def source() -> str:
    """Return axe-core's script; under ``CI=true`` it must be there, elsewhere a test is skipped without it."""
    npm = shutil.which("npm")
    with tempfile.TemporaryDirectory() as folder:
        packed = npm and subprocess.run(
            [npm, "pack", "--silent", f"axe-core@{VERSION}"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if not packed or packed.returncode:
            message = "needs npm and its package axe-core"
            pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
        with tarfile.open(Path(folder, packed.stdout.split()[-1])) as archive:
            script = archive.extractfile("package/axe.min.js")
            assert script is not None
            return script.read().decode()


def violations(page: Page, selector: str) -> list[str]:
    """Return what axe finds wrong below a selector: the rule, and the element's beginning."""
    page.evaluate(source())
    found: dict[str, Any] = page.evaluate(
        "([selector, off]) => axe.run(selector, {rules: Object.fromEntries(off.map(r => [r, {enabled: false}]))})",
        [selector, list(NOT_OURS)],
    )
    return [
        f"{rule['id']}: {node['html'][:160]} ({node['failureSummary'][:300]})"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
