"""A kernel that lacks a package which is installed."""

from __future__ import annotations

from pathlib import Path

CODE = """
import sys

class Without:
    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] == {name!r} else self._finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def hide_package(folder: Path, name: str) -> Path:
    """Make a folder that hides a package from each Python that has it on its path; return the folder.

    No finder finds the package any more, as where it was never installed: a module in its place that can't be
    imported would be found all the same by ``importlib.util.find_spec``.
    """
    (folder / "sitecustomize.py").write_text(CODE.format(name=name), encoding="utf-8")
    return folder
