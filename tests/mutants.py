"""``python -m tests.mutants [NAME…]``: break one line of the package at a time; the tests named for it must fail.

The list is ``tests/mutants.toml``. Every run is in a copy of the tree in a temporary folder, two at once. A name
may be the beginning of several, such as ``store-``.
"""

from __future__ import annotations

import ast
import atexit
import importlib
import multiprocessing.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "mutants.toml"
NEEDED_PERCENT = 95.0
WORKERS = 2
TIMEOUT_SECONDS = 300
UNUSED = ("cacheprovider", "nbval", "langsmith_plugin", "anyio", "pytest_cov")
"""Plugins that no test here needs; some take seconds to import."""
PYTEST = ("-q", "-x", "-m", "not browser", *(part for name in UNUSED for part in ("-p", f"no:{name}")))
LIBRARIES = (
    *("pytest", "hypothesis", "xdist", "pytest_timeout", "requests", "aiohttp", "langchain_core.language_models"),
    *("IPython", "ipywidgets", "jupyter_client", "ipykernel", "pydantic", "markdown_it", "nh3", "pygments.lexers"),
    *(
        "yaml",
        "psutil",
        "pandas",
        "trustme",
        "nbformat",
        "aiohttp.test_utils",
        "langchain_core.runnables.configurable",
    ),
)


@dataclass(frozen=True)
class Mutant:
    """One breakage: ``old``, which stands once in ``file``, becomes ``new``, and one of ``tests`` must fail.

    ``equivalent`` is the reason why no test can notice, for a breakage that changes nothing one could see.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    equivalent: str = ""

    def broken(self, root: Path) -> str:
        """Return the file's text with the breakage.

        :raises ValueError: if it can't be applied to the tree any more.
        """
        path = root / self.file
        if not path.is_file():
            raise ValueError(f"there is no {self.file}")
        text = path.read_text(encoding="utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"the old text stands {count} times in {self.file}")
        changed = text.replace(self.old, self.new)
        if changed == text:
            raise ValueError("it changes nothing")
        try:
            ast.parse(changed)
        except SyntaxError as error:
            raise ValueError(f"the new text is not valid Python: {error}") from None
        return changed


def load_mutants(path: Path = LIST) -> list[Mutant]:
    """Return the list."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry.get("tests", ()))}) for entry in entries]


def find_missing_tests(tests: Iterable[str], root: Path = ROOT) -> list[str]:
    """Return those of some test ids whose file, folder or function does not exist."""
    return [test for test in tests if not _exists(*test.partition("::")[::2], root)]


def _exists(path: str, name: str, root: Path) -> bool:
    if not name:
        return (root / path).exists()
    return (root / path).is_file() and name.partition("[")[0] in _read_function_names(root / path)


