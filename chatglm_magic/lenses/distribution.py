"""Apply temperature, top_k and top_p to a server's probabilities, in the order of ChatGLM's sampler."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

from ..errors import ParameterError

MAX_PARAMETER = 1e15
"""A larger parameter is certainly a mistake."""

MAX_VOCABULARY_TOKENS = 262_144
"""Tokens; GLM-4 and its followers have 151 552, ChatGLM 65 024, the first ChatGLM 130 528."""

CUT_LOGPROB = -5000.0
"""Below this log-probability the server has cut the token: -9999 means minus infinity."""

ROUNDING_ERROR = 1e-5
"""Tolerance for a sum of probabilities: servers compute with 32-bit numbers."""


class Bounds(NamedTuple):
    """The bounds of a figure; equal if it is known."""

    low: float
    high: float

    @property
    def is_exact(self) -> bool:
        """Whether the figure is known, except for rounding."""
        return self.high - self.low <= 1e-9 * max(1.0, abs(self.high))


@dataclass(frozen=True, slots=True)
class Tail:
    """The tokens that the server didn't name: at most ``count``, with a total probability of ``low`` to ``high``.

    None of them is more likely than the least likely named one, whose log-probability is ``ceiling``.
    """

    count: int
    low: float
    high: float
    ceiling: float

    @classmethod
    def after_named(cls, named: float, ceiling: float, count: int) -> Tail | None:
        """Return the tail after tokens whose probabilities add up to ``named``; None if there can't be one.

        A probability too small for a float counts as 0, and is bounded by its logarithm alone.
        """
        if count and math.exp(ceiling) == 0.0 and ceiling > CUT_LOGPROB:
            return cls(count, 0.0, 0.0, ceiling)
        most = count * math.exp(ceiling)
        remaining = min(1.0 - named, most)
        high = min(max(remaining, 0.0) + ROUNDING_ERROR, most)
        return cls(count, max(remaining - ROUNDING_ERROR, 0.0), high, ceiling) if high > 0 else None

    def weight(self, temperature: float, top: float) -> Bounds:
        """Return the bounds of the sum of ``(q / p) ** (1 / temperature)`` over the tail's probabilities ``q``.

        ``top`` is the logarithm of ``p``. The power is concave above temperature 1 and convex below: so the sum
        is extreme if the mass is spread evenly, and if it is concentrated on as few tokens as possible.
        """
        if self.high <= 0:
            return Bounds(0.0, self.count * math.exp(min((self.ceiling - top) / temperature, 0.0)))
        spread = [self._evenly_spread_weight(mass, temperature, top) for mass in (self.low, self.high)]
        concentrated = [self._concentrated_weight(mass, temperature, top) for mass in (self.low, self.high)]
        return Bounds(min(spread[0], concentrated[0]), max(spread[1], concentrated[1]))

    def limit_to(self, count: int) -> Tail:
        """Return the tail of only its ``count`` most likely tokens."""
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
        full = min(math.floor(mass / math.exp(self.ceiling)), self.count) if self.ceiling > -700 else 0
        weight = full * math.exp((self.ceiling - top) / temperature)
        rest = mass - full * math.exp(self.ceiling)
        return weight + (math.exp((math.log(rest) - top) / temperature) if rest > 0 else 0.0)


def mixed_entropy(share: Bounds, seen: float, unseen: Bounds) -> Bounds:
    """Return the bounds of the entropy, in bits, of a mixture of two distributions.

    :param share: the probability of the second part.
    :param seen: the entropy within the first part.
    :param unseen: the bounds of the entropy within the second part.
    """
    ends = [_mixed_entropy_at(part, seen, unseen.low) for part in share]
    difference = seen - unseen.high
    peak = 1 / (1 + 2**difference) if difference < 1000 else 0.0
    parts = (*share, min(max(peak, share.low), share.high))
    return Bounds(min(ends), max(_mixed_entropy_at(part, seen, unseen.high) for part in parts))


def _mixed_entropy_at(part: float, seen: float, unseen: float) -> float:
    between = -sum(x * math.log2(x) for x in (part, 1 - part) if x > 0)
    return between + (1 - part) * seen + part * unseen


ZERO = Bounds(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Distribution:
    """The reshaped probabilities at one position of an answer; candidates are numbered by rank, starting at 0.

    The first ``min_kept`` candidates survive the cut, those from ``max_kept`` don't; between them it is uncertain.
    Weights are relative to the most likely candidate's, which is 1.
    """

    temperature: float
    top_p: float
    top_k: int
    weights: Sequence[float]
    """The weight of each candidate."""
    total_weight: Bounds
    """The weight of all tokens before any cut."""
    unnamed_weight: Bounds
    """The weight of the unnamed tokens before any cut."""
    ranked: RankedWeights
    """The candidates that are certainly the most likely, and the rest."""
    min_kept: int
    max_kept: int
    kept_weight: Bounds
    """The weight of all tokens that survive the cut."""
    keeps_rest: bool
    may_keep_rest: bool

    def share(self, index: int) -> Bounds:
        """Return a candidate's probability after the temperature and before the cut."""
        weight = self.weights[index]
        return Bounds(weight / self.total_weight.high, weight / self.total_weight.low)

    @property
    def tail_share(self) -> Bounds:
        """The probability of all unnamed tokens after the temperature and before the cut."""
        named = self.total_weight.low - self.unnamed_weight.low
        return Bounds(*(part / (named + part) for part in self.unnamed_weight))

    def survives(self, index: int) -> bool | None:
        """Return whether a candidate survives the cut; None if that is uncertain."""
        if index < len(self.ranked.cumulative):
            return index < self.min_kept or (None if index < self.max_kept else False)
        if not self.may_keep_rest:
            return False
        return True if self.top_p >= 1 and not self.top_k else None

    def probability(self, index: int) -> Bounds:
        """Return the probability with which the server draws a candidate."""
        survives = self.survives(index)
        if survives is False:
            return ZERO
        weight, sums = self.weights[index], self.ranked.cumulative
        least = sums[index] if index < len(sums) else sums[-1] + weight
        least = min(least, self.kept_weight.high)  # a greedy server may take any one of equal candidates
        low = weight / self.kept_weight.high if survives else 0.0
        return Bounds(low, min(1.0, weight / max(self.kept_weight.low, least)))

    @property
    def tail(self) -> Bounds:
        """The probability with which the server draws any of the unnamed tokens."""
        if not self.may_keep_rest:
            return ZERO
        named, kept = self.ranked.cumulative[-1], self.kept_weight
        low = max(0.0, kept.low - named - self.ranked.rest_named) / kept.low if self.keeps_rest else 0.0
        high = max(0.0, min(kept.high - named, self.unnamed_weight.high))
        return Bounds(low, max(low, high / (named + high)))

    @property
    def survivors(self) -> tuple[int, int]:
        """The minimum and the maximum number of candidates that survive, without unnamed tokens."""
        others = [self.survives(index) for index in range(len(self.ranked.cumulative), len(self.weights))]
        return self.min_kept + others.count(True), self.max_kept + len(others) - others.count(False)

    @property
    def entropy(self) -> Bounds:
        """The entropy, in bits, of the distribution that the server draws from; 0 if only one token is left."""
        if self.kept_weight.high <= self.weights[0]:
            return ZERO  # one token is left, even if it is unknown which of several
        least, most = self._entropy_of_first(max(self.min_kept, 1)), self._entropy_of_first(self.max_kept)
        if not self.may_keep_rest:
            return Bounds(min(least, most), most)
        named, heaviest = self.ranked.cumulative[-1], self.ranked.last
        behind = [max(0.0, kept - named) for kept in self.kept_weight]
        fewest = math.log2(behind[0] / heaviest) if behind[0] > heaviest > 0 else 0.0
        within = Bounds(fewest, max(fewest, math.log2(max(self.ranked.rest_count, 1))))
        entropy = mixed_entropy(Bounds(*(part / (named + part) for part in behind)), most, within)
        return entropy if self.keeps_rest else Bounds(least, max(entropy.high, least))

    def _entropy_of_first(self, count: int) -> float:
        """Return the entropy of the first ``count`` candidates among themselves."""
        total = self.ranked.cumulative[count - 1]
        logs = math.fsum(weight * math.log2(weight) for weight in self.weights[:count] if weight > 0)
        return max(0.0, math.log2(total) - logs / total)


