"""The bounds of what a lens computes: they hold for every distribution that the server's figures allow."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from chatglm_magic.lenses import Distribution, Tail, reshape_logprobs
from chatglm_magic.lenses.distribution import GREEDY_BELOW

NAMED = (0.5, 0.2, 0.1)
LOGPROBS = [math.log(share) for share in NAMED]
HIDDEN = (0.08, 0.07, 0.05)
"""What the server has beside those it names."""


def tail(count: int = 3) -> Tail:
    found = Tail.after_named(sum(NAMED), LOGPROBS[-1], count)
    assert found is not None
    return found


def drawn(shares: Sequence[float], temperature: float, top_p: float, top_k: int) -> list[float]:
    """Return what a server draws from that knows all shares, the most likely first: the plain definition."""
    weights = [share ** (1 / temperature) for share in shares]
    kept = weights[:top_k] if top_k else weights
    reach, total, survivors = top_p * sum(kept), 0.0, []
    for weight in kept:
        survivors.append(weight)
        total += weight
        if top_p < 1 and total >= reach:
            break
    found = [weight / sum(survivors) for weight in survivors]
    return found + [0.0] * (len(shares) - len(found))


def entropy(shares: Sequence[float]) -> float:
    return -sum(share * math.log2(share) for share in shares if share > 0)


def holds(found: Distribution, shares: Sequence[float], known: int) -> None:
    """Check a distribution's bounds against one that they must allow; the first ``known`` are named."""
    slack = 2e-4
    for place in range(known):
        low, high = found.probability(place)
        assert low - slack <= shares[place] <= high + slack, (place, low, shares[place], high)
        if found.survives(place) is not None:
            assert found.survives(place) is (shares[place] > 0)
    assert found.tail.low - slack <= sum(shares[known:]) <= found.tail.high + slack
    assert found.entropy.low - slack <= entropy(shares) <= found.entropy.high + slack
    fewest, most = found.survivors
    assert fewest <= sum(share > 0 for share in shares[:known]) <= most


