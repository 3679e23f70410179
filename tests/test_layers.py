"""Imports point one way."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import chatglm_magic

PACKAGE = Path(chatglm_magic.__file__).parent

GROUND = {"_version", "credentials", "errors", "forks", "listeners", "parameters", "strictjson", "values"}
"""Modules that import nothing of the package; every room but the server may import them."""

MAY_IMPORT: dict[str, set[str]] = {
    **{name: set() for name in GROUND},
    "wire": GROUND,
    "client": GROUND | {"wire"},
    "tape": GROUND | {"wire", "client", "safe_files"},
    "llm": GROUND | {"wire", "client", "tape"},
    "render": GROUND,
    "safe_files": GROUND | {"render"},
    "store": GROUND | {"render", "safe_files"},
    "session": GROUND | {"wire", "client", "llm", "store", "render"},
    "server": {"_version", "strictjson"},
    "local": {"errors", "server"},
    "sweeps": GROUND | {"wire", "client", "llm", "store", "session", "render", "safe_files"},
    "lenses": GROUND | {"session", "render"},
    "widgets": GROUND | {"store", "session", "render", "sweeps", "lenses"},
    "exploring": {"session", "render", "sweeps", "lenses", "widgets"},
    "magics": GROUND | {"store", "session", "render", "sweeps", "lenses", "widgets", "exploring", "local"},
    "__main__": {"errors", "values", "session", "llm", "render", "local"},
}
"""Who may import whom. ``magics`` may also stop the loop of ``client`` when the extension is unloaded."""

EXCEPTIONS = {("magics/extension.py", "client")}


PACKAGES = sorted(path.parent for path in PACKAGE.rglob("__init__.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Yield the rooms a file imports, at the top or inside functions."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = _rooms_of(node, depth)
        elif isinstance(node, ast.Import):
            names = [n.name.split(".")[1] for n in node.names if n.name.startswith("chatglm_magic.")]
        else:
            continue
        yield from names


def _rooms_of(node: ast.ImportFrom, depth: int) -> list[str]:
    module = node.module or ""
    if node.level == depth:  # from the package itself
        return [module.split(".")[0]] if module else [alias.name for alias in node.names]
    if node.level == 0 and module.startswith("chatglm_magic"):
        return [module.split(".")[1]] if "." in module else [alias.name for alias in node.names]
    return []


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    """No file reaches up, sideways or around."""
    own = room(path)
    for other in set(imported(path)) - {own}:
        allowed = other in MAY_IMPORT[own] or (str(path.relative_to(PACKAGE)), other) in EXCEPTIONS
        assert allowed, f"{path.relative_to(PACKAGE)} imports {other}"


def test_every_room_stands_in_the_table() -> None:
    """A new room must say whom it may import."""
    assert {room(path) for path in FILES} == set(MAY_IMPORT)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_no_name_hides_a_module(package: Path) -> None:
    """A function of a package that is called like one of its modules is replaced by it at the module's import."""
    modules = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/*.py")}
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    named = {alias.asname or alias.name for node in tree.body for alias in _imports(node)}
    assert (defined | named) & modules <= _modules_imported(tree)


def _imports(node: ast.stmt) -> list[ast.alias]:
    return node.names if isinstance(node, ast.ImportFrom) else []


def _modules_imported(tree: ast.Module) -> set[str]:
    """Return the names that stand for modules: ``from . import errors``."""
    froms = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module is None]
    return {alias.name for node in froms for alias in node.names}


def test_the_table_has_no_circle() -> None:
    """Data walks one way."""
    done: set[str] = set()
    while left := {name for name in MAY_IMPORT if name not in done}:
        ready = {name for name in left if MAY_IMPORT[name] <= done}
        assert ready, f"a circle among {sorted(left)}"
        done |= ready


@functools.cache
def read_code(path: Path) -> str:
    """Return the code of a file without its docstrings and comments."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
    return ast.unparse(tree)


def find_words(*words: str) -> set[str]:
    """Return the files of the package in whose code, not counting docstrings and comments, a word stands."""
    return {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(word in read_code(path) for word in words)
    }


@pytest.mark.row("X1")
def test_all_html_leaves_through_one_function() -> None:
    """Only ``render/outer.py`` makes an output with HTML or names MathJax's classes, and only ``widgets/look.py``
    a widget that shows HTML, which closes what it is given."""
    readers = {"wire/body.py", "wire/error_response.py"}  # which look at what a server sends
    assert find_words("text/html") - readers == {"render/outer.py"}
    assert find_words("mathjax", "tex2jax") == {"render/outer.py"}
    assert find_words("HTMLMath", "w.HTML(", "ipywidgets.HTML") == {"widgets/look.py"}


def imported_modules(path: Path) -> set[Path]:
    """Return the files of the package that a file imports, inside functions and for type checkers too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("chatglm_magic")):
            folder = path.parents[node.level - 1] if node.level else PACKAGE.parent
            base = folder.joinpath(*(node.module or "").split(".")) if node.module else folder
            for name in [base / alias.name for alias in node.names] + [base]:
                module = next((p for p in (name.with_suffix(".py"), name / "__init__.py") if p.is_file()), None)
                if module is not None:
                    found.add(module)
    return found - {path}


def test_no_two_modules_import_each_other() -> None:
    """Nor in a circle of several, nor for type checkers alone; a package stands for its names."""
    graph = {path: {p for p in imported_modules(path) if p.name != "__init__.py"} for path in FILES}
    while ready := {path for path, others in graph.items() if not others & graph.keys()}:
        graph = {path: others for path, others in graph.items() if path not in ready}
    assert not graph, f"circles among {sorted(str(path.relative_to(PACKAGE)) for path in graph)}"


def test_docstrings_refer_to_modules_that_exist() -> None:
    """``:mod:`.name``` is a module of the same package, ``..name`` one of the package above."""
    for path in FILES:
        for dots, name in re.findall(r":mod:`(\.+)([\w.]+)`", path.read_text(encoding="utf-8")):
            target = path.parents[len(dots) - 1].joinpath(*name.split("."))
            assert target.with_suffix(".py").is_file() or target.is_dir(), f"{path.name}: {dots}{name}"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.css")), ids=lambda path: path.name)
def test_a_style_sheet_is_for_its_own_widget_alone(path: Path) -> None:
    """All widgets of a page share its style sheets: each selector begins with the class of one of ours."""
    frames = r"@keyframes[^{]+\{(?:[^{}]|\{[^{}]*\})*\}"
    text = re.sub(rf"/\*.*?\*/|{frames}", "", path.read_text(encoding="utf-8"), flags=re.S)
    selectors = [found for found in re.findall(r"([^{}]+)\{", text) if not found.strip().startswith("@")]
    parts = [part.strip() for found in selectors for part in re.split(r",(?![^(]*\))", found)]
    assert len(parts) > 50
    own = (".chatglm-panel", ".chatglm-sidebar", ".chatglm-drawn .chatglm-sidebar", ".chatglm-transcript")
    assert [part for part in parts if not part.startswith(own)] == []
