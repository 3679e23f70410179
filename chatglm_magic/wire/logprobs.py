"""Token probabilities in OpenAI's shape, made into values: servers fill it in in their own ways.

llama.cpp gives each token's ``id`` and its true ``bytes``, also for a part of a character, whose ``token`` is then
empty or a replacement character. vLLM gives the taken token beside the likeliest ones, no ids, and for a part of a
character the bytes of the replacement character. Either leaves out what has no probability, or says -9999.
"""

from __future__ import annotations

from typing import Any

from ..values import Candidate, Odds

LEAST = -1e4
"""The smallest logarithm that is kept: less is as impossible, and ``-inf`` is no JSON."""

DIGITS = 7
"""After the point: as exact as the 32-bit numbers that servers compute with."""


def odds_of(found: Any) -> tuple[Odds, ...]:
    """Return the odds of the tokens in a choice's ``logprobs``; what has another shape is left out."""
    content = found.get("content") if isinstance(found, dict) else None
    if not isinstance(content, list):
        return ()
    places = []
    for item in content:
        taken = _candidate(item)
        if taken is not None:
            top = item.get("top_logprobs")
            listed = map(_candidate, top) if isinstance(top, list) else ()
            places.append(Odds(taken, tuple(candidate for candidate in listed if candidate is not None)))
    return tuple(places)


def _candidate(item: Any) -> Candidate | None:
    if not isinstance(item, dict):
        return None
    token, logprob, number = item.get("token"), item.get("logprob"), item.get("id")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    if logprob != logprob:  # not isnan, which fails for a whole number that no float can hold
        return None
    value = round(float(min(0.0, max(LEAST, logprob))), DIGITS)
    number = number if isinstance(number, int) and not isinstance(number, bool) else None
    return Candidate(token, value, number, _raw(item.get("bytes"), token))


def _raw(given: Any, token: str) -> str | None:
    """Return a token's bytes in hexadecimal where they are not those of its text."""
    if not isinstance(given, list):
        return None
    try:
        found = bytes(given)
    except (TypeError, ValueError):
        return None
    return None if found == token.encode(errors="surrogatepass") else found.hex()
