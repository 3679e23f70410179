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
from ..session.verdicts import measure_logprob_slope
from ..values import TokenLogprobs, Turn
from .distribution import GREEDY_BELOW

if TYPE_CHECKING:
    from ..session import Session

LogprobsKind = Literal["raw", "tempered", "unknown"]
LogprobsOption = Literal["auto", "raw", "tempered"]
ProbedKind = Literal["raw", "tempered", "processed", "unknown"]

PROBE_PROMPT = "Name any colour."
WARM, CUT = 0.5, 0.2
"""A temperature that every server takes, at which tempered probabilities differ from those at 1, and a top_p that
cuts most of them."""

PROBE_CANDIDATES = 5
RATIO_TOLERANCE = 0.1
"""How far a ratio of two logarithms may be off: servers that compute many requests at once round differently."""

RAW_OWNERS = ("llamacpp", "library")
"""Who owns the models of servers that always give the model's own, as they list them: llama.cpp and Ollama."""

_kinds_by_session: WeakKeyDictionary[Session, dict[tuple[str, str | None], ProbedKind]] = WeakKeyDictionary()


def check_logprobs_option(wish: object) -> None:
    """Refuse what isn't a wish.

    :raises ParameterError: which says what there is.
    """
    if wish not in get_args(LogprobsOption):
        raise ParameterError(f"logprobs must be auto, raw or tempered, not {wish!r:.40}.")


def determine_kind(turn: Turn, wish: LogprobsOption, session: Session, options: Mapping[str, Any]) -> LogprobsKind:
    """Return the kind of the probabilities of an answer; asks the server once for each model, and remembers.

    :param options: of the lens' own request; those that lead to another server go along.
    """
    probed: ProbedKind = wish if wish != "auto" else _probe_once(turn, session, options)
    temperature = turn.sent.get("temperature")
    if probed == "raw":
        return "raw"
    taken = not any(change.name == "temperature" for change in turn.changed)
    if probed == "unknown" or temperature is None or not taken:  # which one the server took can't be known
        return "unknown"
    if 0 < temperature < GREEDY_BELOW:  # greedy to some servers, and nearly so to others
        return "unknown"
    if probed == "processed" and not _is_uncut(turn.sent):
        return "unknown"
    return "tempered"


def _is_uncut(sent: Mapping[str, Any]) -> bool:
    """Tell whether nothing was cut from the probabilities: what was left to the server may have been."""
    return sent.get("top_p") == 1 and sent.get("top_k", 0) in (0, -1) and sent.get("min_p", 0) == 0


def _probe_once(turn: Turn, session: Session, options: Mapping[str, Any]) -> ProbedKind:
    known = _kinds_by_session.setdefault(session, {})
    place = turn.endpoint, turn.model
    if place in known:
        return known[place]
    try:
        known[place] = _probe_kind(session, options)
    except ChatGLMError:  # a server that is busy now may tell the next time
        return "unknown"
    return known[place]


def _probe_kind(session: Session, options: Mapping[str, Any]) -> ProbedKind:
    """Return whose probabilities a server tells.

    :raises ChatGLMError: if it doesn't answer.
    """
    there = {name: options[name] for name in ("endpoint_url", "dialect", "model") if name in options}
    if session.llm.tape is None and session.probe(**there).owner in RAW_OWNERS:
        return "raw"
    plain, warm = (_first_token(session, there, temperature=t, top_p=1.0) for t in (1.0, WARM))
    found = measure_logprob_slope(plain, warm)
    if found is None:
        return "unknown"
    if abs(found - 1) < RATIO_TOLERANCE:
        return "raw"
    if abs(found - 1 / WARM) > RATIO_TOLERANCE / WARM:
        return "unknown"
    cut = _first_token(session, there, temperature=1.0, top_p=CUT)
    return "tempered" if _is_alike(plain, cut) else "processed"


def _first_token(session: Session, there: dict[str, Any], **sampling: float) -> dict[str, float]:
    """Return the logarithms of the most likely tokens that an answer could begin with, by their text.

    None of them where the server took another temperature than it was asked for.
    """
    options: dict[str, Any] = {"max_token": 1, "logprobs": True, "top_logprobs": PROBE_CANDIDATES}
    plan = session.llm.plan(PROBE_PROMPT, **there | options | sampling, history=[], with_history=False)
    odds: list[TokenLogprobs] = []
    changed: set[str] = set()
    with closing(session.llm.stream_plan(plan)) as chunks:  # type: ignore[type-var]
        for chunk in chunks:
            info = chunk.generation_info or {}
            odds += info.get("logprobs") or ()
            changed |= {change.name for change in info.get("changed") or ()}
    if not odds or "temperature" in changed:
        return {}
    return {candidate.token: candidate.logprob for candidate in odds[0].top}


def _is_alike(plain: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Tell whether a cut left the probabilities as they were: what is kept of them would have grown."""
    return plain.keys() <= other.keys() and all(
        abs(plain[token] - other[token]) < RATIO_TOLERANCE for token in plain
    )
