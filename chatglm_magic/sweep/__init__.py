"""Sweeps over parameters: ``sweep(prompt, temperature=[…])`` and what it returns.

The package's public name ``sweep`` is this room and the function at once: Python puts a submodule into its package
under its own name, whatever else is exported under it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from .begin import last, sweep
from .result import Sweep
from .stats import LABELS, Stats

__all__ = ["LABELS", "Stats", "Sweep", "last", "sweep"]


class _Room(ModuleType):
    """A module that can be called: it is the function."""

    def __call__(self, *args: Any, **options: Any) -> Sweep:
        return sweep(*args, **options)


_Room.__call__.__doc__ = sweep.__doc__
sys.modules[__name__].__class__ = _Room
