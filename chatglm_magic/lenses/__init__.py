"""The lens: a server's own probabilities for each place of an answer, re-shaped without asking again."""

from __future__ import annotations

from .distribution import Distribution
from .math import reshaped
from .position import Bar, Position
from .request import asked
from .tail import Range, Tail
from .value import Lens

__all__ = ["Bar", "Distribution", "Lens", "Position", "Range", "Tail", "asked", "reshaped"]
