"""The table of faults and the tests that show its rows are compared, row by row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent

ROWS = {
    *(f"A{n}" for n in range(1, 29)),
    *(f"B{n}" for n in range(1, 18)),
    *(f"C{n}" for n in range(1, 34)),
    *(f"D{n}" for n in range(1, 24)),
    *(f"E{n}" for n in range(1, 11)),
    *(f"F{n}" for n in range(1, 13) if n != 9),
    *(f"G{n}" for n in range(1, 12)),
    *(f"S{n}" for n in range(1, 38) if n != 36),
}
"""Faults of the network, of kernels, of a child server and of what is stored, what people type, and security."""


def shown() -> set[str]:
    """Return the rows that test names carry."""
    found = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (row := re.match(r"test_([A-Z]\d+)_", node.name)):
                found.add(row[1])
    return found


def test_every_row_has_a_test_that_names_it_and_no_test_a_row_that_is_none() -> None:
    """Neither a forgotten row nor a misspelt one."""
    assert shown() == ROWS


def test_every_test_says_what_it_claims() -> None:
    """A test's docstring is one claim about behaviour."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"
