"""What temperature, top_k and top_p make of a server's probabilities, in the order of ChatGLM's own sampler."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

from ..errors import ParameterError

MAX_PARAMETER = 1e15
"""More than any setting can mean."""

MAX_VOCABULARY_TOKENS = 262_144
"""Tokens; GLM-4 and its followers have 151 552, ChatGLM 65 024, the first ChatGLM 130 528."""

MIN_LOGPROB = -5000.0
"""Below this logarithm of a probability the server has cut the token: -9999 stands for infinity."""

ROUNDING_ERROR = 1e-5
"""How far a sum of probabilities may be off: servers compute with 32-bit numbers."""


class Range(NamedTuple):
    """A figure between two bounds, both of them possible as far as is known; alike where it is known."""

    low: float
    high: float

    @property
    def is_exact(self) -> bool:
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
    def after_named(cls, named: float, ceiling: float, count: int) -> Tail | None:
        """Return the tail behind tokens whose probabilities add up to ``named``; None where there can be none.

        A probability below the smallest number has a mass of 0, and is bounded by its logarithm alone.
        """
        if count and math.exp(ceiling) == 0.0 and ceiling > MIN_LOGPROB:
            return cls(count, 0.0, 0.0, ceiling)
        most = count * math.exp(ceiling)
        left = min(1.0 - named, most)
        high = min(max(left, 0.0) + ROUNDING_ERROR, most)
        return cls(count, max(left - ROUNDING_ERROR, 0.0), high, ceiling) if high > 0 else None

    def weight(self, temperature: float, top: float) -> Range:
        """Return the bounds of the sum of ``(q / p) ** (1 / temperature)`` over the tail's probabilities ``q``.

        ``top`` is the logarithm of ``p``. The power is concave above temperature 1 and convex below: so the sum
        is extreme where the mass is spread evenly, and where it is heaped up on as few tokens as can carry it.
        """
        if self.high <= 0:
            return Range(0.0, self.count * math.exp(min((self.ceiling - top) / temperature, 0.0)))
        spread = [self._evenly_spread_weight(mass, temperature, top) for mass in (self.low, self.high)]
        heaped = [self._concentrated_weight(mass, temperature, top) for mass in (self.low, self.high)]
        return Range(min(spread[0], heaped[0]), max(spread[1], heaped[1]))

    def limit_to(self, count: int) -> Tail:
        """Return what at most ``count`` of its tokens, the most likely, can be."""
        if count >= self.count:
            return self
        most = count * math.exp(self.ceiling)
        return replace(self, count=count, low=self.low * count / self.count, high=min(self.high, most))

    def _evenly_spread_weight(self, mass: float, temperature: float, top: float) -> float:
        if mass <= 0:
            return 0.0
        return self.count * math.exp((math.log(mass / self.count) - top) / temperature)

    def _concentrated_weight(self, mass: float, temperature: float, top: float) -> float:
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
    ends = [_mixed_entropy_at(part, seen, unseen.low) for part in share]
    difference = seen - unseen.high
    peak = 1 / (1 + 2**difference) if difference < 1000 else 0.0
    parts = (*share, min(max(peak, share.low), share.high))
    return Range(min(ends), max(_mixed_entropy_at(part, seen, unseen.high) for part in parts))


def _mixed_entropy_at(part: float, seen: float, unseen: float) -> float:
    between = -sum(x * math.log2(x) for x in (part, 1 - part) if x > 0)
    return between + (1 - part) * seen + part * unseen


ZERO = Range(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Distribution:
    """The probabilities at one place of an answer, re-shaped and cut; candidates go by their rank, from 0 on.

    The first ``sure`` candidates survive the cut, those from ``possible`` on do not; between them it is uncertain.
    Weights are relative to the most likely candidate's, which is 1.
    """

    temperature: float
    top_p: float
    top_k: int
    weights: Sequence[float]
    """Each candidate's weight."""
    total_weight: Range
    """The weight of all tokens before any cut."""
    unnamed_weight: Range
    """The weight of those among them that were not named."""
    ranked: RankedWeights
    """The candidates that are certainly the most likely, and what may come after them."""
    min_kept: int
    max_kept: int
    kept_weight: Range
    """The weight of all survivors."""
    keeps_rest: bool
    may_keep_rest: bool

    def share(self, place: int) -> Range:
        """Return a candidate's probability after the temperature, before anything is cut."""
        weight = self.weights[place]
        return Range(weight / self.total_weight.high, weight / self.total_weight.low)

    @property
    def tail_share(self) -> Range:
        """The probability of all unnamed tokens together after the temperature, before anything is cut."""
        named = self.total_weight.low - self.unnamed_weight.low
        return Range(*(part / (named + part) for part in self.unnamed_weight))

    def survives(self, place: int) -> bool | None:
        """Tell whether a candidate survives the cut; None where that is uncertain."""
        if place < len(self.ranked.cumulative):
            return place < self.min_kept or (None if place < self.max_kept else False)
        if not self.may_keep_rest:
            return False
        return True if self.top_p >= 1 and not self.top_k else None

    def probability(self, place: int) -> Range:
        """Return the probability with which the server draws a candidate."""
        survives = self.survives(place)
        if survives is False:
            return ZERO
        weight, sums = self.weights[place], self.ranked.cumulative
        least = sums[place] if place < len(sums) else sums[-1] + weight
        least = min(least, self.kept_weight.high)  # a greedy server may take any one of equal candidates
        low = weight / self.kept_weight.high if survives else 0.0
        return Range(low, min(1.0, weight / max(self.kept_weight.low, least)))

    @property
    def tail(self) -> Range:
        """The probability with which the server draws any of the unnamed tokens."""
        if not self.may_keep_rest:
            return ZERO
        named, kept = self.ranked.cumulative[-1], self.kept_weight
        low = max(0.0, kept.low - named - self.ranked.rest_named) / kept.low if self.keeps_rest else 0.0
        high = max(0.0, min(kept.high - named, self.unnamed_weight.high))
        return Range(low, max(low, high / (named + high)))

    @property
    def survivors(self) -> tuple[int, int]:
        """The lowest and the highest possible number of candidates that survive; unnamed ones do not count."""
        known = [self.survives(place) for place in range(len(self.ranked.cumulative), len(self.weights))]
        return self.min_kept + known.count(True), self.max_kept + len(known) - known.count(False)

    @property
    def entropy(self) -> Range:
        """The entropy of what the server draws from, in bits: 0 where there is nothing to choose."""
        if self.kept_weight.high <= self.weights[0]:
            return ZERO  # one token is left, even where it is unknown which of several
        least, most = self._entropy_of_first(max(self.min_kept, 1)), self._entropy_of_first(self.max_kept)
        if not self.may_keep_rest:
            return Range(min(least, most), most)
        named, heaviest = self.ranked.cumulative[-1], self.ranked.last
        behind = [max(0.0, kept - named) for kept in self.kept_weight]
        fewest = math.log2(behind[0] / heaviest) if behind[0] > heaviest > 0 else 0.0
        within = Range(fewest, max(fewest, math.log2(max(self.ranked.rest_count, 1))))
        found = mixed_entropy(Range(*(part / (named + part) for part in behind)), most, within)
        return found if self.keeps_rest else Range(least, max(found.high, least))

    def _entropy_of_first(self, count: int) -> float:
        """Return the entropy of the first ``count`` candidates among themselves."""
        total = self.ranked.cumulative[count - 1]
        found = math.fsum(weight * math.log2(weight) for weight in self.weights[:count] if weight > 0)
        return max(0.0, math.log2(total) - found / total)


