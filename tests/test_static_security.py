"""What stands nowhere in the tree: code that runs data, loaders of foreign objects, SQL that is put together."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import chatglm_magic

ROOT = Path(__file__).parent.parent
PACKAGE = Path(chatglm_magic.__file__).parent
TREES = (PACKAGE, *(ROOT / name for name in ("benchmarks", "notebooks", "training", "binder", ".ci")))
FILES = sorted(path for tree in TREES for path in tree.rglob("*.py"))
SOURCES = {str(path): path.read_text(encoding="utf-8") for path in FILES}


def everywhere(check: Callable[[str], list[str]]) -> dict[str, list[str]]:
    """Return what a check finds, by file."""
    assert len(SOURCES) > 50
    return {name: found for name, source in SOURCES.items() if (found := check(source))}


RUNNERS = {"eval", "exec", "compile", "__import__", "execfile"}
UNPICKLERS = {"pickle", "cPickle", "_pickle", "marshal", "dill", "cloudpickle", "shelve", "joblib", "jsonpickle"}
CALLS = {
    *("os.system", "os.popen", "os.execv", "os.spawnl", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.unsafe_load_all"),
    *("torch.load", "numpy.load", "np.load", "pandas.read_pickle", "pd.read_pickle", "pd.eval", "builtins.eval"),
    *("builtins.exec", "code.interact", "runpy.run_path", "runpy.run_module", "importlib.reload"),
}


@cache
def parsed(source: str) -> ast.Module:
    """Return a source text's tree; several checks look at each."""
    return ast.parse(source)


def dotted(node: ast.expr) -> str:
    """Return a name as it is written, such as ``yaml.load``; nothing for what is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def imported(node: ast.AST) -> Iterator[str]:
    """Yield what an import brings in, dotted; a relative one without its dots."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def code_runners(source: str) -> list[str]:
    """Return each place that could run data as code, or make objects of it."""
    found = []
    for node in ast.walk(parsed(source)):
        names = list(imported(node))
        found += [name for name in names if name.split(".")[0] in UNPICKLERS or name in CALLS]
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        found += [name] if name in CALLS or name in RUNNERS else []
        found += [f"{name}({word.arg}=…)" for word in node.keywords if word.arg == "shell" and not is_false(word)]
    return found


def is_false(word: ast.keyword) -> bool:
    return isinstance(word.value, ast.Constant) and word.value.value is False


RUNS_CODE = [
    *("import pickle", "from pickle import loads", "import marshal as m", "import dill", "import shelve"),
    *("eval(text)", "exec(text, {})", "compile(text, '', 'exec')", "__import__(name)", "import os\nos.system(x)"),
    *(
        "import yaml\nyaml.load(f)",
        "from yaml import load",
        "yaml.load(f, Loader=yaml.SafeLoader)",
        "torch.load(f)",
    ),
    *(
        "subprocess.run(x, shell=True)",
        "subprocess.Popen(x, shell=flag)",
        "from os import system",
        "os.popen('a')",
    ),
]


@pytest.mark.row("S29")
@pytest.mark.parametrize("source", RUNS_CODE)
def test_the_check_sees_code_that_is_run(source: str) -> None:
    """The control: each of these is found, and their harmless neighbours are not."""
    assert code_runners(source)
    for harmless in (
        "re.compile(x)",
        "model.eval()",
        "yaml.safe_load(f)",
        "run(x, shell=False)",
        "# pickle\n'eval(x)'",
    ):
        assert code_runners(harmless) == []


@pytest.mark.row("S29")
def test_nothing_runs_data_as_code() -> None:
    """No pickle, marshal or dill, no eval or exec, no yaml.load, no shell: in the package and all around it."""
    assert everywhere(code_runners) == {}


LOADERS = re.compile(r"(langchain_core|langchain|langchain_classic)\.(load|prompts\.loading|llms\.loading)\b")


def langchain_loaders(source: str) -> list[str]:
    """Return each use of LangChain's loaders, and of the event streams that carry serialized objects."""
    found = []
    for node in ast.walk(parsed(source)):
        found += [name for name in imported(node) if LOADERS.match(name) or name.endswith(".load_prompt")]
        if not isinstance(node, ast.Call):
            continue
        last = dotted(node.func).rpartition(".")[2] or getattr(node.func, "attr", "")
        found += [last] if last in ("load_prompt", "astream_log") else []
        version = next((word.value for word in node.keywords if word.arg == "version"), None)
        if last == "astream_events" and not (isinstance(version, ast.Constant) and version.value == "v2"):
            found.append("astream_events without v2")
    return found