@dataclass(frozen=True, slots=True)
class RankedWeights:
    """The cumulative weights of the candidates that are certainly the most likely, to which top_p applies."""

    cumulative: Sequence[float]
    """The total weight of the candidates up to each one."""
    last: float
    """The weight of the last candidate, which is an upper bound for each token of the rest."""
    rest: Bounds = ZERO
    """The weight of the rest: unnamed tokens, and named ones of unknown rank."""
    rest_named: float = 0.0
    """The weight of the named tokens of the rest."""
    rest_count: int = 0
    """Maximum number of tokens in the rest."""

    def apply_top_p(self, top_p: float) -> tuple[int, int, Bounds, bool, bool]:
        """Return the minimum and maximum kept, the kept weight, and whether the rest is and may be kept."""
        sums, rest = self.cumulative, self.rest
        whole = Bounds(sums[-1] + rest.low, sums[-1] + rest.high)
        if top_p >= 1:
            return len(sums), len(sums), whole, rest.low > 0, rest.high > 0
        reach = Bounds((top_p - ROUNDING_ERROR) * whole.low, (top_p + ROUNDING_ERROR) * whole.high)
        least, most = bisect_left(sums, reach.low) + 1, bisect_left(sums, reach.high) + 1
        keeps_rest, may_keep_rest = least > len(sums) and rest.low > 0, most > len(sums) and rest.high > 0
        least, most = min(least, len(sums)), min(most, len(sums))
        low = max(sums[-1], reach.low) if keeps_rest else sums[least - 1]
        high = min(whole.high, reach.high + self.last) if may_keep_rest else sums[most - 1]
        return least, most, Bounds(low, max(low, high)), keeps_rest, may_keep_rest


