"""The lens: the server's probabilities for each token of an answer, reshaped without another request."""

from __future__ import annotations

from .distribution import Bounds, Distribution, Tail, reshape_logprobs
from .lens import Lens
from .position import Bar, Position
from .request import ask_lens

__all__ = ["Bar", "Bounds", "Distribution", "Lens", "Position", "Tail", "ask_lens", "reshape_logprobs"]
