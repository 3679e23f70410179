"""What tests may say of time, on a machine of any speed that may have other work to do."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

PROMISED = 0.2
"""Seconds of processor time that 1 MiB may take."""

PARTS = 16


class Late(AssertionError):
    """Something took longer than promised.

    A machine that stops for a moment does that as well: a test that ends so, and only one that ends so, is run
    again, twice at most (``--only-rerun`` in ``pyproject.toml``). What waits too long does so each time.
    """


def assert_within(seconds: float, most: float, of: object = "") -> None:
    """Assert that something took no longer than ``most`` seconds."""
    if not seconds <= most:
        raise Late(f"{of or 'it'}: {seconds:.3f} s, and {most:g} s were promised")


def is_linear(work: Callable[[str], object], text: str) -> bool:
    """Tell whether ``work`` takes the promised time, or, on a slow or busy machine, one that grows with the text.

    This is row S33. A sixteenth of the text must then take at least a forty-eighth of the time; of quadratic
    work it would take a two hundred and fifty-sixth.
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
