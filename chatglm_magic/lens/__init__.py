"""The lens: a server's own probabilities for each place of an answer, re-shaped without asking again.

The room can be called, ``chatglm_magic.lens(prompt)``: the package has one attribute for a room and for what it
exports under the same name.
"""

from __future__ import annotations

import sys
from types import ModuleType

from .distribution import Distribution
from .math import reshaped
from .position import Bar, Position
from .request import lens
from .tail import Range, Tail
from .value import Lens


class _Room(ModuleType):
    __call__ = staticmethod(lens)


sys.modules[__name__].__class__ = _Room

__all__ = ["Bar", "Distribution", "Lens", "Position", "Range", "Tail", "lens", "reshaped"]
