"""The table of faults, and the tests there are for it, compared in both directions."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import product
from pathlib import Path

from .asking import DIALECTS, ROADS

BOTH_DIALECTS = (
    *(f"A{number}" for number in range(1, 29)),
    *(f"B{number}" for number in range(1, 18)),
    *(f"G{number}" for number in range(7, 10)),
    "1113",
)
STREAMS = tuple(f"C{number}" for number in range(1, 34))

TABLE = {*product(BOTH_DIALECTS, DIALECTS, ROADS), *product(STREAMS, ("openai",), ROADS)}
"""Row, dialect and road of everything that must be shown."""

ID = re.compile(r"^\S+::test_([A-Z]?\d+)_\w+\[([a-z]+)-([a-z]+)\]$")


def collected() -> list[str]:
    """Return the ids that pytest itself finds here, but for this file's own."""
    here = Path(__file__).parent
    options = [
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "pytest_timeout",
        "-p",
        "pytest_rerunfailures",
    ]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(here)],
        capture_output=True,
        text=True,
        cwd=here.parents[1],
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # other plugins take seconds to import
        timeout=25,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return [line for line in found.stdout.splitlines() if "::" in line and Path(__file__).name not in line]


def test_every_row_is_shown_in_each_dialect_and_on_each_road() -> None:
    """No row of the table is without its test, and no test without its row."""
    shown = {}
    for line in collected():
        match = ID.match(line)
        assert match, f"{line} carries no row, dialect and road"
        shown.setdefault(match.groups(), []).append(line)
    assert len(TABLE) == 4 * (28 + 17 + 3 + 1) + 2 * 33
    assert set(shown) - TABLE == set() and TABLE - set(shown) == set()
