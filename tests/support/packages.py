"""Packages of other versions than the installed ones, each in a folder of its own for ``PYTHONPATH``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

KERNELS = {"6.30": "ipykernel==6.30.*", "7.4": "ipykernel==7.4.*", "installed": ""}
"""The oldest release of each major version that the extras allow, and the one installed.

ipykernel 6.30 runs everything in the main thread. 7.4 reads requests in another thread, and has subshells. 7.0 to
7.3 are excluded because they lose requests, as ``tests/kernel/lost_requests.py`` shows.
"""

_folders: list[str] = []


@lru_cache
def _install(requirement: str) -> tuple[Path, str]:
    folder = tempfile.mkdtemp(prefix="chatglm-tests-older-")
    _folders.append(folder)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target", folder]
    done = subprocess.run([*command, *requirement.split()], capture_output=True, text=True, timeout=100)
    trouble = done.stderr.strip().splitlines()[-1] if done.returncode else ""
    return Path(folder), trouble


def install(requirement: str) -> Path:
    """Return a folder with these packages, installed once for all tests; skip where no package index has them."""
    folder, trouble = _install(requirement)
    if trouble and os.environ.get("CI") == "true":
        pytest.fail(f"{requirement} can't be installed: {trouble}")
    if trouble:
        pytest.skip(f"{requirement} can't be had from a package index: {trouble}")
    return folder


def python_path(*folders: Path) -> str:
    """Return a ``PYTHONPATH`` with these folders first, and the tests' own modules in it."""
    root = Path(__file__).parents[2]
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([*map(str, folders), *filter(None, inherited), str(root)])


def remove_all() -> None:
    """Remove all folders again."""
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
