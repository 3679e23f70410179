"""A pytest plugin that prints each collected test with its row: ``ROW NODEID``, or ``- NODEID`` without one."""

from __future__ import annotations

import pytest


def pytest_collection_finish(session: pytest.Session) -> None:
    """Print a line for each test."""
    for item in session.items:
        codes = [code for marker in item.iter_markers("row") for code in marker.args] or ["-"]
        print(*(f"\n{code} {item.nodeid}" for code in codes))
