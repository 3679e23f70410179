"""The table of acceptance rows and the tests that carry them are compared, both ways."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
Test = ast.FunctionDef | ast.AsyncFunctionDef


def walk_tests() -> Iterator[tuple[Path, Test]]:
    """Yield every test function of the suite with its file."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, Test) and node.name.startswith("test_"):
                yield path, node


def read_rows(test: Test) -> Iterator[str]:
    """Yield the codes that a test carries as ``@pytest.mark.row("D8")``."""
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.row":
            yield from (ast.literal_eval(code) for code in decorator.args)


def test_each_row_has_a_test_and_each_marker_a_row() -> None:
    """``rows.toml`` and the markers name the same rows: none forgotten, none misspelt."""
    table = tomllib.loads((TESTS / "rows.toml").read_text(encoding="utf-8"))
    rows = [code for area in table.values() for code in area]
    assert len(rows) == len(set(rows))
    assert {code for _, test in walk_tests() for code in read_rows(test)} == set(rows)


def test_each_test_states_its_claim() -> None:
    """A test's docstring is one claim about behaviour."""
    silent = [f"{path.name}: {test.name}" for path, test in walk_tests() if not ast.get_docstring(test)]
    assert silent == []


def test_no_test_hides_another() -> None:
    """Two tests of one name in one file would be one test."""
    names = [(path, test.name) for path, test in walk_tests()]
    assert len(names) == len(set(names))
