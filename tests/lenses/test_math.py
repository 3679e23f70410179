"""Re-shaping against values computed by hand, at its limits, and with a tail that is hidden on purpose."""

from __future__ import annotations

import math
import random

import pytest

from chatglm_magic.errors import ParameterError
from chatglm_magic.lenses import Bounds, Tail, reshape_logprobs
from chatglm_magic.lenses.distribution import Distribution

from ..support.scale import choose_count

HALVES = [math.log(p) for p in (0.5, 0.25, 0.125, 0.125)]


def drawn(found: Distribution) -> list[float]:
    """Return exact probabilities; fail where one is a range."""
    ranges = [found.probability(place) for place in range(len(found.weights))]
    assert all(value.is_exact for value in ranges)
    return [value.low for value in ranges]


def test_nothing_changes_at_temperature_1_without_a_cut() -> None:
    """The model's own probabilities come back, with their entropy: 1.75 bits of 1/2, 1/4, 1/8, 1/8."""
    found = reshape_logprobs(HALVES)
    assert drawn(found) == pytest.approx([0.5, 0.25, 0.125, 0.125])
    assert found.entropy == pytest.approx((1.75, 1.75)) and found.survivors == (4, 4)
    assert found.tail == found.tail_share == (0, 0)


def test_a_temperature_raises_to_its_inverse() -> None:
    """At 0.5 the probabilities are squared: 16, 4, 1, 1 of 22; at 2 their roots stand in proportion."""
    assert drawn(reshape_logprobs(HALVES, 0.5)) == pytest.approx([16 / 22, 4 / 22, 1 / 22, 1 / 22])
    roots = [math.sqrt(p) for p in (0.5, 0.25, 0.125, 0.125)]
    assert drawn(reshape_logprobs(HALVES, 2.0)) == pytest.approx([root / sum(roots) for root in roots])


@pytest.mark.parametrize(
    ("top_p", "left"), [(0.0, 1), (0.3, 1), (0.49, 1), (0.51, 2), (0.74, 2), (0.76, 3), (0.9, 4), (1.0, 4)]
)
def test_top_p_keeps_the_smallest_set_that_reaches_it(top_p: float, left: int) -> None:
    """The token that reaches top_p is kept, what comes after it is not, and the rest is scaled up to 1."""
    found = reshape_logprobs(HALVES, 1.0, top_p)
    kept = (0.5, 0.25, 0.125, 0.125)[:left]
    assert found.survivors == (left, left)
    assert drawn(found) == pytest.approx([p / sum(kept) for p in kept] + [0.0] * (4 - left))
    assert [found.survives(place) for place in range(4)] == [True] * left + [False] * (4 - left)
    assert [found.share(place).low for place in range(4)] == pytest.approx([0.5, 0.25, 0.125, 0.125])


def test_the_cut_comes_after_the_temperature() -> None:
    """At temperature 0.5 the first has 16/22 = 0.73, so top_p 0.7 leaves it alone; at 1 it takes a second one."""
    assert reshape_logprobs(HALVES, 0.5, 0.7).survivors == (1, 1)
    assert reshape_logprobs(HALVES, 1.0, 0.7).survivors == (2, 2)
    assert reshape_logprobs(HALVES, 4.0, 0.7).survivors == (3, 3)


def test_top_k_comes_before_top_p() -> None:
    """Of the two that top_k leaves the first has 2/3, and top_p 0.6 then cuts the second."""
    assert drawn(reshape_logprobs(HALVES, 1.0, 1.0, 2)) == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert reshape_logprobs(HALVES, 1.0, 0.6, 2).survivors == (1, 1)
    assert reshape_logprobs(HALVES, 1.0, 0.6, 0).survivors == (2, 2)


def test_a_token_on_the_very_edge_is_uncertain() -> None:
    """Where the sum is top_p but for rounding, a server with 32-bit numbers may keep one more or not."""
    found = reshape_logprobs(HALVES, 1.0, 0.75)
    assert found.survivors == (2, 3) and found.survives(2) is None
    assert found.probability(0) == pytest.approx((0.5 / 0.875, 0.5 / 0.75))
    assert found.probability(2) == pytest.approx((0.0, 0.125 / 0.875))


