"""A distribution with all that is uncertain of it, and the cut that made it. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from .tail import ROUNDING, Range, mixed_entropy

NOTHING = Range(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Distribution:
    """The probabilities at one place of an answer, re-shaped and cut; candidates go by their rank, from 0 on.

    The first ``sure`` candidates survive the cut, those from ``possible`` on do not; between them it is uncertain.
    Weights are beside the likeliest candidate's, which is 1.
    """

    temperature: float
    top_p: float
    top_k: int
    weights: Sequence[float]
    """Each candidate's weight."""
    total: Range
    """The weight of all tokens before any cut."""
    unseen: Range
    """The weight of those among them that were not named."""
    ranked: Ranked
    """The candidates that are certainly the likeliest, and what may come after them."""
    sure: int
    possible: int
    kept: Range
    """The weight of all survivors."""
    rest_sure: bool
    rest_possible: bool

    def share(self, place: int) -> Range:
        """Return a candidate's probability after the temperature, before anything is cut."""
        weight = self.weights[place]
        return Range(weight / self.total.high, weight / self.total.low)

    @property
    def tail_share(self) -> Range:
        """The probability of all unnamed tokens together after the temperature, before anything is cut."""
        named = self.total.low - self.unseen.low
        return Range(*(part / (named + part) for part in self.unseen))

    def survives(self, place: int) -> bool | None:
        """Tell whether a candidate survives the cut; None where that is uncertain."""
        if place < len(self.ranked.sums):
            return place < self.sure or (None if place < self.possible else False)
        if not self.rest_possible:
            return False
        return True if self.top_p >= 1 and not self.top_k else None

    def probability(self, place: int) -> Range:
        """Return the probability with which the server draws a candidate."""
        survives = self.survives(place)
        if survives is False:
            return NOTHING
        weight, sums = self.weights[place], self.ranked.sums
        least = sums[place] if place < len(sums) else sums[-1] + weight
        least = min(least, self.kept.high)  # of several that are alike a greedy server may take any by itself
        low = weight / self.kept.high if survives else 0.0
        return Range(low, min(1.0, weight / max(self.kept.low, least)))

    @property
    def tail(self) -> Range:
        """The probability with which the server draws any of the unnamed tokens."""
        if not self.rest_possible:
            return NOTHING
        named, kept = self.ranked.sums[-1], self.kept
        low = max(0.0, kept.low - named - self.ranked.extra) / kept.low if self.rest_sure else 0.0
        high = max(0.0, min(kept.high - named, self.unseen.high))
        return Range(low, max(low, high / (named + high)))

    @property
    def survivors(self) -> tuple[int, int]:
        """The lowest and the highest possible number of candidates that survive; unnamed ones do not count."""
        known = [self.survives(place) for place in range(len(self.ranked.sums), len(self.weights))]
        return self.sure + known.count(True), self.possible + len(known) - known.count(False)

    @property
    def entropy(self) -> Range:
        """The entropy of what the server draws from, in bits: 0 where there is nothing to choose."""
        if self.kept.high <= self.weights[0]:
            return NOTHING  # one token is left, even where it is unknown which of several
        least, most = self._entropy(max(self.sure, 1)), self._entropy(self.possible)
        if not self.rest_possible:
            return Range(min(least, most), most)
        named, heaviest = self.ranked.sums[-1], self.ranked.last
        behind = [max(0.0, kept - named) for kept in self.kept]
        fewest = math.log2(behind[0] / heaviest) if behind[0] > heaviest > 0 else 0.0
        within = Range(fewest, max(fewest, math.log2(max(self.ranked.behind, 1))))
        found = mixed_entropy(Range(*(part / (named + part) for part in behind)), most, within)
        return found if self.rest_sure else Range(least, max(found.high, least))

    def _entropy(self, count: int) -> float:
        """Return the entropy of the first ``count`` candidates among themselves."""
        total = self.ranked.sums[count - 1]
        found = math.fsum(weight * math.log2(weight) for weight in self.weights[:count] if weight > 0)
        return max(0.0, math.log2(total) - found / total)


@dataclass(frozen=True, slots=True)
class Ranked:
    """The candidates that are certainly the likeliest: where top_p cuts, as far as one can know."""

    sums: Sequence[float]
    """The weights of the candidates up to each one."""
    last: float
    """The weight of the last one: nothing that comes after it has more."""
    rest: Range = NOTHING
    """The weight of all that may come after: unnamed tokens, and named ones of unknown rank."""
    extra: float = 0.0
    """The weight of these named ones."""
    behind: int = 0
    """How many tokens may come after."""

    def cut(self, top_p: float) -> tuple[int, int, Range, bool, bool]:
        """Return how many survive surely and possibly, the survivors' weight, and the rest's chances."""
        sums, rest = self.sums, self.rest
        whole = Range(sums[-1] + rest.low, sums[-1] + rest.high)
        if top_p >= 1:
            return len(sums), len(sums), whole, rest.low > 0, rest.high > 0
        reach = Range((top_p - ROUNDING) * whole.low, (top_p + ROUNDING) * whole.high)
        least, most = bisect_left(sums, reach.low) + 1, bisect_left(sums, reach.high) + 1
        rest_sure, rest_possible = least > len(sums) and rest.low > 0, most > len(sums) and rest.high > 0
        least, most = min(least, len(sums)), min(most, len(sums))
        low = max(sums[-1], reach.low) if rest_sure else sums[least - 1]
        high = min(whole.high, reach.high + self.last) if rest_possible else sums[most - 1]
        return least, most, Range(low, max(low, high)), rest_sure, rest_possible
