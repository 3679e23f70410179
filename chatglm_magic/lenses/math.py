"""What temperature, top_k and top_p make of a server's probabilities: its own chain, in its order. Pure.

The order is Hugging Face's and ChatGLM's: the temperature divides the logits, top_k keeps the likeliest, top_p the
smallest set of these whose mass reaches it (the token that reaches it is kept). So it is in vLLM and in what
``%chatglm_serve`` starts; llama.cpp by itself has min_p on and its temperature last, unless told otherwise.
Servers compute with 32-bit numbers, so a token on the very edge may fall to either side: it counts as uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from ..errors import ParameterError
from .distribution import NOTHING, Distribution, Ranked
from .tail import LARGEST, Range, Tail

GREEDY_BELOW = 0.001
"""Temperatures under this are 0: servers take the likeliest token then."""


def reshaped(
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
        likeliest first; they need not add up to 1, where ``tail`` is None they are all there are.
    :param temperature: 0 (always the likeliest) and up.
    :param top_p: 0 (one token) to 1 (no cut).
    :param top_k: how many are kept; 0 for all.
    :param tail: what is known of the tokens that are not among the candidates.
    :param ranked: how many of the candidates are certainly the likeliest, at least 1; all of them unless given.
    :raises ParameterError: for values out of these ranges.
    """
    check(temperature, top_p, top_k)
    named = len(logprobs) if ranked is None else ranked
    top = logprobs[0]
    if temperature < GREEDY_BELOW:
        return _greedy(logprobs, temperature, top_p, top_k, named)
    weights = [math.exp((logprob - top) / temperature) for logprob in logprobs]
    unseen = tail.weight(temperature, top) if tail is not None else NOTHING
    seen = math.fsum(weights)
    total = Range(seen + unseen.low, seen + unseen.high)
    likeliest = _likeliest(weights, named, top_k, tail, unseen, temperature, top)
    return Distribution(temperature, top_p, top_k, weights, total, unseen, likeliest, *likeliest.cut(top_p))


def _likeliest(
    weights: list[float],
    named: int,
    top_k: int,
    tail: Tail | None,
    unseen: Range,
    temperature: float,
    top: float,
) -> Ranked:
    """Return what top_k leaves for top_p to choose from."""
    if 0 < top_k <= named:
        return Ranked(list(accumulate(weights[:top_k])), weights[top_k - 1])
    extra, behind = sum(weights[named:]), len(weights) - named + (tail.count if tail is not None else 0)
    if top_k and tail is not None:
        behind = min(behind, top_k - named)
        high = tail.cut(behind).weight(temperature, top).high + extra
        low = tail.cut(behind).weight(temperature, top).low if not extra else 0.0
        rest = Range(low, high)
    else:
        rest = Range(unseen.low + extra, unseen.high + extra)
    return Ranked(list(accumulate(weights[:named])), weights[named - 1], rest, extra, behind)


def check(temperature: float, top_p: float, top_k: int = 0) -> None:
    """Refuse settings that make no sense.

    :raises ParameterError: which says what the ranges are.
    """
    for name, value in (("temperature", temperature), ("top_p", top_p), ("top_k", top_k)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ParameterError(f"{name} must be a number, not {value!r}.")
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ParameterError(f"{name} must be a smaller number.")  # no float could hold it
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ParameterError(f"temperature must be a number from 0 on, not {temperature}.")
    if not 0 <= top_p <= 1:
        raise ParameterError(f"top_p must be between 0 and 1, not {top_p}.")
    if top_k < 0:
        raise ParameterError(f"top_k must be a number from 0 (off) on, not {top_k}.")


def _greedy(logprobs: Sequence[float], temperature: float, top_p: float, top_k: int, named: int) -> Distribution:
    """Return the likeliest token alone; of several that are alike any may be meant."""
    alike = sum(logprob == logprobs[0] for logprob in logprobs[:named])
    weights = [1.0] * alike + [0.0] * (len(logprobs) - alike)
    likeliest = Ranked(list(accumulate(weights[:named])), weights[named - 1])
    total, kept = Range(float(alike), float(alike)), Range(1.0, 1.0)
    sure = 1 if alike == 1 else 0
    return Distribution(
        temperature, top_p, top_k, weights, total, NOTHING, likeliest, sure, alike, kept, False, False
    )
