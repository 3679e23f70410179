"""A small disk that a test can fill and protect."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mount_disk(path: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of a size such as ``256k``; the test is skipped where that is not allowed."""
    path.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True
    ).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", path], check=True)
