"""``python -m tests``: all checks but those that need a browser; the last line is pytest's."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

CODE = ("chatglm_magic", "tests", "training", "benchmarks", "notebooks")


@dataclass(frozen=True)
class Check:
    """One tool with its arguments; ``name`` is printed above what it says."""

    name: str
    tool: str
    arguments: tuple[str, ...]

    def start(self) -> subprocess.Popen[str]:
        """Begin, and keep what it says."""
        command = [sys.executable, "-m", self.tool, *self.arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self) -> bool:
        """Run to the end, and show what it says as it comes; return whether all was well."""
        print(f"--- {self.name}", flush=True)
        return subprocess.run([sys.executable, "-m", self.tool, *self.arguments]).returncode == 0


LINT = (
    Check("lint", "ruff", ("check", "-q", *CODE)),
    Check("format", "ruff", ("format", "--check", "-q", *CODE)),
)
NO_ASYNCIO = ("-p", "no:asyncio")
BESIDE = (
    (Check("types", "mypy", ()), Check("public types", "mypy", ("tests/typing",))),
    (Check("notebooks", "pytest", ("-q", *NO_ASYNCIO, "--nbval", "notebooks")),),
)
"""Lanes that run beside the tests, which begin with much waiting; what is in one lane runs in turn."""

UNUSED = ("-p", "no:nbval", "-p", "no:langsmith_plugin")
"""Plugins that take seconds to import, and have nothing to do here."""
WORKERS = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
"""One process more than there are cores: many tests wait for what they have started.

The tests of a file share its kernels and servers, and stay in one process. With ``loadgroup`` they would not:
pytest-xdist 3.8 notes groups in a field of a test that pytest 9.2 no longer reads.
"""
SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function")
"""What pytest-asyncio wants to be told; in pyproject.toml it is an error wherever that plugin isn't loaded."""
TESTS = Check("tests", "pytest", ("-q", "-m", "not browser", *SCOPE, *UNUSED, *WORKERS, "tests"))


def run_lane(checks: tuple[Check, ...]) -> list[str]:
    """Run checks one after another; show what each says at its end; return the names of those that failed."""
    failed = []
    for check in checks:
        process = check.start()
        output, _ = process.communicate()
        print(f"\n--- {check.name}\n{output}", end="", flush=True)
        failed += [check.name] if process.returncode else []
    return failed


def main() -> int:
    """Run every check, also after one has failed; return 1 if any did."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the kernels that are started would compile all of it again
    failed = [check.name for check in LINT if not check.run()]
    with ThreadPoolExecutor(len(BESIDE)) as pool:
        lanes = [pool.submit(run_lane, lane) for lane in BESIDE]
        failed += [] if TESTS.run() else [TESTS.name]
        failed += [name for lane in lanes for name in lane.result()]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
