"""``python -m tests``: all checks but those that need a browser; the last line is pytest's."""

from __future__ import annotations

import os
import subprocess
import sys

CHECKS = (
    ("lint", ("ruff", "check", "chatglm_magic", "tests", "training", "benchmarks", "notebooks")),
    (
        "format",
        ("ruff", "format", "--check", "-q", "chatglm_magic", "tests", "training", "benchmarks", "notebooks"),
    ),
    ("types", ("mypy",)),
    ("public types", ("mypy", "tests/typing")),
    ("notebooks", ("pytest", "-q", "--nbval", "notebooks")),
    ("tests", ("pytest", "-q", "-n", "2", "--dist", "loadfile", "-m", "not browser", "tests")),
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
