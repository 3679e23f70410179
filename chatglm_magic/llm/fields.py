"""What the fields of ``ChatGLM`` take, and how a wrong value or name is refused."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from ..client.address import no_secrets
from ..client.timeouts import Limits
from ..errors import ParameterError
from ..parameters import LANGCHAIN_CONFIG, PARAMETERS, Parameter, canonical_name, suggest


def _require_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real | None):
        raise ValueError("must be a number")
    return value


def _copy_pairs(value: Any) -> Any:
    """Copy a conversation; each item must hold a question and an answer."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ValueError("must be a list of [question, answer] pairs")
    pairs = [list(item) if isinstance(item, list | tuple) else item for item in value]
    for item in pairs:
        if not isinstance(item, list) or len(item) != 2 or not all(isinstance(part, str) for part in item):
            raise ValueError("must be a list of [question, answer] pairs of text")
    return pairs


def _refuse_secrets(value: str) -> str:
    """Refuse an address with a key in it: it is shown, logged and saved. Whether it can be asked shows later."""
    no_secrets(value)
    return value


def _check_timeout(value: Any) -> Any:
    parse_timeout(value)
    return value


def _tape_path(value: str | Path) -> str | None:
    """Return a tape's path as text, in which form it can be saved; ``off`` is none."""
    text = os.fspath(value)
    if not text.strip() or "\0" in text:
        raise ValueError("must be the path of a file")
    return None if text.lower() == "off" else text


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Pairs = Annotated[list[list[str]], BeforeValidator(_copy_pairs)]
Strings = Annotated[list[str], BeforeValidator(_as_list)]
Address = Annotated[str, AfterValidator(_refuse_secrets)]
Timeout = Annotated[float | dict[str, float], BeforeValidator(_check_timeout)]
Retries = Annotated[int, BeforeValidator(_require_number), Field(ge=0, le=100)]
Concurrency = Annotated[int, BeforeValidator(_require_number), Field(ge=1)]

TapePath = Annotated[str | Path, AfterValidator(_tape_path)]


def field_of(row: Parameter) -> tuple[Any, Any]:
    """Return the type and the default of the field that a row of the table means."""
    if row.choices:
        kind: Any = Literal[row.choices]
    elif row.is_number:
        bounds = Field(ge=row.minimum, le=row.maximum, allow_inf_nan=False if row.type is float else None)
        kind = Annotated[row.type, BeforeValidator(_require_number), bounds]
    else:
        kind = Strings if row.type is list else row.type
    return kind | None, row.default


def parameter_error(error: ValidationError) -> ParameterError:
    """Turn pydantic's report into one line that names the field and what it takes; never shows the value."""
    parts = []
    for item in error.errors(include_input=False, include_url=False):
        name = str(item["loc"][0]) if item["loc"] else "value"
        said = item["msg"].removeprefix("Value error, ").rstrip(".")
        row = PARAMETERS.get(canonical_name(name))
        if row is not None and row.takes:
            said = f"{name} must be {row.takes}"
        parts.append(said if name in said else f"{name}: {said}")
    return ParameterError("; ".join(dict.fromkeys(parts)) + ".")


HINTS = {
    "streaming": "Answers always come as a stream: llm.stream(…) and llm.astream(…) hand it on.",
    "tools": "A text model calls no tools: use GLMChatModel, or llm.as_chat_model().",
}
"""Arguments of other classes, by what takes their place here."""


def unknown_field(name: str, known: Iterable[str], model: str = "ChatGLM") -> ParameterError:
    """Say that a model has no such field, with the nearest that it has."""
    hint = HINTS.get(name) or suggest(name, list(known)) or "Further keys of the request go into model_kwargs."
    return ParameterError(f"{model} has no field {name!r}. {hint}", kind="unknown_name")


def parse_timeout(timeout: float | Mapping[str, float] | None) -> Limits:
    """Return the time limits that a ``timeout`` field means: seconds for all waiting, or a mapping of each.

    :raises ParameterError: for an unknown limit, or a number of seconds that isn't positive.
    """
    if timeout is None:
        return Limits()
    named = isinstance(timeout, Mapping)
    wished: dict[str, float] = dict(timeout) if named else dict.fromkeys(SINGLE_NUMBER_LIMITS, timeout)  # type: ignore[arg-type]
    known = [part.name for part in dataclasses.fields(Limits)]
    for name, seconds in wished.items():
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if name not in known or not (number and 0 < seconds < float("inf")):
            where = f"timeout: {name}" if named else "timeout"
            raise ParameterError(
                f"{where} = {seconds!r} is not a number of seconds above 0, or a mapping of {', '.join(known)}."
            )
    return Limits(**wished)


SINGLE_NUMBER_LIMITS = ("first_byte", "idle", "content")
"""What a single number limits."""


OBJECT_FIELDS = tuple(row.name for row in PARAMETERS.values() if not row.per_call)
"""Fields that belong to the object alone; in a request's body they would be a mistake, or a leak."""

RESERVED_NAMES = ("prompt", "prompts", "run_manager")
"""Names that mean something on the way already."""


def refuse_config_arguments(call: Mapping[str, Any]) -> None:
    """Refuse what isn't an argument of a call, and what belongs to LangChain's configuration.

    :raises ParameterError: which says where it goes.
    """
    refuse_object_fields(call)
    name = next((name for name in LANGCHAIN_CONFIG if name in call), None)
    if name is not None:
        raise ParameterError(f"{name} isn't a parameter of the model: give it as config={{{name!r}: …}}.")


def refuse_object_fields(call: Mapping[str, Any]) -> None:
    """Refuse what can't be set for one call.

    :raises ParameterError: for a field that belongs to the object alone.
    """
    name = next((name for name in (*OBJECT_FIELDS, *RESERVED_NAMES) if name in call), None)
    if name in RESERVED_NAMES:
        raise ParameterError(f"{name} is what is asked, no argument beside it.")
    if name is not None:
        raise ParameterError(f"{name} can't be set for one call: set it on the model.")