LOADS = [
    *("from langchain_core.load import loads", "import langchain_core.load", "from langchain_core import load"),
    *("from langchain_core.load.load import load", "from langchain_core.prompts import load_prompt"),
    *(
        "llm.astream_log(x)",
        "llm.astream_events(x, version='v1')",
        "llm.astream_events(x)",
        "prompts.load_prompt(p)",
    ),
    *("chain().astream_log(x)", "from langchain_core.prompts.loading import load_prompt_from_config"),
]


@pytest.mark.row("S30")
@pytest.mark.parametrize("source", LOADS)
def test_the_check_sees_loaders_of_langchain(source: str) -> None:
    """The control: each of these is found."""
    assert langchain_loaders(source) and not langchain_loaders("import json\njson.load(f)\nllm.invoke(x)")


@pytest.mark.row("S30")
def test_langchains_loaders_are_not_used() -> None:
    """Neither load and loads, nor load_prompt, astream_log and the first astream_events."""
    assert everywhere(langchain_loaders) == {}


@pytest.mark.row("S30")
def test_the_floor_of_langchain_core_is_above_its_advisory() -> None:
    """CVE-2025-68664 is mended in 0.3.81 and 1.2.5."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floor = next(
        re.search(r">=([\d.]+)", line) for line in project["dependencies"] if line.startswith("langchain-core")
    )
    assert floor is not None and tuple(map(int, floor[1].split("."))) >= (1, 2, 5)


EXECUTORS = ("execute", "executemany", "executescript")


def constants(source: str) -> set[str]:
    """Return the names that the first level of a source text sets to a constant text, and nothing sets again."""
    tree = parsed(source)
    stored = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    known: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _is_text(node.value, known):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            known |= {name for name in names if stored.count(name) == 1}
    return known


def _is_text(node: ast.expr, known: set[str]) -> bool:
    """Tell whether an expression is made of constant texts alone."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.Name):
        return node.id in known
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _is_text(node.left, known) and _is_text(node.right, known)
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
        return all(_is_text(part, known) for part in parts)
    return False


def put_together(source: str) -> list[str]:
    """Return each SQL statement that is no constant: values go in as parameters, names stand in the text."""
    if not any(f".{name}" in source for name in EXECUTORS):
        return []
    known, found = constants(source), []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in EXECUTORS:
            statement = next(iter(node.args), None) or next((word.value for word in node.keywords), None)
            if statement is None or not _is_text(statement, known):
                found.append(ast.unparse(node)[:100])
    return found


PUT_TOGETHER = [
    "db.execute('SELECT * FROM t WHERE a = ' + a)",
    "db.execute(f'SELECT * FROM {table}')",
    "db.execute('SELECT %s' % a)",
    "db.execute('SELECT {}'.format(a))",
    "cursor.executemany(sql, rows)",
    "db.executescript(open(p).read())",
    "def f(sql):\n    db.execute(sql)",
    "SQL = 'SELECT 1'\nSQL += a\ndb.execute(SQL)",
    "SQL = 'SELECT ' + a\ndb.execute(SQL)",
    "def f(a):\n    SQL = 'SELECT ' + a\n    db.execute(SQL)",
    "db.execute(sql='SELECT ' + a)",
]
CONSTANT = [
    "db.execute('SELECT a FROM t WHERE b = ?', (b,))",
    "TABLE = 't'\nSQL = 'SELECT 1'\ndb.execute(SQL)\ndb.execute('a' 'b')\ndb.execute(SQL + ' LIMIT ?', (1,))",
    "TABLE = 't'\ndb.execute(f'SELECT a FROM {TABLE} WHERE b = ?', (b,))",
]


@pytest.mark.row("S31")
@pytest.mark.parametrize("source", PUT_TOGETHER)
def test_the_check_sees_statements_put_together(source: str) -> None:
    """The control: a statement made of variables is found, one of constants with parameters is not."""
    assert put_together(source)
    assert not [found for harmless in CONSTANT for found in put_together(harmless)]


@pytest.mark.row("S31")
def test_sql_is_constant_text_with_parameters() -> None:
    """No statement is put together of anything that comes from outside."""
    assert everywhere(put_together) == {}
