"""What a cell has shown by itself is not shown once more as the cell's value."""

from __future__ import annotations

import sys
from typing import Any

_last: list[tuple[int, int]] = []
"""The value that was shown last, and the number of the cell that showed it."""


def shell() -> Any:
    """Return the running IPython shell; None where there is none, or IPython was never imported."""
    core = sys.modules.get("IPython.core.getipython")
    return core.get_ipython() if core else None


def mark(value: object) -> None:
    """Take note that the running cell shows a value."""
    _last[:] = [(id(value), _cell())]


def just_shown(value: object) -> bool:
    """Tell whether the running cell has shown a value already."""
    return (id(value), _cell()) in _last


def _cell() -> int:
    return getattr(shell(), "execution_count", 0)