def test_temperature_0_is_greedy() -> None:
    """One token is left whatever top_p says, as it is below the lowest temperature that servers tell from 0."""
    for temperature in (0.0, 0.0009):
        found = reshape_logprobs(HALVES, temperature, 0.9, tail=Tail.after_named(0.9, HALVES[-1], 10))
        assert drawn(found) == [1, 0, 0, 0] and found.entropy == (0, 0) and found.tail == (0, 0)
    tied = reshape_logprobs([math.log(0.4), math.log(0.4), math.log(0.2)], 0.0)
    assert tied.survivors == (0, 2) and tied.probability(0) == (0, 1) and tied.probability(2) == (0, 0)
    assert tied.entropy == (0, 0)


def test_extreme_settings_stay_finite() -> None:
    """Neither a temperature just above greedy, nor a huge one, nor a logarithm of -9999 overflows anything."""
    steep = [-1e-9, -40.0, -9999.0]
    assert drawn(reshape_logprobs(steep, 0.001)) == [1, 0, 0]
    flat = reshape_logprobs(steep, 1e9)
    assert drawn(flat) == pytest.approx([1 / 3] * 3, rel=1e-4)
    assert flat.entropy.low == pytest.approx(math.log2(3), rel=1e-4)
    hidden = reshape_logprobs(steep[:2], 1e9, 0.5, tail=Tail.after_named(1.0, -40.0, 262_142))
    assert 0 <= hidden.tail.low <= hidden.tail.high <= 1 and math.isfinite(hidden.entropy.high)


@pytest.mark.parametrize(
    "settings",
    [(-0.1, 1.0), (math.nan, 1.0), (math.inf, 1.0), (1.0, -0.1), (1.0, 1.1), (1.0, math.nan), (1, 1, -1)],
)
def test_settings_out_of_range_are_refused(settings: tuple[float, ...]) -> None:
    """The message names the parameter and its range."""
    with pytest.raises(ParameterError, match="must be"):
        reshape_logprobs(HALVES, *settings)  # type: ignore[arg-type]


def test_a_tail_makes_ranges_by_hand() -> None:
    """Half the mass unseen among at most two tokens, none above 1/4: each has just 1/4, and all is known."""
    tail = Tail.after_named(0.5, math.log(0.25), 2)
    assert tail is not None and tail.high == pytest.approx(0.5)
    found = reshape_logprobs([math.log(0.25)] * 2, 2.0, tail=tail)
    assert found.share(0) == pytest.approx((0.25, 0.25), abs=1e-4)
    assert found.entropy == pytest.approx((2.0, 2.0), abs=1e-3)
    wide = reshape_logprobs([math.log(0.25)] * 2, 2.0, tail=Tail.after_named(0.5, math.log(0.25), 50))
    # Spread over 50 tokens of 0.01 each: their roots sum up to 5, beside 2 * 0.5.
    assert wide.tail_share == pytest.approx((0.5, 5 / 6), abs=1e-4)
    assert wide.share(0) == pytest.approx((0.5 / 6, 0.25), abs=1e-4)


@pytest.mark.parametrize("top_k", [1, 2, 3, 4])
def test_a_top_k_among_the_named_ones_is_exact(top_k: int) -> None:
    """What is drawn from is known then, however much is not named: at any temperature, and with top_p after it."""
    tail = Tail.after_named(0.5, math.log(0.05), 100_000)
    logprobs = [math.log(p) for p in (0.2, 0.15, 0.1, 0.05)]
    for temperature in (0.3, 1.0, 5.0):
        found = reshape_logprobs(logprobs, temperature, 1.0, top_k, tail=tail)
        assert drawn(found) == pytest.approx(drawn(reshape_logprobs(logprobs, temperature, 1.0, top_k)))
        assert found.survivors == (top_k, top_k) and found.tail == (0, 0) and found.entropy.is_exact
        assert found.tail_share == reshape_logprobs(logprobs, temperature, tail=tail).tail_share


