"""Whose probabilities a server tells: the model's own, or what a temperature has made of them already.

vLLM and llama.cpp give the model's own; SGLang gives them after the temperature unless it is told otherwise, and
vLLM with ``--logprobs-mode processed_logprobs`` after the cuts too. Two requests for one token at two temperatures
tell them apart: raw ones are alike, tempered ones are not.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, get_args
from weakref import WeakKeyDictionary

from ..errors import ChatGLMError, ParameterError
from ..session.verdicts import slope
from ..values import Odds, Turn

if TYPE_CHECKING:
    from ..session import Session

LogprobsKind = Literal["raw", "tempered", "unknown"]
Wish = Literal["auto", "raw", "tempered"]
Probed = Literal["raw", "tempered", "processed", "unknown"]

PROMPT = "Name any colour."
HOT, CUT = 2.0, 0.2
"""A temperature at which tempered probabilities differ from those at 1, and a top_p that cuts most of them."""

TOP = 5
ALIKE = 0.1
"""How far a ratio of two logarithms may be off: servers that compute many requests at once round differently."""

RAW_OWNERS = ("llamacpp", "library")
"""Who owns the models of servers that always give the model's own, as they list them: llama.cpp and Ollama."""

_KINDS: WeakKeyDictionary[Session, dict[tuple[str, str | None], Probed]] = WeakKeyDictionary()


def check_wish(wish: object) -> None:
    """Refuse what isn't a wish.

    :raises ParameterError: which says what there is.
    """
    if wish not in get_args(Wish):
        raise ParameterError(f"logprobs must be auto, raw or tempered, not {wish!r:.40}.")


def kind_of(turn: Turn, wish: Wish, session: Session, options: Mapping[str, Any]) -> LogprobsKind:
    """Return the kind of the probabilities of an answer; asks the server once for each model, and remembers.

    :param options: of the lens' own request; those that lead to another server go along.
    """
    probed: Probed = wish if wish != "auto" else _remembered(turn, session, options)
    temperature = turn.sent.get("temperature")
    if probed == "raw":
        return "raw"
    if probed == "unknown" or temperature is None:  # which temperature the server took can't be known
        return "unknown"
    if probed == "processed" and not _uncut(turn.sent):
        return "unknown"
    return "tempered"


def _uncut(sent: Mapping[str, Any]) -> bool:
    """Tell whether nothing was cut from the probabilities: what was left to the server may have been."""
    return sent.get("top_p") == 1 and sent.get("top_k", 0) in (0, -1) and sent.get("min_p", 0) == 0


def _remembered(turn: Turn, session: Session, options: Mapping[str, Any]) -> Probed:
    known = _KINDS.setdefault(session, {})
    place = turn.endpoint, turn.model
    if place not in known:
        known[place] = _find_out(session, options)
    return known[place]


def _find_out(session: Session, options: Mapping[str, Any]) -> Probed:
    there = {name: options[name] for name in ("endpoint_url", "dialect", "model") if name in options}
    if session.llm.tape is None and session.probe(**there).owner in RAW_OWNERS:
        return "raw"
    try:
        plain, hot = (_first_token(session, there, temperature=t, top_p=1.0) for t in (1.0, HOT))
        found = slope(plain, hot)
        if found is None:
            return "unknown"
        if abs(found - 1) < ALIKE:
            return "raw"
        if abs(found - 1 / HOT) > ALIKE / HOT:
            return "unknown"
        cut = _first_token(session, there, temperature=1.0, top_p=CUT)
        return "tempered" if _is_alike(plain, cut) else "processed"
    except ChatGLMError:
        return "unknown"


def _first_token(session: Session, there: dict[str, Any], **sampling: float) -> dict[str, float]:
    """Return the logarithms of the likeliest tokens that an answer could begin with, by their text."""
    options: dict[str, Any] = {
        "max_token": 1,
        "logprobs": True,
        "top_logprobs": TOP,
        "history": [],
        "with_history": False,
    }
    plan = session.llm.plan(PROMPT, **there | options | sampling)
    odds: list[Odds] = []
    with closing(session.llm.stream_plan(plan)) as chunks:  # type: ignore[type-var]
        for chunk in chunks:
            odds += (chunk.generation_info or {}).get("logprobs") or ()
    return {candidate.token: candidate.logprob for candidate in odds[0].top} if odds else {}


def _is_alike(plain: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Tell whether a cut left the probabilities as they were: what is kept of them would have grown."""
    return plain.keys() <= other.keys() and all(abs(plain[token] - other[token]) < ALIKE for token in plain)
