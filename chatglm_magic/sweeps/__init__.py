"""Sweeps over parameters: grids, runs, statistics, and :class:`Sweep`, which holds the answers."""

from __future__ import annotations

from .control import last
from .result import PartialSweep, Sweep
from .stats import LABELS, Stats

__all__ = ["LABELS", "PartialSweep", "Stats", "Sweep", "last"]