def test_what_lies_above_the_tail_is_exact() -> None:
    """At temperature 1 the unseen mass is known, so a top_p below what is named cuts exactly."""
    tail = Tail.after_named(0.75, HALVES[1], 100_000)
    found = reshape_logprobs(HALVES[:2], 1.0, 0.7, tail=tail)
    assert found.survivors == (2, 2) and found.tail == (0, 0)
    assert drawn(found) == pytest.approx([2 / 3, 1 / 3])
    assert not found.share(0).is_exact and found.share(0) == pytest.approx((0.5, 0.5), abs=1e-4)


def vocabulary(chance: random.Random) -> list[float]:
    """Return the logarithms of a made-up model's 500 probabilities, peaked or flat."""
    raw = [chance.gauss(0, chance.choice([0.5, 1.5, 4])) for _ in range(500)]
    total = math.log(math.fsum(map(math.exp, raw)))
    return sorted((value - total for value in raw), reverse=True)


@pytest.mark.parametrize("seed", range(choose_count(20, 60)))
def test_ranges_contain_the_exact_figures(seed: int) -> None:
    """With all but a few tokens hidden, every figure's range holds what the whole vocabulary gives."""
    chance = random.Random(seed)
    whole = vocabulary(chance)
    named = chance.choice([1, 2, 5, 20, 100])
    places = [*range(named), *([chance.randrange(named, 500)] if seed % 2 else [])]  # and one of unknown rank
    seen = [whole[place] for place in places]
    count = chance.choice([500, 262_144]) - len(places)
    tail = Tail.after_named(math.fsum(map(math.exp, seen)), whole[named - 1], count)
    for temperature in (0.0, 0.05, 0.5, 1.0, 1.5, 3.0, 20.0):
        for top_p in (0.0, 0.2, 0.7, 0.95, 1.0):
            for top_k in (0, 1, 3, 50):
                exact = reshape_logprobs(whole, temperature, top_p, top_k)
                found = reshape_logprobs(seen, temperature, top_p, top_k, tail=tail, ranked=named)
                _compare(exact, found, places)


def _compare(exact: Distribution, found: Distribution, places: list[int]) -> None:
    def holds(outer: Bounds, inner: Bounds) -> bool:
        return outer.low - 1e-7 <= inner.low and inner.high <= outer.high + 1e-7

    hidden = [place for place in range(500) if place not in set(places)]
    for at, place in enumerate(places):
        assert holds(found.share(at), exact.share(place))
        assert holds(found.probability(at), exact.probability(place))
        assert found.survives(at) in (None, exact.survives(place)) or exact.survives(place) is None
    assert holds(found.entropy, exact.entropy)
    assert 0 <= found.tail_share.low <= found.tail_share.high <= 1
    unseen = math.fsum(exact.share(place).low for place in hidden)
    assert holds(found.tail_share, Bounds(unseen, unseen))
    if exact.min_kept == exact.max_kept:
        unseen = math.fsum(exact.probability(place).low for place in hidden)
        assert holds(found.tail, Bounds(unseen, unseen))


def test_ranges_are_no_wider_than_they_must_be() -> None:
    """At temperature 1 twenty tokens of five hundred leave each figure known to a thousandth."""
    whole = vocabulary(random.Random(7))
    tail = Tail.after_named(math.fsum(map(math.exp, whole[:20])), whole[19], 480)
    found = reshape_logprobs(whole[:20], tail=tail)
    assert all(found.share(place).high - found.share(place).low < 1e-3 for place in range(20))
    assert found.tail_share.high - found.tail_share.low < 1e-3
    warm = reshape_logprobs(whole[:20], 2.0, tail=tail)
    assert not warm.share(0).is_exact and warm.share(0).low > 0


@pytest.mark.parametrize(
    "settings", [("1", 1, 0), (1, "1", 0), (1, 1, "1"), (10**400, 1, 0), (1, 1, 10**400), (1, True, 0)]
)
def test_what_is_no_number_is_refused_as_such(settings: tuple[float, float, int]) -> None:
    """With the parameter's name."""
    with pytest.raises(ParameterError, match="must be a"):
        reshape_logprobs(HALVES, *settings)
