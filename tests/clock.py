"""Whether work grows as its input does: the claim of row S33, on a machine of any speed."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

PROMISED = 0.2
"""Seconds of processor time that 1 MiB may take."""

PARTS = 16


def linear(work: Callable[[str], object], text: str) -> bool:
    """Tell whether ``work`` takes the promised time, or, on a slow or busy machine, one that grows with the text.

    A sixteenth of the text must then take at least a forty-eighth of the time; of quadratic work it would take
    a two hundred and fifty-sixth.
    """
    for _ in range(3):
        whole = _seconds(work, text)
        if whole < PROMISED or whole < 3 * PARTS * _seconds(work, text[: len(text) // PARTS]):
            return True
    return False


def _seconds(work: Callable[[str], object], text: str) -> float:
    began = process_time()
    work(text)
    return process_time() - began
