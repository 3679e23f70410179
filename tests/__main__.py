"""``python -m tests``: all checks but those that need a browser; the last line is pytest's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = [
    *("tests/faults", "tests/surface", "tests/store", "tests/sweeps", "tests/lenses", "tests/tape"),
    *sorted(
        str(path.relative_to(ROOT))
        for name in (
            *("secrets", "client", "original", "wire", "render", "recordings", "llm", "magics", "session"),
            *("record", "history", "panel", "viewer", "explorer", "diff", "rewordings"),
        )
        for path in (ROOT / "tests").glob(f"test_{name}*.py")
    ),
]
"""Tests that mostly wait, or need no more than a core: two at once. The others measure kernels and servers."""

CHECKS = (
    ("lint", ("ruff", "check", "chatglm_magic", "tests", "training", "benchmarks", "notebooks")),
    (
        "format",
        ("ruff", "format", "--check", "-q", "chatglm_magic", "tests", "training", "benchmarks", "notebooks"),
    ),
    ("types", ("mypy",)),
    ("public types", ("mypy", "tests/typing")),
    ("notebooks", ("pytest", "-q", "--nbval", "notebooks")),
    ("tests that share the machine", ("pytest", "-q", "-n", "2", "--dist", "loadfile", *SHARED)),
    ("tests alone", ("pytest", "-q", "-m", "not browser", "tests", *(f"--ignore={path}" for path in SHARED))),
)


def main() -> int:
    """Run every check, also after one has failed; return 1 if any did."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the kernels that are started would compile all of it anew
    failed = []
    for name, (tool, *arguments) in CHECKS:
        print(f"--- {name}", flush=True)
        if subprocess.run([sys.executable, "-m", tool, *arguments]).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
