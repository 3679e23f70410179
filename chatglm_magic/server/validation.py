"""Checks of request values: wrong types are errors, values out of range are clamped and noted.

The functions raise :class:`BadField` for an invalid value. Those named ``read_…`` return None for a missing one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from ..strictjson import strict_json


async def read_json(request: web.Request) -> Any:
    """Return the request's JSON; NaN, Infinity and duplicate keys are invalid too."""
    data = await request.read()
    try:
        return strict_json(data.decode())
    except json.JSONDecodeError as error:
        raise BadField((error.pos,), f"JSON decode error: {error.msg}", None, "json_invalid") from error
    except (ValueError, RecursionError) as error:  # bad UTF-8, 10 000 digits, 100 000 levels
        raise BadField((), f"JSON decode error: {error}", None, "json_invalid") from error


CHANGED_HEADER = "X-ChatGLM-Changed"
GREEDY_BELOW = 0.001
"""Lower temperatures count as 0: their logits would overflow a 32-bit float."""
MAX_TEMPERATURE = 100.0
MIN_TOP_P = 0.01
_SEED_COUNT = 2**32 - 1  # 2**32 - 1 means "random" to llama.cpp

Json = dict[str, Any]


class BadField(ValueError):
    """An invalid field of a request; ``str()`` is the message."""

    def __init__(
        self, where: tuple[str | int, ...], message: str, value: object = None, kind: str = "value_error"
    ):
        super().__init__(message)
        self.where, self.message, self.value, self.kind = where, message, value, kind

    @property
    def name(self) -> str:
        """The path of the field, such as ``history[0][1]``."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.where).lstrip(".")


class Changes:
    """The front's changes to a request, for the header ``X-ChatGLM-Changed``."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def note(self, name: str, was: object, now: object) -> None:
        """Note that ``name`` was received as ``was`` and is sent as ``now``."""
        self._notes.append(f"{_shorten(name)}={_shorten(was)}->{_shorten(now)}")

    def headers(self) -> dict[str, str]:
        """Return the header, in ASCII and at most about 1 kB; empty without changes."""
        return {CHANGED_HEADER: "; ".join(self._notes[:12])} if self._notes else {}


def _shorten(value: object) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
    except (RecursionError, ValueError):  # too deep, or a number of too many digits
        text = type(value).__name__
    return text[:40].replace(";", ",").encode("unicode_escape").decode("ascii") or '""'


def read_float(body: Mapping[str, Any], name: str) -> float | None:
    """Return the finite number ``body[name]``."""
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
    """Return the whole number ``body[name]``."""
    value = body.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise BadField((name,), "Input should be a whole number", value, "int_type")


def read_bool(body: Mapping[str, Any], name: str) -> bool:
    """Return the boolean ``body[name]``, False if it is absent or null."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadField((name,), "Input should be true or false", value, "bool_type")


def check_text(value: object, where: tuple[str | int, ...]) -> str:
    """Return ``value`` if it is text that UTF-8 can encode."""
    if not isinstance(value, str):
        raise BadField(where, "Input should be a valid string", value, "string_type")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"Input holds half of a surrogate pair at character {error.start}, which isn't text"
        raise BadField(where, message, None, "string_unicode") from error
    return value


def read_temperature(body: Mapping[str, Any], changes: Changes) -> float | None:
    """Return the temperature, clamped to 0 (greedy) to 100."""
    value = read_float(body, "temperature")
    if value is None:
        return None
    clamped = 0.0 if value < GREEDY_BELOW else min(value, MAX_TEMPERATURE)
    return _note_change("temperature", body["temperature"], value, clamped, changes)


def read_top_p(body: Mapping[str, Any], changes: Changes) -> float | None:
    """Return top_p, clamped to above 0 to 1."""
    value = read_float(body, "top_p")
    if value is None:
        return None
    clamped = MIN_TOP_P if value <= 0 else min(value, 1.0)
    return _note_change("top_p", body["top_p"], value, clamped, changes)


def read_in_range(body: Mapping[str, Any], name: str, low: float, high: float, changes: Changes) -> float | None:
    """Return a number, clamped to a range."""
    value = read_float(body, name)
    if value is None:
        return None
    return _note_change(name, body[name], value, max(float(low), min(value, float(high))), changes)


def read_seed(body: Mapping[str, Any], changes: Changes) -> int | None:
    """Return the seed, 0 to 2**32 - 2; None for a random one (absent, null, -1)."""
    value = read_int(body, "seed")
    if value is None or value == -1:
        return None
    seed = value % _SEED_COUNT
    if seed != value:
        changes.note("seed", value if abs(value) < 10**30 else "huge", seed)
    return seed


def read_stop(body: Mapping[str, Any], changes: Changes) -> list[str] | None:
    """Return the stop sequences without empty ones, which would end every answer before its first character."""
    value = body.get("stop")
    if value is None:
        return None
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or len(texts) > 64:
        raise BadField(("stop",), "Input should be a string or a list of at most 64 strings", value, "list_type")
    nonempty = [check_text(item, ("stop", index)) for index, item in enumerate(texts) if item != ""]
    if len(nonempty) < len(texts):
        changes.note("stop", "", "dropped")
    return nonempty or None


def _note_change(name: str, original: object, value: float, clamped: float, changes: Changes) -> float:
    if clamped != value:
        changes.note(name, original, int(clamped) if clamped.is_integer() else clamped)
    return clamped
