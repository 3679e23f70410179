"""The lens: a server's own probabilities for each place of an answer, re-shaped without asking again."""

from __future__ import annotations

from .distribution import Distribution, Range, Tail, reshaped
from .lens import Lens
from .position import Bar, Position
from .request import asked

__all__ = ["Bar", "Distribution", "Lens", "Position", "Range", "Tail", "asked", "reshaped"]
