"""What tests may say of time, on a machine of any speed that may have other work to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import inf
from time import process_time

EXACT = os.environ.get("CHATGLM_EXACT_LIMITS") == "1"
"""Whether limits hold to the letter: so in ``.ci/soak``, which has the machine to itself."""

GRACE = 8.0
"""Seconds that a machine with other work may take beyond a limit.

Whatever does not keep its limit must take longer than that: a server that never answers holds for 30 s.
"""

QUICK = 0.2
"""Seconds of processor time below which work is quick enough, however it grows."""

PARTS = 16


def bound(most: float) -> float:
    """Return how many seconds something may take whose limit is ``most``."""
    return most if EXACT else most + GRACE


def assert_within(seconds: float, most: float, of: object = "") -> None:
    """Assert that something kept its limit of ``most`` seconds: with a grace each day, to the letter in a soak."""
    assert seconds <= bound(most), f"{of or 'it'}: {seconds:.3f} s, where the limit is {most:g} s"


def is_linear(work: Callable[[str], object], text: str) -> bool:
    """Tell whether the time that ``work`` takes grows with the text, and not with its square, or is short anyway.

    This is row S33. A sixteenth of the text must take at least a forty-eighth of the time; of quadratic work it
    would take a two hundred and fifty-sixth. Processor time is compared, and of several measurements the
    shortest, since other work on the machine only ever adds to it.
    """
    part = text[: len(text) // PARTS]
    work(part)  # what is done once, such as an import, is no part of it
    whole_seconds = part_seconds = inf
    for _ in range(5):
        whole_seconds = min(whole_seconds, measure(work, text))
        part_seconds = min(part_seconds, measure(work, part))
        if whole_seconds < QUICK or whole_seconds < 3 * PARTS * part_seconds:
            return True
    return False


def measure(work: Callable[[str], object], text: str) -> float:
    """Return the seconds of processor time that ``work`` takes once."""
    began = process_time()
    work(text)
    return process_time() - began
