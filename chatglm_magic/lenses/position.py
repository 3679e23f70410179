"""One place of an answer: the tokens that could have stood there, and which one does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..values import Candidate, TokenLogprobs
from .distribution import GREEDY_BELOW, Distribution, Range, Tail, check_sampling, reshape_logprobs
from .labels import make_readable, token_label


class Bar(NamedTuple):
    """One line of a picture of a distribution.

    ``kind`` tells a single token, named tokens that are summed up, and what the server did not name. ``before`` is
    what the model says, ``share`` what the temperature makes of it, ``probability`` what is left after the cut;
    ``survives`` is None where that is uncertain, or where only some of several do.
    """

    label: str
    kind: str
    before: Range
    share: Range
    probability: Range
    survives: bool | None
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """One place of an answer.

    ``token`` is the text that came here. ``candidates`` stand in their order of likelihood; the first ``ranked``
    are certainly the most likely. ``tail`` is what is known of tokens that were not named, None where all were.
    ``hidden`` counts bytes, parts of a character, that came in tokens before, of which the server tells nothing.
    ``tempered`` is the temperature that the probabilities have been through already, 1 for the model's own.
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
        """Make one of what a server tells; ``vocabulary`` is its greatest possible size, None if all was named."""
        top = sorted(odds.top, key=lambda candidate: -candidate.logprob)
        alike = [place for place, candidate in enumerate(top) if odds.taken.is_same_token(candidate)]
        gaps = {place: abs(top[place].logprob - odds.taken.logprob) for place in alike}
        taken = min(gaps, key=gaps.__getitem__) if gaps else len(top)
        ranked = len(top)
        candidates = top if gaps else [*top, odds.taken]
        if not gaps and odds.taken.logprob > top[-1].logprob:  # named apart, but one of the most likely
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
        """The token that came here, readable on one line."""
        return make_readable(self.token) if self.token else token_label(self.candidates[self.taken])

    @property
    def logprobs(self) -> list[float]:
        """The candidates' natural logarithms of probability, as the server tells them."""
        return [candidate.logprob for candidate in self.candidates]

    @property
    def entropy(self) -> Range:
        """The entropy of what the model says here, in bits, before temperature and top_p."""
        return self.reshape().entropy

    def reshape(self, temperature: float = 1.0, top_p: float = 1.0, top_k: int = 0) -> Distribution:
        """Return what the server would draw from with these settings; nothing is sent.

        Probabilities that have been through a temperature T are raised to T / ``temperature``, as the model's own
        are to 1 / ``temperature``: what is known of the unnamed ones is bounded alike.

        :raises ParameterError: for a temperature below 0, or a top_p outside 0 to 1.
        """
        check_sampling(temperature, top_p, top_k)
        if temperature >= GREEDY_BELOW:  # else it stays: a quotient could be above
            further = temperature / self.tempered
            found = reshape_logprobs(self.logprobs, further, top_p, top_k, tail=self.tail, ranked=self.ranked)
            return replace(found, temperature=temperature)
        return reshape_logprobs(self.logprobs, temperature, top_p, top_k, tail=self.tail, ranked=self.ranked)

    def bars(self, found: Distribution | None = None, limit: int = 10) -> list[Bar]:
        """Return the most likely candidates, the taken one, and the rest summed up, as a picture shows them.

        :param found: what :meth:`reshape` gave; what the model itself says unless given.
        """
        said = self.reshape()
        found = said if found is None else found
        shown = sorted({*range(min(limit, len(self.candidates))), self.taken})
        bars = [self._bar(place, said, found) for place in shown]
        left = set(shown)
        others = [place for place in range(len(self.candidates)) if place not in left]
        if others:
            bars.append(_sum_others(others, said, found))
        if self.tail is not None:
            survives = None if found.may_keep_rest else False
            bars.append(Bar("not named", "tail", said.tail_share, found.tail_share, found.tail, survives))
        return bars

    def _bar(self, place: int, said: Distribution, found: Distribution) -> Bar:
        return Bar(
            token_label(self.candidates[place]),
            "token",
            said.share(place),
            found.share(place),
            found.probability(place),
            found.survives(place),
            place == self.taken,
        )


def _sum_others(places: list[int], said: Distribution, found: Distribution) -> Bar:
    """Sum up candidates that are not shown one by one."""
    fates = {found.survives(place) for place in places}
    return Bar(
        f"{len(places)} others",
        "others",
        _add_ranges([said.share(place) for place in places]),
        _add_ranges([found.share(place) for place in places]),
        _add_ranges([found.probability(place) for place in places]),
        fates.pop() if len(fates) == 1 else None,
    )


def _add_ranges(ranges: list[Range]) -> Range:
    low, high = (math.fsum(bounds) for bounds in zip(*ranges, strict=True))
    return Range(min(low, 1.0), min(high, 1.0))
