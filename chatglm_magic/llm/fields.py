"""The types of ``ChatGLM``'s fields, and the errors for a wrong value or name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ..client.address import check_no_secrets
from ..client.timeouts import Timeouts
from ..errors import ParameterError
from ..parameters import LANGCHAIN_CONFIG, PARAMETERS, Parameter, canonical_name, suggest


def _require_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real | None):
        raise ValueError("must be a number")
    return value


def _copy_pairs(value: Any) -> Any:
    """Copy a conversation of [prompt, answer] pairs."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError("must be a list of [prompt, answer] pairs")
    pairs = [list(item) if isinstance(item, list | tuple) else item for item in value]
    for item in pairs:
        if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
            raise ValueError("must be a list of [prompt, answer] pairs of text")
    return pairs


def _refuse_secrets(value: str) -> str:
    """Refuse a URL with a key in it, since it is displayed, logged and saved."""
    check_no_secrets(value)
    return value


def _check_timeout(value: Any) -> Any:
    parse_timeout(value)
    return value


def _tape_path(value: str | Path) -> str | None:
    """Return a tape's path as text, so that it can be saved; None for ``off``."""
    text = os.fspath(value)
    if not text.strip() or "\0" in text:
        raise ValueError("must be the path of a file")
    return None if text.lower() == "off" else text


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Pairs = Annotated[list[list[str]], BeforeValidator(_copy_pairs)]
Strings = Annotated[list[str], BeforeValidator(_as_list)]
EndpointURL = Annotated[str, AfterValidator(_refuse_secrets)]
Timeout = Annotated[float | dict[str, float], BeforeValidator(_check_timeout)]
Retries = Annotated[int, BeforeValidator(_require_number), Field(ge=0, le=100)]
Concurrency = Annotated[int, BeforeValidator(_require_number), Field(ge=1)]

TapePath = Annotated[str | Path, AfterValidator(_tape_path)]


def field_of(row: Parameter) -> tuple[Any, Any]:
    """Return the type and the default of a parameter's field."""
    if row.choices:
        kind: Any = Literal[row.choices]
    elif row.is_number:
        bounds = Field(ge=row.minimum, le=row.maximum, allow_inf_nan=False if row.type is float else None)
        kind = Annotated[row.type, BeforeValidator(_require_number), bounds]
    else:
        kind = Strings if row.type is list else row.type
    return kind | None, row.default


def parameter_error(error: ValidationError) -> ParameterError:
    """Convert pydantic's error to one line with the field and its valid values, without the given value."""
    parts = []
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "value"
        message = item["msg"].removeprefix("Value error, ").rstrip(".")
        row = PARAMETERS.get(canonical_name(name))
        if row is not None and row.allowed:
            message = f"{name} must be {row.allowed}"
        parts.append(message if name in message else f"{name}: {message}")
    return ParameterError("; ".join(dict.fromkeys(parts)) + ".")


HINTS = {
    "streaming": "Answers always come as a stream: llm.stream(…) and llm.astream(…) hand it on.",
    "tools": "A text model calls no tools: use GLMChatModel, or llm.as_chat_model().",
}
"""For arguments of other classes: what to use instead."""


def unknown_field(name: str, known: Iterable[str], model: str = "ChatGLM") -> ParameterError:
    """Return the error for a field that a model doesn't have, with a suggestion."""
    hint = HINTS.get(name) or suggest(name, list(known)) or "Further keys of the request go into model_kwargs."
    return ParameterError(f"{model} has no field {name!r}. {hint}", kind="unknown_name")


def parse_timeout(timeout: float | Mapping[str, float] | None) -> Timeouts:
    """Return the time limits of a ``timeout`` field: a number of seconds, or a mapping of limits.

    :raises ParameterError: for an unknown limit, or a number of seconds that isn't positive.
    """
    if timeout is None:
        return Timeouts()
    is_mapping = isinstance(timeout, Mapping)
    limits: dict[str, float] = dict(timeout) if is_mapping else dict.fromkeys(SINGLE_NUMBER_LIMITS, timeout)  # type: ignore[arg-type]
    known = [part.name for part in dataclasses.fields(Timeouts)]
    for name, seconds in limits.items():
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if name not in known or not (is_number and 0 < seconds < float("inf")):
            where = f"timeout: {name}" if is_mapping else "timeout"
            raise ParameterError(
                f"{where} = {seconds!r} is not a number of seconds above 0, or a mapping of {', '.join(known)}."
            )
    return Timeouts(**limits)


SINGLE_NUMBER_LIMITS = ("first_byte", "idle", "content")
"""What a single number sets."""


OBJECT_FIELDS = tuple(row.name for row in PARAMETERS.values() if not row.per_call)
"""Fields that only the model has; in a request's body they would be a mistake, or a leak."""

RESERVED_ARGUMENTS = ("prompt", "prompts", "run_manager")
"""Names of arguments that LangChain passes itself."""


def refuse_config_arguments(call: Mapping[str, Any]) -> None:
    """Refuse arguments that can't be set for one call or belong to LangChain's configuration.

    :raises ParameterError: with the place where they belong.
    """
    refuse_object_fields(call)
    name = next((name for name in LANGCHAIN_CONFIG if name in call), None)
    if name is not None:
        raise ParameterError(f"{name} isn't a parameter of the model: give it as config={{{name!r}: …}}.")


def refuse_object_fields(call: Mapping[str, Any]) -> None:
    """Refuse arguments that can't be set for one call.

    :raises ParameterError: for a field that only the model has.
    """
    name = next((name for name in (*OBJECT_FIELDS, *RESERVED_ARGUMENTS) if name in call), None)
    if name in RESERVED_ARGUMENTS:
        raise ParameterError(f"{name} is reserved and can't be passed as a further argument.")
    if name is not None:
        raise ParameterError(f"{name} can't be set for one call: set it on the model.")
