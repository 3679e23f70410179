"""What users read is plain English: no text of the package has a few turns of phrase that read as translated."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import chatglm_magic

PACKAGE = Path(chatglm_magic.__file__).parent
ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
ODD = re.compile(
    r"(?<![Tt]here )\bis no (?!longer)|from [01] on\b|\banew\b|by the address|half way|whoever|likeliest"
)


def texts(path: Path) -> Iterator[str]:
    """Yield the texts of a file that a user may see: string literals, but no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def test_no_message_help_or_label_reads_as_translated() -> None:
    """Errors, help, widget labels and notices."""
    found = {
        str(path.relative_to(PACKAGE)): odd
        for path in PACKAGE.rglob("*.py")
        if (odd := [text for text in texts(path) if ODD.search(text)])
    }
    assert found == {}


def test_no_document_reads_as_translated() -> None:
    """README, the pages of docs, the changelog."""
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert ODD.findall(text) == [], name