GREEDY_BELOW = 0.001
"""Lower temperatures count as 0: servers then take the most likely token."""


def reshape_logprobs(
    logprobs: Sequence[float],
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    *,
    tail: Tail | None = None,
    ranked: int | None = None,
) -> Distribution:
    """Return the distribution that a server draws from, given its model's probabilities.

    :param logprobs: the candidates' log-probabilities (natural) before any parameter, the most likely first. They
        need not add up to 1; if ``tail`` is None, there are no other tokens.
    :param temperature: 0 (greedy) or more.
    :param top_p: 0 (one token) to 1 (no cut).
    :param top_k: the number of tokens to keep; 0 for all.
    :param tail: what is known of the tokens that aren't among the candidates.
    :param ranked: how many of the candidates are certainly the most likely, at least 1; by default all.
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
    total = Bounds(seen + unseen.low, seen + unseen.high)
    candidates = _rank_candidates(weights, named, top_k, tail, unseen, temperature, top)
    return Distribution(
        temperature, top_p, top_k, weights, total, unseen, candidates, *candidates.apply_top_p(top_p)
    )


def _rank_candidates(
    weights: list[float],
    named: int,
    top_k: int,
    tail: Tail | None,
    unseen: Bounds,
    temperature: float,
    top: float,
) -> RankedWeights:
    """Apply top_k; return what top_p applies to."""
    if 0 < top_k <= named:
        return RankedWeights(list(accumulate(weights[:top_k])), weights[top_k - 1])
    extra, behind = sum(weights[named:]), len(weights) - named + (tail.count if tail is not None else 0)
    if top_k and tail is not None:
        behind = min(behind, top_k - named)
        high = tail.limit_to(behind).weight(temperature, top).high + extra
        low = tail.limit_to(behind).weight(temperature, top).low if not extra else 0.0
        rest = Bounds(low, high)
    else:
        rest = Bounds(unseen.low + extra, unseen.high + extra)
    return RankedWeights(list(accumulate(weights[:named])), weights[named - 1], rest, extra, behind)


def check_sampling(temperature: float, top_p: float, top_k: int = 0) -> None:
    """Check the ranges of sampling parameters.

    :raises ParameterError: for a value out of its range.
    """
    for name, value in (("temperature", temperature), ("top_p", top_p), ("top_k", top_k)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ParameterError(f"{name} must be a number, not {value!r}.")
        if isinstance(value, int) and abs(value) > MAX_PARAMETER:
            raise ParameterError(f"{name} must be a smaller number.")  # a float can't represent it
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ParameterError(f"temperature must be 0 or more, not {temperature}.")
    if not 0 <= top_p <= 1:
        raise ParameterError(f"top_p must be between 0 and 1, not {top_p}.")
    if top_k < 0:
        raise ParameterError(f"top_k must be 0 (off) or a positive number, not {top_k}.")


def _reshape_greedily(
    logprobs: Sequence[float], temperature: float, top_p: float, top_k: int, named: int
) -> Distribution:
    """Keep only the most likely token; of several equally likely ones, it is uncertain which."""
    alike = sum(logprob == logprobs[0] for logprob in logprobs[:named])
    weights = [1.0] * alike + [0.0] * (len(logprobs) - alike)
    candidates = RankedWeights(list(accumulate(weights[:named])), weights[named - 1])
    total, kept = Bounds(float(alike), float(alike)), Bounds(1.0, 1.0)
    sure = 1 if alike == 1 else 0
    return Distribution(
        temperature, top_p, top_k, weights, total, ZERO, candidates, sure, alike, kept, False, False
    )
