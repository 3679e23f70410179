"""What the fields of ``ChatGLM`` take, and how a wrong value or name is refused."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ..client.address import no_secrets
from ..client.limits import Limits
from ..errors import ParameterError


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real | None):
        raise ValueError("must be a number")
    return value


def _pairs(value: Any) -> Any:
    """Copy a conversation; each item must hold a question and an answer."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError("must be a list of [question, answer] pairs")
    pairs = [list(item) if isinstance(item, list | tuple) else item for item in value]
    for item in pairs:
        if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
            raise ValueError("must be a list of [question, answer] pairs of text")
    return pairs


def _address(value: str) -> str:
    """Refuse an address with a key in it: it is shown, logged and saved. Whether it can be asked shows later."""
    no_secrets(value)
    return value


def _timeout(value: Any) -> Any:
    limits(value)
    return value


def _tape(value: str | Path) -> str | None:
    """Return a tape's path as text, in which form it can be saved; ``off`` is none."""
    text = os.fspath(value)
    if not text.strip() or "\0" in text:
        raise ValueError("must be the path of a file")
    return None if text.lower() == "off" else text


def _strings(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Temperature = Annotated[float, BeforeValidator(_number), Field(ge=0, le=10, allow_inf_nan=False)]
TopP = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1, allow_inf_nan=False)]
MaxToken = Annotated[int, BeforeValidator(_number), Field(ge=1)]
Seed = Annotated[int, BeforeValidator(_number)]
Pairs = Annotated[list[list[str]], BeforeValidator(_pairs)]
Strings = Annotated[list[str], BeforeValidator(_strings)]
Address = Annotated[str, AfterValidator(_address)]
Timeout = Annotated[float | dict[str, float], BeforeValidator(_timeout)]
Retries = Annotated[int, BeforeValidator(_number), Field(ge=0, le=100)]
Concurrency = Annotated[int, BeforeValidator(_number), Field(ge=1)]

TapePath = Annotated[str | Path, AfterValidator(_tape)]

RANGES = {
    "temperature": "a number from 0 to 10, or None for the server's default",
    "top_p": "a number from 0 to 1, or None for the server's default",
    "max_token": "a whole number of tokens from 1 on, or None for the server's default",
    "seed": "a whole number, or None",
    "stop": "a text or a list of texts, or None",
    "history": "a list of [question, answer] pairs of text",
    "thinking": "off, on, low, high or max, or None for the server's default",
    "max_retries": "a whole number from 0 to 100",
    "max_concurrency": "a whole number from 1 on",
    "dialect": "chatglm or openai, or None to follow the URL",
    "tape": "the path of a file, or None",
    "tape_mode": "auto, replay or record",
}

ELSEWHERE = {
    **dict.fromkeys(("base_url", "url", "api_base", "openai_api_base", "endpoint"), "endpoint_url"),
    **dict.fromkeys(("max_tokens", "max_length", "max_new_tokens", "max_completion_tokens"), "max_token"),
    **dict.fromkeys(("model_name", "model_id"), "model"),
    **dict.fromkeys(("request_timeout", "read_timeout"), "timeout"),
    **dict.fromkeys(("stop_sequences", "stop_words"), "stop"),
    **dict.fromkeys(("openai_api_key", "zhipuai_api_key", "key", "token"), "api_key"),
    **dict.fromkeys(("system_prompt", "prefix_messages"), "system"),
    **dict.fromkeys(("reasoning", "reasoning_effort", "enable_thinking"), "thinking"),
    "default_headers": "headers",
}
"""What other classes call our fields."""


def refused(error: ValidationError) -> ParameterError:
    """Turn pydantic's report into one line that names the field and what it takes; never shows the value."""
    parts = []
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "value"
        said = item["msg"].removeprefix("Value error, ").rstrip(".")
        if name in RANGES:
            said = f"{name} must be {RANGES[name]}"
        parts.append(said if name in said else f"{name}: {said}")
    return ParameterError("; ".join(dict.fromkeys(parts)) + ".")


def unknown(name: str, known: Iterable[str]) -> ParameterError:
    """Say that a name does not exist, with the nearest that does."""
    close = [ELSEWHERE[name]] if name in ELSEWHERE else difflib.get_close_matches(name, list(known), n=1)
    hint = f"Did you mean {close[0]}?" if close else "Further keys of the request go into model_kwargs."
    return ParameterError(f"ChatGLM has no field {name!r}. {hint}", kind="unknown_name")


def limits(timeout: float | Mapping[str, float] | None) -> Limits:
    """Return the time limits that a ``timeout`` field means: seconds for all waiting, or a mapping of each.

    :raises ParameterError: for a name that is no limit, or no positive number of seconds.
    """
    if timeout is None:
        return Limits()
    named = isinstance(timeout, Mapping)
    wished: dict[str, float] = dict(timeout) if named else dict.fromkeys(SILENCES, timeout)  # type: ignore[arg-type]
    known = [part.name for part in dataclasses.fields(Limits)]
    for name, seconds in wished.items():
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if name not in known or not (number and 0 < seconds < float("inf")):
            where = f"timeout: {name}" if named else "timeout"
            raise ParameterError(
                f"{where} = {seconds!r} is not a number of seconds above 0, or a mapping of {', '.join(known)}."
            )
    return Limits(**wished)


SILENCES = ("first_byte", "idle", "content")
"""What a single number limits."""