@cache
def _read_function_names(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def copy_tree(target: Path) -> None:
    """Copy the files that git knows, or would take, as they are now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def import_libraries() -> None:
    """Import what tests and package need of others, once: every run is a fork of this process."""
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)


def run_tests(root: Path, tests: Sequence[str], seconds: float = TIMEOUT_SECONDS) -> tuple[int, str]:
    """Run tests in a copy of the tree; return pytest's exit code, or -1 if it did not end, and its last line."""
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            _be_pytest(root, tests, output.fileno())
        end = time.monotonic() + seconds
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < end:
            time.sleep(0.02)
        with suppress(ProcessLookupError):  # what the tests have started is of the same session
            os.killpg(child, signal.SIGKILL)
        if ended == (0, 0):
            os.waitpid(child, 0)
            return -1, "timed out"
        output.seek(0)
        text = output.read().splitlines()
    lines = [line for line in text if line.startswith(("FAILED ", "ERROR tests/"))] or text
    return os.waitstatus_to_exitcode(ended[1]), lines[-1] if lines else ""


def _be_pytest(root: Path, tests: Sequence[str], output: int) -> NoReturn:
    """Turn a forked child into pytest's process, as if it had been started in that folder."""
    os.setsid()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(root)
    sys.path[:] = [str(root), *(place for place in sys.path if place not in ("", str(ROOT)))]
    os.environ["PYTHONPATH"] = str(root)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "chatglm_magic")]:
        del sys.modules[name]
    code = 3
    try:
        import pytest

        code = int(pytest.main([*PYTEST, *tests]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def try_mutant(mutant: Mutant, root: Path) -> tuple[str, str]:
    """Break a copy of the tree, run the tests, mend it; return ``noticed``, ``NOT noticed`` … and the detail."""
    if mutant.equivalent:
        return "equivalent", mutant.equivalent
    try:
        changed = mutant.broken(root)
    except ValueError as error:
        return "can't apply", str(error)
    path = root / mutant.file
    text = path.read_text(encoding="utf-8")
    try:
        _replace_source(path, changed)
        code, line = run_tests(root, mutant.tests)
    finally:
        _replace_source(path, text)
    if code == 0:
        return "NOT noticed", line
    # 1: a test failed; 2: a test file could not even be imported; -1: the broken code hangs.
    return ("noticed", line) if code in (1, 2, -1) else ("can't run", line)


def _replace_source(path: Path, text: str) -> None:
    """Write a source file; its bytecode goes too, which Python tells from a new one by size and second alone."""
    path.write_text(text, encoding="utf-8")
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def try_apart(mutants: Sequence[Mutant]) -> Iterator[tuple[str, str, float]]:
    """Try mutants in ``WORKERS`` processes, each with a copy of its own; yield outcome, detail and seconds."""
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("fork"), initializer=_begin_worker) as pool:
        yield from pool.map(_try_here, mutants)


_here: list[Path] = []
"""The worker's own copy of the tree."""


def _begin_worker() -> None:
    folder = tempfile.TemporaryDirectory(prefix="chatglm-mutants-")
    atexit.register(folder.cleanup)
    multiprocessing.util.Finalize(None, folder.cleanup, exitpriority=0)
    _here.append(Path(folder.name))
    copy_tree(_here[0])


def _try_here(mutant: Mutant) -> tuple[str, str, float]:
    began = time.monotonic()
    return *try_mutant(mutant, _here[0]), time.monotonic() - began


def check_unbroken(tests: Sequence[str]) -> str:
    """Run all named tests on the tree as it is; return what is wrong, or an empty text."""
    with tempfile.TemporaryDirectory(prefix="chatglm-mutants-") as folder:
        copy_tree(Path(folder))
        code, line = run_tests(Path(folder), ["-n", str(WORKERS), "--dist", "loadfile", *tests], 1800)
    return line if code else ""


def main(names: Sequence[str]) -> int:
    """Try the mutants of these names, or all; return 1 if fewer than 95 % are noticed or the list is stale."""
    mutants = [m for m in load_mutants() if not names or any(m.name.startswith(name) for name in names)]
    if not mutants:
        print("There is no such mutant.")
        return 1
    import_libraries()
    began = time.monotonic()
    if problem := check_unbroken(sorted({test for mutant in mutants for test in mutant.tests})):
        print(f"The tests fail without any breakage: {problem}")
        return 1
    print(f"{len(mutants)} mutants; their tests pass without one ({time.monotonic() - began:.0f} s)", flush=True)
    counts: Counter[str] = Counter()
    for mutant, (outcome, detail, seconds) in zip(mutants, try_apart(mutants), strict=True):
        counts[outcome] += 1
        more = "" if outcome == "noticed" else f": {detail}"
        print(f"{outcome:<12} {mutant.name} ({seconds:.0f} s){more}", flush=True)
    tried = len(mutants) - counts["equivalent"]
    percent = 100 * counts["noticed"] / max(tried, 1)
    listed = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    print(f"{percent:.1f} % of {tried} noticed ({listed}) in {time.monotonic() - began:.0f} s")
    return int(percent < NEEDED_PERCENT or counts["can't apply"] + counts["can't run"] > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