@dataclass(frozen=True, slots=True)
class RankedWeights:
    """The candidates that are certainly the most likely: where top_p cuts, as far as one can know."""

    cumulative: Sequence[float]
    """The weights of the candidates up to each one."""
    last: float
    """The weight of the last one: nothing that comes after it has more."""
    rest: Range = ZERO
    """The weight of all that may come after: unnamed tokens, and named ones of unknown rank."""
    rest_named: float = 0.0
    """The weight of these named ones."""
    rest_count: int = 0
    """How many tokens may come after."""

    def apply_top_p(self, top_p: float) -> tuple[int, int, Range, bool, bool]:
        """Return how many survive surely and possibly, the survivors' weight, and the rest's chances."""
        sums, rest = self.cumulative, self.rest
        whole = Range(sums[-1] + rest.low, sums[-1] + rest.high)
        if top_p >= 1:
            return len(sums), len(sums), whole, rest.low > 0, rest.high > 0
        reach = Range((top_p - ROUNDING_ERROR) * whole.low, (top_p + ROUNDING_ERROR) * whole.high)
        least, most = bisect_left(sums, reach.low) + 1, bisect_left(sums, reach.high) + 1
        rest_sure, rest_possible = least > len(sums) and rest.low > 0, most > len(sums) and rest.high > 0
        least, most = min(least, len(sums)), min(most, len(sums))
        low = max(sums[-1], reach.low) if rest_sure else sums[least - 1]
        high = min(whole.high, reach.high + self.last) if rest_possible else sums[most - 1]
        return least, most, Range(low, max(low, high)), rest_sure, rest_possible


