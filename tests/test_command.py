"""README's test command runs the tests as CONTRIBUTING.md says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .__main__ import WORKERS

WRITES_ITS_PROCESS = """
import os, pathlib, pytest
@pytest.mark.parametrize("number", range(8))
def test_it(number):
    with pathlib.Path(__file__).with_suffix(".txt").open("a") as seen:
        print(os.getpid(), file=seen)
"""


def test_the_tests_of_a_file_stay_in_one_process(tmp_path: Path) -> None:
    """What a file's tests share is made once; the files are shared out among several processes."""
    for number in range(6):
        (tmp_path / f"test_{number}.py").write_text(WRITES_ITS_PROCESS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", *WORKERS, str(tmp_path)]
    env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert "48 passed" in done.stdout, done.stdout + done.stderr
    files = [set(path.read_text().split()) for path in tmp_path.glob("*.txt")]
    assert len(files) == 6 and all(len(processes) == 1 for processes in files)
    assert len(set.union(*files)) > 1
