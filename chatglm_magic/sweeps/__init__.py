"""Sweeps over parameters: grids, their runs, their figures, and :class:`Sweep`, which holds what came."""

from __future__ import annotations

from .control import last
from .result import Sweep
from .stats import LABELS, Stats

__all__ = ["LABELS", "Stats", "Sweep", "last"]
