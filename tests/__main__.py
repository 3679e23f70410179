"""``python -m tests``: all checks but those that need a browser; the last line is pytest's."""

from __future__ import annotations

import os
import subprocess
import sys
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
BESIDE = (
    (Check("types", "mypy", ()), Check("public types", "mypy", ("tests/typing",))),
    (Check("notebooks", "pytest", ("-q", "--nbval", "notebooks")),),
)
"""Two lanes: what is in one runs in turn, the lanes run at once."""

UNUSED = ("-p", "no:nbval", "-p", "no:langsmith_plugin")
"""Plugins that take seconds to import, and have nothing to do here."""
WORKERS = ("-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder")
TESTS = Check("tests", "pytest", ("-q", "-m", "not browser", *UNUSED, *WORKERS, "tests"))


def run_lanes(lanes: tuple[tuple[Check, ...], ...]) -> list[str]:
    """Run several lanes of checks at once; show what each check said; return the names of those that failed."""
    failed = []
    todo = [list(lane) for lane in lanes]
    running = [(checks.pop(0), checks) for checks in todo]
    processes = [(check, check.start(), rest) for check, rest in running]
    while processes:
        check, process, rest = processes.pop(0)
        output, _ = process.communicate()
        print(f"--- {check.name}\n{output}", end="", flush=True)
        if process.returncode:
            failed.append(check.name)
        if rest:
            following = rest.pop(0)
            processes.append((following, following.start(), rest))
    return failed


def main() -> int:
    """Run every check, also after one has failed; return 1 if any did."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the kernels that are started would compile all of it again
    failed = [check.name for check in LINT if not check.run()]
    failed += run_lanes(BESIDE)
    failed += [] if TESTS.run() else [TESTS.name]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