GREEDY_BELOW = 0.001
"""Temperatures under this are 0: servers take the most likely token then."""


def reshape_logprobs(
    logprobs: Sequence[float],
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    *,
    tail: Tail | None = None,
    ranked: int | None = None,
) -> Distribution:
    """Return what a server draws from, given what its model says.

    :param logprobs: natural logarithms of the candidates' probabilities before anything was done to them, the
        most likely first; they need not add up to 1, where ``tail`` is None they are all there are.
    :param temperature: 0 (greedy) and up.
    :param top_p: 0 (one token) to 1 (no cut).
    :param top_k: how many are kept; 0 for all.
    :param tail: what is known of the tokens that are not among the candidates.
    :param ranked: how many of the candidates are certainly the most likely, at least 1; all of them unless given.
    :raises ParameterError: for values out of these ranges.
    """
    check_sampling(temperature, top_p, top_k)
    named = len(logprobs) if ranked is None else ranked
    top = logprobs[0]
    if temperature < GREEDY_BELOW:
        return _reshape_greedily(logprobs, temperature, top_p, top_k, named)
    weights = [math.exp((logprob - top) / temperature) for logprob in logprobs]
    unseen = tail.weight(temperature, top) if tail is not None else ZERO
    seen = math.fsum(weights)
    total = Range(seen + unseen.low, seen + unseen.high)
    candidates = _rank_candidates(weights, named, top_k, tail, unseen, temperature, top)
    return Distribution(
        temperature, top_p, top_k, weights, total, unseen, candidates, *candidates.apply_top_p(top_p)
    )


def _rank_candidates(
    weights: list[float],
    named: int,
    top_k: int,
    tail: Tail | None,
    unseen: Range,
    temperature: float,
    top: float,
) -> RankedWeights:
    """Return what top_k leaves for top_p to choose from."""
    if 0 < top_k <= named:
        return RankedWeights(list(accumulate(weights[:top_k])), weights[top_k - 1])
    extra, behind = sum(weights[named:]), len(weights) - named + (tail.count if tail is not None else 0)
    if top_k and tail is not None:
        behind = min(behind, top_k - named)
        high = tail.limit_to(behind).weight(temperature, top).high + extra
        low = tail.limit_to(behind).weight(temperature, top).low if not extra else 0.0
        rest = Range(low, high)
    else:
        rest = Range(unseen.low + extra, unseen.high + extra)
    return RankedWeights(list(accumulate(weights[:named])), weights[named - 1], rest, extra, behind)


def check_sampling(temperature: float, top_p: float, top_k: int = 0) -> None:
    """Refuse settings that make no sense.

    :raises ParameterError: which says what the ranges are.
    """
    for name, value in (("temperature", temperature), ("top_p", top_p), ("top_k", top_k)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ParameterError(f"{name} must be a number, not {value!r}.")
        if isinstance(value, int) and abs(value) > MAX_PARAMETER:
            raise ParameterError(f"{name} must be a smaller number.")  # no float could hold it
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ParameterError(f"temperature must be 0 or more, not {temperature}.")
    if not 0 <= top_p <= 1:
        raise ParameterError(f"top_p must be between 0 and 1, not {top_p}.")
    if top_k < 0:
        raise ParameterError(f"top_k must be 0 (off) or a positive number, not {top_k}.")


def _reshape_greedily(
    logprobs: Sequence[float], temperature: float, top_p: float, top_k: int, named: int
) -> Distribution:
    """Return the most likely token alone; of several that are alike any may be meant."""
    alike = sum(logprob == logprobs[0] for logprob in logprobs[:named])
    weights = [1.0] * alike + [0.0] * (len(logprobs) - alike)
    candidates = RankedWeights(list(accumulate(weights[:named])), weights[named - 1])
    total, kept = Range(float(alike), float(alike)), Range(1.0, 1.0)
    sure = 1 if alike == 1 else 0
    return Distribution(
        temperature, top_p, top_k, weights, total, ZERO, candidates, sure, alike, kept, False, False
    )
