"""The recorded request closest to one that isn't on a tape, and how the two differ."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..parameters import canonical_name
from ..wire.body import sanitize_line
from .entry import TapeEntry, body_parameters, escape_json_text, request_texts

ABSENT = "not set"
MAX_COMPARED_PROMPTS = 20
"""How many of the closest entries have their prompts compared by text."""

MAX_DIFFERENCES = 4
"""How many differences a message names."""

MAX_COMPARABLE = 1e300

MAX_EXCERPT_CHARS = 40


def describe_closest(request: Mapping[str, Any], sample: int, tape: Iterable[TapeEntry]) -> list[str] | None:
    """Describe how a request differs from the closest one on a tape; return None for an empty tape."""
    asked = _comparable(request, sample)
    ranked = [(_distance(_comparable(entry.request, entry.sample), asked), entry) for entry in tape]
    ranked.sort(key=lambda item: item[0])
    if not ranked:
        return None

    def distance_with_prompt(item: tuple[float, TapeEntry]) -> float:
        prompt = request_texts(item[1].request).prompt[:500]
        likeness = difflib.SequenceMatcher(None, prompt, asked["prompt"][:500], autojunk=False).ratio()
        return item[0] - likeness / 2

    closest = min(ranked[:MAX_COMPARED_PROMPTS], key=distance_with_prompt)[1]
    return list(_describe(_comparable(closest.request, closest.sample), asked))


def join_differences(differences: list[str]) -> str:
    """Return differences as one line."""
    remaining = len(differences) - MAX_DIFFERENCES
    more = [f"{remaining} more"] if remaining > 0 else []
    return "; ".join(differences[:MAX_DIFFERENCES] + more)


def _comparable(request: Mapping[str, Any], sample: int) -> dict[str, Any]:
    """Return a request's parts by the names that users know."""
    texts = request_texts(request)
    parameters = {canonical_name(key): value for key, value in body_parameters(request).items()}
    parts = {"system": texts.system, "stop here": request.get("stop"), **parameters}
    return {
        **{name: value for name, value in parts.items() if value is not None},
        "dialect": request["dialect"],
        "prompt": texts.prompt,
        "conversation": texts.history,
        "sample": sample,
    }


def _distance(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> float:
    weights = {"prompt": 2.0, "conversation": 1.5, "dialect": 3.0, "sample": 0.4}
    return sum(
        weights.get(name, 1.0) + _number_distance(recorded.get(name), asked.get(name))
        for name in _names(recorded, asked)
        if recorded.get(name) != asked.get(name)
    )


def _number_distance(one: Any, other: Any) -> float:
    """Return how far two numbers are apart, below 0.2; 0 for other values."""
    if type(one) in (int, float) and type(other) in (int, float) and max(abs(one), abs(other)) < MAX_COMPARABLE:
        return float(0.2 * abs(one - other) / (abs(one) + abs(other) + 1e-9))
    return 0.0


def _names(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*asked, *recorded]))


def _describe(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    for name in _names(recorded, asked):
        old, new = recorded.get(name, ABSENT), asked.get(name, ABSENT)
        if old == new:
            continue
        if name == "conversation":
            note = "" if len(old) != len(new) else ", in other words"
            yield f"conversation before it: recorded {len(old)} messages, requested {len(new)}{note}"
        elif isinstance(old, str) and isinstance(new, str) and ABSENT not in (old, new):
            old, new = _excerpts(old, new)
            yield f"{sanitize_line(name, MAX_EXCERPT_CHARS)}: recorded {old}, requested {new}"
        else:
            yield f"{sanitize_line(name, MAX_EXCERPT_CHARS)}: recorded {_format(old)}, requested {_format(new)}"


def _excerpts(one: str, other: str) -> tuple[str, str]:
    """Return the beginnings of two texts, or the parts around their first difference if that is further on."""
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = same - MAX_EXCERPT_CHARS // 4 if same > MAX_EXCERPT_CHARS // 2 else 0
    return _excerpt(one, start), _excerpt(other, start)


def _excerpt(text: str, start: int) -> str:
    end = start + MAX_EXCERPT_CHARS
    part = "…" * (start > 0) + text[start:end] + "…" * (end < len(text))
    return escape_json_text(json.dumps(part, ensure_ascii=False))


def _format(value: Any) -> str:
    return (
        value if value == ABSENT else sanitize_line(json.dumps(value, ensure_ascii=False), 2 * MAX_EXCERPT_CHARS)
    )
