"""The table of rows and the tests that show them are compared, both ways."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from .table import list_names

HERE = Path(__file__).parent


def shown() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield each test of this folder with its file's name."""
    for path in sorted(HERE.glob("test_*.py")):
        if path.name != Path(__file__).name:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                    assert isinstance(node, ast.FunctionDef), f"{path.name}: {node.name} would not be run"
                    yield path.name, node


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    """Neither a row without a test nor a test whose name is no row."""
    assert {node.name.partition("__")[0].removesuffix("_") for _, node in shown()} == list_names()


def test_names_say_what_and_are_used_once() -> None:
    """No test hides another of the same name in its file, and each docstring is a sentence."""
    seen = [(name, node.name) for name, node in shown()]
    assert len(seen) == len(set(seen))
    assert all((ast.get_docstring(node) or "").endswith(".") for _, node in shown())


def test_no_file_is_long() -> None:
    """A file is one subject."""
    sizes = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in HERE.glob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 220} == {}
