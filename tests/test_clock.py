"""The measure of row S33 can tell."""

from __future__ import annotations

import re

from .clock import linear


def test_quadratic_work_is_told_from_linear() -> None:
    """A pattern that looks at each end again from each beginning fails; one that looks once passes."""
    text = "a" * 2**15
    assert linear(lambda part: re.sub("b", "", part), text)
    assert not linear(lambda part: re.sub("[ab]*c", "", part), text)
