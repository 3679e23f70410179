"""How much the tests do: enough for every day, or as much as ``.ci/soak`` and ``.ci/matrix`` ask for."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

SOAK = os.environ.get("CHATGLM_TESTS_SOAK") == "1"
"""Set by ``.ci/soak``: many more examples, turns and draws."""

ALL_KERNELS = os.environ.get("CHATGLM_TESTS_KERNELS") == "all"
"""Set by ``.ci/matrix``: each ipykernel of :data:`tests.support.packages.KERNELS`, not the installed one alone."""

settings.register_profile("daily", max_examples=300, deadline=None)
settings.register_profile("soak", max_examples=2000, deadline=None)
settings.load_profile("soak" if SOAK else "daily")


def choose_count(daily: int, soak: int) -> int:
    """Return how often something is done in this run."""
    return soak if SOAK else daily


def begin_with_heavy(items: list[pytest.Item]) -> None:
    """Sort the files that take longest to the front, so that no process is left with one of them at the end.

    Those are the ones that start kernels, servers or installations: ``pytestmark = pytest.mark.heavy``.
    """
    items.sort(key=lambda item: item.get_closest_marker("heavy") is None)
