"""One position of an answer: its candidates, and the token that was drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..values import Candidate, TokenLogprobs
from .distribution import GREEDY_BELOW, Bounds, Distribution, Tail, check_sampling, reshape_logprobs
from .labels import make_readable, token_label


class Bar(NamedTuple):
    """One row of a displayed distribution.

    ``kind`` is ``token``, ``others`` (named tokens, summed up) or ``tail`` (unnamed tokens). ``before`` is the
    model's probability, ``share`` that after the temperature, ``probability`` that after the cut; ``survives`` is
    None if that is uncertain, or if only some of several do.
    """

    label: str
    kind: str
    before: Bounds
    share: Bounds
    probability: Bounds
    survives: bool | None
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """One position of an answer.

    ``token`` is its text. ``candidates`` are in descending order of likelihood, ``taken`` is the index of the one
    that was drawn; the first ``ranked`` are certainly the most likely. ``tail`` describes the unnamed tokens, None
    if there are none. ``hidden`` is the number of bytes, part of a character, from earlier tokens that the server
    doesn't report. ``tempered`` is the temperature already applied to the probabilities, 1 for the model's own.
    """

    index: int
    token: str
    candidates: tuple[Candidate, ...]
    taken: int
    ranked: int
    tail: Tail | None
    hidden: int = 0
    tempered: float = 1.0

    @classmethod
    def from_logprobs(
        cls, index: int, odds: TokenLogprobs, vocabulary: int | None, tempered: float = 1.0
    ) -> Position:
        """Return a position; ``vocabulary`` is its maximum size, None if every token was named."""
        top = sorted(odds.top, key=lambda candidate: -candidate.logprob)
        alike = [index for index, candidate in enumerate(top) if odds.taken.is_same_token(candidate)]
        gaps = {index: abs(top[index].logprob - odds.taken.logprob) for index in alike}
        taken = min(gaps, key=gaps.__getitem__) if gaps else len(top)
        ranked = len(top)
        candidates = top if gaps else [*top, odds.taken]
        if not gaps and odds.taken.logprob > top[-1].logprob:  # named separately, but one of the most likely
            candidates.sort(key=lambda candidate: -candidate.logprob)
            taken, ranked = candidates.index(odds.taken), len(candidates)
        whole, own = odds.taken.data, candidates[taken].data
        hidden = len(whole) - len(own) if own != whole and whole.endswith(own) else 0
        tail = None
        if vocabulary is not None:
            named = math.fsum(math.exp(candidate.logprob) for candidate in candidates)
            tail = Tail.after_named(named, candidates[ranked - 1].logprob, max(vocabulary - len(candidates), 0))
        return cls(index, odds.taken.token, tuple(candidates), taken, ranked, tail, hidden, tempered)

    @property
    def label(self) -> str:
        """The token, readable on one line."""
        return make_readable(self.token) if self.token else token_label(self.candidates[self.taken])

    @property
    def logprobs(self) -> list[float]:
        """The candidates' log-probabilities (natural), as the server reports them."""
        return [candidate.logprob for candidate in self.candidates]

    @property
    def entropy(self) -> Bounds:
        """The entropy of the model's distribution, in bits, before temperature and top_p."""
        return self.reshape().entropy

    def reshape(self, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0) -> Distribution:
        """Return the distribution that the server would draw from with these parameters; nothing is sent.

        Probabilities after a temperature T are raised to T / ``temperature``, as the model's own are to
        1 / ``temperature``; the unnamed ones are bounded in the same way.

        :raises ParameterError: for a temperature below 0, or a top_p outside 0 to 1.
        """
        check_sampling(temperature, top_p, top_k)
        if temperature >= GREEDY_BELOW:  # the quotient could exceed the greedy limit
            further = temperature / self.tempered
            reshaped = reshape_logprobs(self.logprobs, further, top_p, top_k, tail=self.tail, ranked=self.ranked)
            return replace(reshaped, temperature=temperature)
        return reshape_logprobs(self.logprobs, temperature, top_p, top_k, tail=self.tail, ranked=self.ranked)

    def bars(self, distribution: Distribution | None = None, limit: int = 10) -> list[Bar]:
        """Return rows for the most likely candidates, the one drawn, and the rest summed up.

        :param distribution: a result of :meth:`reshape`; by default the model's own distribution.
        """
        model = self.reshape()
        distribution = model if distribution is None else distribution
        shown = {*range(min(limit, len(self.candidates))), self.taken}
        bars = [self._bar(index, model, distribution) for index in sorted(shown)]
        others = [index for index in range(len(self.candidates)) if index not in shown]
        if others:
            bars.append(_sum_others(others, model, distribution))
        if self.tail is not None:
            survives = None if distribution.may_keep_rest else False
            bars.append(
                Bar("not named", "tail", model.tail_share, distribution.tail_share, distribution.tail, survives)
            )
        return bars

    def _bar(self, index: int, model: Distribution, distribution: Distribution) -> Bar:
        return Bar(
            token_label(self.candidates[index]),
            "token",
            model.share(index),
            distribution.share(index),
            distribution.probability(index),
            distribution.survives(index),
            index == self.taken,
        )


def _sum_others(indices: list[int], model: Distribution, distribution: Distribution) -> Bar:
    """Sum up the candidates that aren't displayed one by one."""
    survival = {distribution.survives(index) for index in indices}
    return Bar(
        f"{len(indices)} others",
        "others",
        _add_ranges([model.share(index) for index in indices]),
        _add_ranges([distribution.share(index) for index in indices]),
        _add_ranges([distribution.probability(index) for index in indices]),
        survival.pop() if len(survival) == 1 else None,
    )


def _add_ranges(ranges: list[Bounds]) -> Bounds:
    low, high = (math.fsum(bounds) for bounds in zip(*ranges, strict=True))
    return Bounds(min(low, 1.0), min(high, 1.0))