@pytest.mark.parametrize("top_k", [0, 1, 2, 3, 4, 5, 6, 7, 100])
@pytest.mark.parametrize("top_p", [0.0, 0.3, 0.6, 0.75, 0.85, 0.97, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_the_bounds_hold_for_what_the_server_may_know(temperature: float, top_p: float, top_k: int) -> None:
    """Whatever temperature, top_p and top_k make of it."""
    shares = drawn([*NAMED, *HIDDEN], temperature, top_p, top_k)
    found = reshape_logprobs(LOGPROBS, temperature, top_p, top_k, tail=tail())
    holds(found, shares, len(NAMED))
    whole = reshape_logprobs([math.log(s) for s in (*NAMED, *HIDDEN)], temperature, top_p, top_k)
    holds(whole, shares, 6)
    assert whole.entropy.is_exact and all(whole.probability(place).is_exact for place in range(6))


@pytest.mark.parametrize("top_k", [6, 7, 100, 10**6])
@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_a_top_k_beyond_all_tokens_cuts_none(top_k: int, top_p: float) -> None:
    """More than there can be is as none: every bound is as tight as without it."""
    cut, uncut = (reshape_logprobs(LOGPROBS, 1.3, top_p, k, tail=tail()) for k in (top_k, 0))
    assert cut.entropy == uncut.entropy and cut.tail == uncut.tail and cut.kept_weight == uncut.kept_weight
    assert [cut.probability(n) for n in range(3)] == [uncut.probability(n) for n in range(3)]


def test_a_top_k_among_the_unnamed_leaves_so_many_of_them() -> None:
    """Four of six: one of the three that were not named."""
    found = reshape_logprobs(LOGPROBS, 1.0, 1.0, 4, tail=tail())
    holds(found, drawn([*NAMED, *HIDDEN], 1.0, 1.0, 4), 3)
    assert 0 < found.tail.high < reshape_logprobs(LOGPROBS, 1.0, 1.0, 5, tail=tail()).tail.high
    three = reshape_logprobs(LOGPROBS, 1.0, 1.0, 3, tail=tail())
    assert three.tail == (0.0, 0.0) and three.survivors == (3, 3) and three.may_keep_rest is False


TAKEN = [math.log(share) for share in (0.5, 0.2, 0.05)]
"""The last one is named because it was taken: two are certainly the most likely."""


def test_a_taken_token_of_unknown_rank_counts_among_the_survivors() -> None:
    """Nothing is cut: it survives surely. Cut behind the first: surely not. Between: perhaps."""
    unnamed = Tail.after_named(0.75, TAKEN[1], 9)
    found = {top_p: reshape_logprobs(TAKEN, 1.0, top_p, tail=unnamed, ranked=2) for top_p in (1.0, 0.3, 0.9)}
    assert [found[1.0].survives(place) for place in range(3)] == [True] * 3
    assert found[1.0].survivors == (3, 3)
    assert [found[0.3].survives(place) for place in range(3)] == [True, False, False]
    assert found[0.3].survivors == (1, 1)
    assert [found[0.9].survives(place) for place in range(3)] == [True, True, None]
    assert found[0.9].survivors == (2, 3)
    cut = reshape_logprobs(TAKEN, 1.0, 1.0, 4, tail=unnamed, ranked=2)
    assert cut.survives(2) is None and cut.survivors == (2, 3)


def test_a_top_k_of_just_the_most_likely_leaves_nothing_else() -> None:
    """Neither the taken token nor any that was not named."""
    found = reshape_logprobs(TAKEN, 1.0, 1.0, 2, tail=Tail.after_named(0.75, TAKEN[1], 9), ranked=2)
    assert found.survivors == (2, 2) and found.survives(2) is False and found.tail == (0.0, 0.0)
    assert found.probability(0).is_exact and found.probability(2) == (0.0, 0.0)


def test_a_top_p_of_one_cuts_nothing() -> None:
    """Not even what is less likely than the rounding of a sum."""
    logprobs = [math.log(1 - 1e-9), math.log(1e-9)]
    assert reshape_logprobs(logprobs, 1.0, 1.0).survivors == (2, 2)
    assert reshape_logprobs(logprobs, 1.0, 0.999).survivors == (1, 1)


@pytest.mark.parametrize("top_k", [0, 2, 3, 4])
@pytest.mark.parametrize("top_p", [0.3, 0.8, 0.9, 1.0])
def test_the_bounds_hold_for_a_taken_token_wherever_it_ranks(top_p: float, top_k: int) -> None:
    """Before, between and behind the unnamed ones."""
    for hidden in ((0.09, 0.09, 0.07), (0.2, 0.03, 0.02), (0.2, 0.05)):
        everything = sorted((0.5, 0.2, 0.05, *hidden), reverse=True)
        shares = drawn(everything, 1.0, top_p, top_k)
        by_share = dict(zip(everything, shares, strict=True))
        unnamed = Tail.after_named(0.75, TAKEN[1], len(hidden))
        found = reshape_logprobs(TAKEN, 1.0, top_p, top_k, tail=unnamed, ranked=2)
        if 0.05 in hidden or 0.2 in hidden:
            continue  # of two alike, either may be the one that is cut
        low, high = found.probability(2)
        assert low - 2e-4 <= by_share[0.05] <= high + 2e-4
        assert found.survivors[0] <= sum(by_share[share] > 0 for share in (0.5, 0.2, 0.05)) <= found.survivors[1]


def test_the_temperature_below_which_a_server_is_greedy() -> None:
    """At its edge all is computed; below it the most likely alone is left, or any of several alike."""
    greedy = reshape_logprobs(LOGPROBS, GREEDY_BELOW / 2)
    assert [greedy.probability(n) for n in range(3)] == [(1.0, 1.0), (0.0, 0.0), (0.0, 0.0)]
    assert greedy.survivors == (1, 1) and greedy.entropy == (0.0, 0.0)
    twins = reshape_logprobs([math.log(0.4), math.log(0.4), math.log(0.2)], 0.0)
    assert twins.survivors == (0, 2) and twins.probability(0) == (0.0, 1.0) == twins.probability(1)
    assert twins.probability(2) == (0.0, 0.0)
    near = [math.log(0.5), math.log(0.4999)]
    assert reshape_logprobs(near, GREEDY_BELOW).survivors == (2, 2)
    assert reshape_logprobs(near, GREEDY_BELOW * 0.999).survivors == (1, 1)


def test_the_share_of_the_unnamed_is_what_the_named_leave() -> None:
    """Before any cut, and at temperature 1 what is left of one."""
    low, high = reshape_logprobs(LOGPROBS, 1.0, tail=tail()).tail_share
    assert low <= 0.2 <= high and high - low < 1e-3
    assert reshape_logprobs(LOGPROBS, 2.0, tail=tail()).tail_share.high > 0.2
    assert Tail.after_named(1.0, -1.0, 0) is None and Tail.after_named(0.5, -9999.0, 5) is None
    small = Tail.after_named(0.5, -1000.0, 5)  # below the smallest number, and above nothing
    assert small is not None and small.weight(1.0, -1.0) == (0, 0)
    assert small.weight(500.0, -1.0) == (0, pytest.approx(5 * math.exp(-999 / 500)))
