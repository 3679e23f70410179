"""Sweeps over parameters: grids, their runs, their figures, and :class:`Sweep`, which holds what came."""

from __future__ import annotations

from .control import last
from .result import PartialSweep, Sweep
from .stats import LABELS, Stats

__all__ = ["LABELS", "PartialSweep", "Stats", "Sweep", "last"]
