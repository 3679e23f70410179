"""The table of faults, and the tests there are for it, compared in both directions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

from ..support.fault_requests import DIALECTS, ROADS

BOTH_DIALECTS = (
    *(f"A{number}" for number in range(1, 29)),
    *(f"B{number}" for number in range(1, 18)),
    *(f"G{number}" for number in range(7, 10)),
    "1113",
)
STREAMS = tuple(f"C{number}" for number in range(1, 34))

TABLE = {*product(BOTH_DIALECTS, DIALECTS, ROADS), *product(STREAMS, ("openai",), ROADS)}
"""Row, dialect and road of everything that must be shown."""

ID = re.compile(r"^(\w+) \S+::test_\w+\[([a-z]+)-([a-z]+)\]$")


def collect() -> list[str]:
    """Return what pytest itself finds here, a row and an id on each line, but for this file's own tests."""
    here = Path(__file__).parent
    plugins = ["-p", "no:cacheprovider", "-p", "pytest_timeout", "-p", "tests.support.row_lines"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-qq", *plugins, str(here)],
        capture_output=True,
        text=True,
        cwd=here.parents[1],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # other plugins take seconds to import
        timeout=25,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    return [line for line in lines if " tests/" in line and Path(__file__).name not in line]


def test_each_row_is_shown_in_each_dialect_sync_and_async() -> None:
    """No row of the table is without its test, and no test without its row."""
    shown = set()
    for line in collect():
        match = ID.match(line)
        assert match, f"{line} carries no row, dialect and road"
        shown.add(match.groups())
    assert len(TABLE) == 4 * (28 + 17 + 3 + 1) + 2 * 33
    assert shown == TABLE
