"""One turn from JSON: every key must be known, every value of its type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, get_args

from ..values import Kind, Status, Turn


class Wrong(Exception):
    """Something in a file that is not as it must be; the message says what."""


def turn_from(data: Mapping[str, Any]) -> Turn:
    """Return the turn that an object describes.

    :raises Wrong: for an unknown or missing key, or a value of another type.
    """
    for key, value in data.items():
        if key not in CHECKS:
            raise Wrong(f"there is no key {key!r} in a turn")
        right, what = CHECKS[key]
        if not right(value):
            raise Wrong(f"{key} must be {what}")
    if "prompt" not in data:
        raise Wrong("a turn must have a prompt")
    return Turn.from_json(data)


Check = tuple[Callable[[Any], bool], str]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check[0](value), f"{check[1]} or null"


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return not value or bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def _hex(digits: int) -> Check:
    form = re.compile(f"([0-9a-f]{{{digits}}})?")
    return lambda value: isinstance(value, str) and bool(form.fullmatch(value)), f"{digits} hex digits"


def _one_of(names: tuple[str, ...]) -> Check:
    return lambda value: isinstance(value, str) and value in names, f"one of {', '.join(names)}"


TEXT: Check = (_text, "a text")
OBJECT: Check = (lambda value: isinstance(value, dict), "an object")
COUNT: Check = (_count, "a whole number from 0")
SECONDS: Check = (_seconds, "a number of seconds")

CHECKS: dict[str, Check] = {
    "prompt": TEXT,
    "answer": TEXT,
    "reasoning": TEXT,
    "status": _one_of(get_args(Status)),
    "endpoint": TEXT,
    "dialect": TEXT,
    "model": _or_none(TEXT),
    "system": _or_none(TEXT),
    "asked": OBJECT,
    "sent": OBJECT,
    "changed": (lambda value: isinstance(value, list) and all(map(_text, value)), "a list of texts"),
    "turns_sent": COUNT,
    "turns_left_out": COUNT,
    "finish_reason": _or_none(TEXT),
    "usage": OBJECT,
    "first_token": _or_none(SECONDS),
    "duration": _or_none(SECONDS),
    "created": (_time, "an ISO 8601 time"),
    "error": _or_none(TEXT),
    "kind": _one_of(get_args(Kind)),
    "cell_id": _or_none(TEXT),
    "cell_run": COUNT,
    "outside": (lambda value: isinstance(value, bool), "true or false"),
    "version": TEXT,
    "id": _hex(32),
    "conversation": _hex(12),
}
