"""What can be known of the tokens that a server did not name, and of the figures that they make uncertain."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

LARGEST = 1e15
"""More than any setting can mean."""

LARGEST_VOCABULARY = 262_144
"""Tokens; GLM-4 and its followers have 151 552, ChatGLM 65 024, the first ChatGLM 130 528."""

ROUNDING = 1e-5
"""How far a sum of probabilities may be off: servers compute with 32-bit numbers."""


class Range(NamedTuple):
    """A figure between two bounds, both of them possible as far as is known; alike where it is known."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Whether the figure is known, but for rounding."""
        return self.high - self.low <= 1e-9 * max(1.0, abs(self.high))


@dataclass(frozen=True, slots=True)
class Tail:
    """Tokens that were not named: at most ``count``, of a mass from ``low`` to ``high`` together.

    None of them is likelier than the least likely one that was named, whose logarithm is ``ceiling``.
    """

    count: int
    low: float
    high: float
    ceiling: float

    @classmethod
    def behind(cls, named: float, ceiling: float, count: int) -> Tail | None:
        """Return the tail behind tokens whose probabilities add up to ``named``; None where there can be none."""
        most = count * math.exp(ceiling)
        left = min(1.0 - named, most)
        high = min(max(left, 0.0) + ROUNDING, most)
        return cls(count, max(left - ROUNDING, 0.0), high, ceiling) if high > 0 else None

    def weight(self, temperature: float, top: float) -> Range:
        """Return the bounds of the sum of ``(q / p) ** (1 / temperature)`` over the tail's probabilities ``q``.

        ``top`` is the logarithm of ``p``. The power is concave above temperature 1 and convex below: so the sum
        is extreme where the mass is spread evenly, and where it is heaped up on as few tokens as can carry it.
        """
        spread = [self._spread(mass, temperature, top) for mass in (self.low, self.high)]
        heaped = [self._heaped(mass, temperature, top) for mass in (self.low, self.high)]
        return Range(min(spread[0], heaped[0]), max(spread[1], heaped[1]))

    def cut(self, count: int) -> Tail:
        """Return what at most ``count`` of its tokens, the likeliest, can be."""
        if count >= self.count:
            return self
        most = count * math.exp(self.ceiling)
        return replace(self, count=count, low=self.low * count / self.count, high=min(self.high, most))

    def _spread(self, mass: float, temperature: float, top: float) -> float:
        if mass <= 0:
            return 0.0
        return self.count * math.exp((math.log(mass / self.count) - top) / temperature)

    def _heaped(self, mass: float, temperature: float, top: float) -> float:
        if mass <= 0:
            return 0.0
        whole = min(math.floor(mass / math.exp(self.ceiling)), self.count) if self.ceiling > -700 else 0
        found = whole * math.exp((self.ceiling - top) / temperature)
        rest = mass - whole * math.exp(self.ceiling)
        return found + (math.exp((math.log(rest) - top) / temperature) if rest > 0 else 0.0)


def mixed_entropy(share: Range, seen: float, unseen: Range) -> Range:
    """Return the bounds of the entropy, in bits, of a distribution in two parts.

    :param share: the mass of the second part.
    :param seen: the entropy within the first part.
    :param unseen: the bounds of the entropy within the second.
    """
    ends = [_mix(part, seen, unseen.low) for part in share]
    difference = seen - unseen.high
    peak = 1 / (1 + 2**difference) if difference < 1000 else 0.0
    parts = (*share, min(max(peak, share.low), share.high))
    return Range(min(ends), max(_mix(part, seen, unseen.high) for part in parts))


def _mix(part: float, seen: float, unseen: float) -> float:
    between = -sum(x * math.log2(x) for x in (part, 1 - part) if x > 0)
    return between + (1 - part) * seen + part * unseen
