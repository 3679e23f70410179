"""Checks the values of a request: wrong kinds are refused, absurd sizes brought into range and noted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ..strictjson import strict_json


async def read_json(request: web.Request) -> Any:
    """Return the request's JSON. Raises BadField where it is none, NaN, Infinity and a name twice included."""
    data = await request.read()
    try:
        return strict_json(data.decode())
    except json.JSONDecodeError as error:
        raise BadField((error.pos,), f"JSON decode error: {error.msg}", None, "json_invalid") from error
    except (ValueError, RecursionError) as error:  # bad UTF-8, 10 000 digits, 100 000 levels
        raise BadField((), f"JSON decode error: {error}", None, "json_invalid") from error


CHANGED_HEADER = "X-ChatGLM-Changed"
GREEDY_BELOW = 0.001
"""Temperatures under this are 0: their logits would overflow a 32-bit float."""
MAX_TEMPERATURE = 100.0
MIN_TOP_P = 0.01
_SEED_COUNT = 2**32 - 1  # this last value means "random" to llama.cpp

Json = dict[str, Any]


class BadField(ValueError):
    """One field of a request is wrong. `str()` is a sentence about it."""

    def __init__(
        self, where: tuple[str | int, ...], message: str, value: object = None, kind: str = "value_error"
    ):
        super().__init__(message)
        self.where, self.message, self.value, self.kind = where, message, value, kind

    @property
    def name(self) -> str:
        """The field's place in words: `history[0][1]`."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.where).lstrip(".")


class Changes:
    """What the front changed in a request, for the header `X-ChatGLM-Changed`."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def note(self, name: str, was: object, now: object) -> None:
        """Record that `name` was `was` and is sent as `now`."""
        self._notes.append(f"{_shorten(name)}={_shorten(was)}->{_shorten(now)}")

    def headers(self) -> dict[str, str]:
        """Return the header, ASCII, at most about 1 kB; nothing when nothing was changed."""
        return {CHANGED_HEADER: "; ".join(self._notes[:12])} if self._notes else {}


def _shorten(value: object) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except (RecursionError, ValueError):  # too deep, or a number of too many digits
        text = type(value).__name__
    return text[:40].replace(";", ",").encode("unicode_escape").decode("ascii") or '""'


def read_float(body: Mapping[str, Any], name: str) -> float | None:
    """Return the number `body[name]`; None if it is absent or null. Raises BadField."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadField((name,), "Input should be a number", value, "float_type")
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise BadField((name,), "Input should be a finite number", value, "finite_number")


def read_int(body: Mapping[str, Any], name: str) -> int | None:
    """Return the whole number `body[name]`; None if it is absent or null. Raises BadField."""
    value = body.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise BadField((name,), "Input should be a whole number", value, "int_type")


def read_bool(body: Mapping[str, Any], name: str) -> bool:
    """Return the truth value `body[name]`, False if it is absent or null. Raises BadField."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadField((name,), "Input should be true or false", value, "bool_type")


def check_text(value: object, where: tuple[str | int, ...]) -> str:
    """Return `value` if it is text that UTF-8 can carry. Raises BadField."""
    if not isinstance(value, str):
        raise BadField(where, "Input should be a valid string", value, "string_type")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"Input holds half of a surrogate pair at character {error.start}, which isn't text"
        raise BadField(where, message, None, "string_unicode") from error
    return value


def read_temperature(body: Mapping[str, Any], changes: Changes) -> float | None:
    """Return the temperature, 0 (greedy) to 100; None if the request has none. Raises BadField."""
    asked = read_float(body, "temperature")
    if asked is None:
        return None
    now = 0.0 if asked < GREEDY_BELOW else min(asked, MAX_TEMPERATURE)
    return _note_change("temperature", body["temperature"], asked, now, changes)


def read_top_p(body: Mapping[str, Any], changes: Changes) -> float | None:
    """Return top_p, above 0 to 1; None if the request has none. Raises BadField."""
    asked = read_float(body, "top_p")
    if asked is None:
        return None
    now = MIN_TOP_P if asked <= 0 else min(asked, 1.0)
    return _note_change("top_p", body["top_p"], asked, now, changes)


def read_in_range(body: Mapping[str, Any], name: str, low: float, high: float, changes: Changes) -> float | None:
    """Return a number, brought into a range; None if the request has none. Raises BadField."""
    asked = read_float(body, name)
    if asked is None:
        return None
    return _note_change(name, body[name], asked, max(float(low), min(asked, float(high))), changes)


def read_seed(body: Mapping[str, Any], changes: Changes) -> int | None:
    """Return the seed, 0 to 2**32 - 2; None for a random one (absent, null, -1). Raises BadField."""
    asked = read_int(body, "seed")
    if asked is None or asked == -1:
        return None
    now = asked % _SEED_COUNT
    if now != asked:
        changes.note("seed", asked if abs(asked) < 10**30 else "huge", now)
    return now


def read_stop(body: Mapping[str, Any], changes: Changes) -> list[str] | None:
    """Return the stop texts without empty ones, None if there is none. Raises BadField.

    An empty stop text would end every answer before its first character.
    """
    asked = body.get("stop")
    if asked is None:
        return None
    listed = [asked] if isinstance(asked, str) else asked
    if not isinstance(listed, list) or len(listed) > 64:
        raise BadField(("stop",), "Input should be a string or a list of at most 64 strings", asked, "list_type")
    kept = [check_text(item, ("stop", place)) for place, item in enumerate(listed) if item != ""]
    if len(kept) < len(listed):
        changes.note("stop", "", "dropped")
    return kept or None


def _note_change(name: str, given: object, asked: float, now: float, changes: Changes) -> float:
    if now != asked:
        changes.note(name, given, int(now) if now.is_integer() else now)
    return now
