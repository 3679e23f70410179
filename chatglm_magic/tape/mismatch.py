"""The recorded request that is most like one that isn't on a tape, and in what they differ."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..parameters import canonical_name
from ..wire.body import shown
from .entry import TapeEntry, escaped, parameters, spoken

ABSENT = "not set"
LOOKED_AT = 20
"""How many of the nearest questions are compared word by word."""

TOLD = 4
"""How many differences are named."""

HUGE = 1e300

SHOWN = 40
"""Characters of a text that are shown."""


def nearest(request: Mapping[str, Any], sample: int, tape: Iterable[TapeEntry]) -> list[str] | None:
    """Return how the recorded question that differs least does differ, in words; None for an empty tape."""
    asked = _view(request, sample)
    found = [(_distance(_view(other.request, other.sample), asked), other) for other in tape]
    found.sort(key=lambda item: item[0])
    if not found:
        return None

    def closely(item: tuple[float, TapeEntry]) -> float:
        theirs = spoken(item[1].request).prompt[:500]
        likeness = difflib.SequenceMatcher(None, theirs, asked["prompt"][:500], autojunk=False).ratio()
        return item[0] - likeness / 2

    best = min(found[:LOOKED_AT], key=closely)[1]
    return list(_told(_view(best.request, best.sample), asked))


def in_words(differences: list[str]) -> str:
    """Return differences as one line."""
    more = [f"{len(differences) - TOLD} more"] if len(differences) > TOLD else []
    return "; ".join(differences[:TOLD] + more)


def _view(request: Mapping[str, Any], sample: int) -> dict[str, Any]:
    """Return a question's parts by the names people know."""
    words = spoken(request)
    own = {canonical_name(key): value for key, value in parameters(request).items()}
    parts = {"system": words.system, "stop here": request.get("stop"), **own}
    return {
        **{name: value for name, value in parts.items() if value is not None},
        "dialect": request["dialect"],
        "prompt": words.prompt,
        "conversation": words.history,
        "sample": sample,
    }


def _distance(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> float:
    weights = {"prompt": 2.0, "conversation": 1.5, "dialect": 3.0, "sample": 0.4}
    return sum(
        weights.get(name, 1.0) + _apart(recorded.get(name), asked.get(name))
        for name in _names(recorded, asked)
        if recorded.get(name) != asked.get(name)
    )


def _apart(one: Any, other: Any) -> float:
    """Return how far two values are from each other, below 0.2; nothing where that has no meaning."""
    if type(one) in (int, float) and type(other) in (int, float) and max(abs(one), abs(other)) < HUGE:
        return float(0.2 * abs(one - other) / (abs(one) + abs(other) + 1e-9))
    return 0.0


def _names(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*asked, *recorded]))


def _told(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterable[str]:
    for name in _names(recorded, asked):
        theirs, ours = recorded.get(name, ABSENT), asked.get(name, ABSENT)
        if theirs == ours:
            continue
        if name == "conversation":
            count = len(theirs), len(ours)
            what = "" if count[0] != count[1] else ", in other words"
            yield f"conversation before it: recorded {count[0]} messages, asked {count[1]}{what}"
        elif isinstance(theirs, str) and isinstance(ours, str) and ABSENT not in (theirs, ours):
            yield "{}: recorded {}, asked {}".format(shown(name, SHOWN), *_beginnings(theirs, ours))
        else:
            yield f"{shown(name, SHOWN)}: recorded {_value(theirs)}, asked {_value(ours)}"


def _beginnings(one: str, other: str) -> tuple[str, str]:
    """Return how two texts begin; from where they part, if that is further on."""
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    start = same - SHOWN // 4 if same > SHOWN // 2 else 0
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    part = text[start : start + SHOWN]
    return escaped(json.dumps("…" * (start > 0) + part + "…" * (start + SHOWN < len(text)), ensure_ascii=False))


def _value(value: Any) -> str:
    return value if value == ABSENT else shown(json.dumps(value, ensure_ascii=False), 2 * SHOWN)
