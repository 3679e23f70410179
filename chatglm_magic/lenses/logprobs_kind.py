"""The kind of a server's probabilities: the model's own, or those after the temperature.

vLLM and llama.cpp return the model's own; SGLang by default those after the temperature, and vLLM with
``--logprobs-mode processed_logprobs`` those after the cuts too. Two requests for one token at two temperatures
distinguish them: raw probabilities are the same, tempered ones differ.
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
PROBE_TEMPERATURE, PROBE_TOP_P = 0.5, 0.2
"""A temperature that every server accepts and that changes tempered probabilities, and a top_p that cuts most of
them."""

PROBE_CANDIDATES = 5
RATIO_TOLERANCE = 0.1
"""Tolerance for a ratio of two log-probabilities: servers that batch requests round differently."""

RAW_OWNERS = ("llamacpp", "library")
"""``owned_by`` in the model list of servers that always return the model's own: llama.cpp and Ollama."""

_kinds_by_session: WeakKeyDictionary[Session, dict[tuple[str, str | None], ProbedKind]] = WeakKeyDictionary()


def check_logprobs_option(option: object) -> None:
    """Check the ``logprobs`` option of a lens.

    :raises ParameterError: for any other value.
    """
    if option not in get_args(LogprobsOption):
        raise ParameterError(f"logprobs must be auto, raw or tempered, not {option!r:.40}.")


def determine_kind(
    turn: Turn, option: LogprobsOption, session: Session, options: Mapping[str, Any]
) -> LogprobsKind:
    """Return the kind of an answer's probabilities; each model of a server is probed once.

    :param options: the options of the lens' request; those that select another server apply to the probe, too.
    """
    probed: ProbedKind = option if option != "auto" else _probe_once(turn, session, options)
    temperature = turn.sent.get("temperature")
    if probed == "raw":
        return "raw"
    accepted = not any(change.name == "temperature" for change in turn.changed)
    if probed == "unknown" or temperature is None or not accepted:  # the server's temperature isn't known
        return "unknown"
    if 0 < temperature < GREEDY_BELOW:  # greedy to some servers, and nearly so to others
        return "unknown"
    if probed == "processed" and not _is_uncut(turn.sent):
        return "unknown"
    return "tempered"


def _is_uncut(sent: Mapping[str, Any]) -> bool:
    """Return whether nothing was cut from the probabilities; server defaults may cut."""
    return sent.get("top_p") == 1 and sent.get("top_k", 0) in (0, -1) and sent.get("min_p", 0) == 0


def _probe_once(turn: Turn, session: Session, options: Mapping[str, Any]) -> ProbedKind:
    known = _kinds_by_session.setdefault(session, {})
    key = turn.endpoint, turn.model
    if key in known:
        return known[key]
    try:
        known[key] = _probe_kind(session, options)
    except ChatGLMError:  # a server that is busy now may answer the next time
        return "unknown"
    return known[key]


def _probe_kind(session: Session, options: Mapping[str, Any]) -> ProbedKind:
    """Probe the kind of a server's probabilities.

    :raises ChatGLMError: if it doesn't answer.
    """
    server = {name: options[name] for name in ("endpoint_url", "dialect", "model") if name in options}
    if session.llm.tape is None and session.probe(**server).owner in RAW_OWNERS:
        return "raw"
    plain, warm = (_first_token(session, server, temperature=t, top_p=1.0) for t in (1.0, PROBE_TEMPERATURE))
    ratio = measure_logprob_slope(plain, warm)
    if ratio is None:
        return "unknown"
    if abs(ratio - 1) < RATIO_TOLERANCE:
        return "raw"
    if abs(ratio - 1 / PROBE_TEMPERATURE) > RATIO_TOLERANCE / PROBE_TEMPERATURE:
        return "unknown"
    cut = _first_token(session, server, temperature=1.0, top_p=PROBE_TOP_P)
    return "tempered" if _is_alike(plain, cut) else "processed"


def _first_token(session: Session, server: dict[str, Any], **sampling: float) -> dict[str, float]:
    """Request one token; return the log-probabilities of the most likely candidates, by their text.

    The result is empty if the server used another temperature.
    """
    options: dict[str, Any] = {"max_token": 1, "logprobs": True, "top_logprobs": PROBE_CANDIDATES}
    plan = session.llm.plan(PROBE_PROMPT, **server | options | sampling, history=[], with_history=False)
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
    """Return whether top_p left the probabilities unchanged; otherwise the kept ones would be larger."""
    return plain.keys() <= other.keys() and all(
        abs(plain[token] - other[token]) < RATIO_TOLERANCE for token in plain
    )
