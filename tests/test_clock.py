"""Limits of time have a grace each day and none in a soak; the measure of row S33 can tell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .support import clock
from .support.clock import assert_within, is_linear


def test_quadratic_work_is_told_from_linear() -> None:
    """A pattern that looks at each end again from each beginning fails; one that looks once passes."""
    text = "a" * 2**14
    assert is_linear(lambda part: re.sub("b", "", part), text)
    assert not is_linear(lambda part: re.sub("[ab]*c", "", part), text)


def test_what_is_done_once_does_not_hide_quadratic_work() -> None:
    """Work that loads something at its first call is measured without that."""
    loaded: list[int] = []

    def work(part: str) -> None:
        if not loaded:
            loaded.append(sum(number * number for number in range(2_000_000)))
        re.sub("[ab]*c", "", part)

    assert not is_linear(work, "a" * 2**14)


HOLD = 30.0
"""Seconds that a scripted server says nothing when it is to say nothing."""


@pytest.mark.parametrize(
    ("exact", "seconds", "passes"),
    [
        ("1", 0.5, True),
        ("1", 0.6, False),
        ("", 0.5 + clock.GRACE, True),
        ("", HOLD - 5, False),
        ("", float("nan"), False),
    ],
)
def test_a_limit_is_exact_in_a_soak_and_has_a_grace_elsewhere(exact: str, seconds: float, passes: bool) -> None:
    """What does not end at its limit of half a second, but with a server that hangs, fails in both."""
    code = f"from tests.support.clock import assert_within; assert_within(float('{seconds}'), 0.5)"
    environment = os.environ | {"CHATGLM_EXACT_LIMITS": exact}
    root = Path(__file__).parent.parent
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert (ran.returncode == 0) == passes, ran.stderr
    assert passes or "AssertionError: it: " in ran.stderr


def test_a_late_end_is_an_ordinary_failure() -> None:
    """Nothing is tried again: no plugin for that is asked for."""
    with pytest.raises(AssertionError, match="the limit is 1 s"):
        assert_within(100, 1)
    settings = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert "rerun" not in settings
