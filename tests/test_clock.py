"""The measure of row S33 can tell, and a test that ends late is run again where another failure is not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .support.clock import is_linear

TRIED = """
from pathlib import Path
from tests.support.clock import assert_within as in_time

def test_it():
    times = Path({times!r})
    times.open("a").write("x")
    {claim}
"""


def test_quadratic_work_is_told_from_linear() -> None:
    """A pattern that looks at each end again from each beginning fails; one that looks once passes."""
    text = "a" * 2**15
    assert is_linear(lambda part: re.sub("b", "", part), text)
    assert not is_linear(lambda part: re.sub("[ab]*c", "", part), text)


@pytest.mark.parametrize(
    ("claim", "runs", "end"),
    [
        ("in_time(1, 2)", 1, "1 passed"),
        ("in_time(1.5 / len(times.read_text()), 1)", 2, "1 passed, 1 rerun"),
        ("in_time(3, 2)", 3, "1 failed, 2 rerun"),
        ("in_time(float('nan'), 2)", 3, "1 failed, 2 rerun"),
        ("assert len(times.read_text()) == 2, 'Late: no'", 1, "1 failed"),
    ],
)
def test_what_is_late_is_tried_three_times_and_nothing_else_is(
    tmp_path: Path, claim: str, runs: int, end: str
) -> None:
    """A moment's halt of the machine is got over; what is late each time, and what is wrong, fails."""
    times, file = tmp_path / "times", tmp_path / "test_it.py"
    file.write_text(TRIED.format(times=str(times), claim=claim))
    settings = Path(__file__).parent.parent / "pyproject.toml"
    plugins = ["-p", "pytest_rerunfailures", "-p", "pytest_timeout"]
    command = [sys.executable, "-m", "pytest", *plugins, "-c", settings, "--rootdir", tmp_path, file]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # the others take seconds to load
    ran = subprocess.run(command, capture_output=True, text=True, cwd=settings.parent, env=alone)
    assert f"{end} in" in ran.stdout, ran.stdout
    assert times.read_text() == "x" * runs
