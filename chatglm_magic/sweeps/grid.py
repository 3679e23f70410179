"""The grid of a sweep: prompts × settings × samples, in a fixed order."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ParameterError
from ..parameters import NOT_PARAMETERS, PARAMETERS, canonical_name, parameter_names, suggest
from ..render.text import one_line

MAX_SWEEP_REQUESTS = 100_000
"""Maximum number of requests of a sweep, which keeps all answers in memory."""

SWEPT_PARAMETERS = tuple(row.name for row in PARAMETERS.values() if row.can_be_swept)
SWEEP_OPTIONS = ("samples", "jobs", "show", "session", "resume")
NOT_SWEPT = {*NOT_PARAMETERS, *parameter_names("conversation"), "kind", "replaces", "sample", "tape"}
"""Options of the request itself, which aren't parameters of the model."""

_NUMBER = r"[-+]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][-+]?\d{1,2})?"
EVENLY_SPACED = re.compile(rf"({_NUMBER}):({_NUMBER}):(\d{{1,12}})")

MAX_APPROXIMATE = 1e300
"""Larger integers are compared exactly, since they may be too large for a float."""

Setting = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """The requests of a sweep: every prompt with every combination of the axes' values, ``samples`` times.

    :param axes: the values of each parameter by name; the last one varies fastest.
    :param samples: the number of answers in each cell, at least 1.
    :raises ParameterError: for no prompt, no value, a name that can't be swept, or more than 100 000 requests.
    """

    prompts: tuple[str, ...]
    axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    samples: int = 1

    def __post_init__(self) -> None:
        if not self.prompts or not all(isinstance(prompt, str) for prompt in self.prompts):
            raise ParameterError("A sweep needs a prompt, or a list of prompts: texts.")
        if isinstance(self.samples, bool) or not isinstance(self.samples, int) or self.samples < 1:
            raise ParameterError(f"samples must be a positive whole number, not {self.samples!r}.")
        for name in self.axes:
            _check_sweepable(name)
        if self.requests > MAX_SWEEP_REQUESTS:
            most = f"{MAX_SWEEP_REQUESTS:,}"
            raise ParameterError(f"This sweep has {self.requests:,} requests; {most} is the most. Split it.")

    @property
    def requests(self) -> int:
        """The number of requests of the whole grid."""
        return len(self.prompts) * math.prod(len(axis_values) for axis_values in self.axes.values()) * self.samples

    @property
    def settings(self) -> list[Setting]:
        """Every combination of the axes' values."""
        return [dict(zip(self.axes, row, strict=True)) for row in itertools.product(*self.axes.values())]

    def cells(self) -> Iterator[tuple[str, Setting]]:
        """Yield each prompt with each setting."""
        settings = self.settings
        for prompt in self.prompts:
            for setting in settings:
                yield prompt, setting


def build_grid(prompt: str | Iterable[str], axes: Mapping[str, Any], samples: int = 1) -> Grid:
    """Return the grid for the arguments of ``sweep``.

    :param axes: for each parameter a list (or another iterable) of values, ``"a:b:n"`` for n evenly spaced
        numbers, or a single value; other text and mappings are single values.
    :raises ParameterError: as :class:`Grid` does.
    """
    if isinstance(prompt, str):
        prompt = (prompt,)
    listed = isinstance(prompt, Iterable) and not isinstance(prompt, Mapping | bytes)
    prompts = list(itertools.islice(prompt, MAX_SWEEP_REQUESTS + 1)) if listed else []
    if not all(isinstance(text, str) for text in prompts):
        prompts = []
    distinct_axes = {name: axis_values(name, value) for name, value in axes.items()}
    return Grid(tuple(dict.fromkeys(prompts)), distinct_axes, samples)


def axis_values(name: str, value: Any) -> tuple[Any, ...]:
    """Return the distinct values of an axis, in their order.

    :raises ParameterError: if there are none.
    """
    if isinstance(value, str):
        items: Iterable[Any] = [value] if is_text_parameter(name) else parse_evenly_spaced(value) or [value]
    elif isinstance(value, Iterable) and not isinstance(value, Mapping | bytes):
        items = itertools.islice(value, MAX_SWEEP_REQUESTS + 1)
    else:
        items = [value]
    distinct: dict[Any, Any] = {}
    for item in map(_from_numpy, items):
        number = isinstance(item, int | float) and not isinstance(item, bool)
        distinct.setdefault(item if number else repr(item), item)
    if not distinct:
        raise ParameterError(f"{name} has no value: give it at least one.")
    return tuple(distinct.values())


def is_text_parameter(name: str) -> bool:
    """Return whether a parameter's values are text, so that ``1:2:3`` isn't a range."""
    return name in PARAMETERS and PARAMETERS[name].is_text


def parse_evenly_spaced(text: str) -> list[float] | None:
    """Return the n evenly spaced numbers of ``a:b:n``, including both ends; None for other text.

    They are integers if the ends and the steps are.

    :raises ParameterError: for fewer than 2 or more than 1 000 of them.
    """
    match = EVENLY_SPACED.fullmatch(text.strip())
    if match is None:
        return None
    first, last, count = float(match[1]), float(match[2]), int(match[3])
    if not 2 <= count <= 1000:
        raise ParameterError(f"{text}: the third number says how many values there are, 2 to 1 000.")
    numbers = [round(first + (last - first) * n / (count - 1), 10) for n in range(count)]
    whole = match[1].lstrip("+-").isdigit() and match[2].lstrip("+-").isdigit()
    return [int(n) for n in numbers] if whole and all(n == int(n) for n in numbers) else numbers


def is_same_value(a: Any, b: Any) -> bool:
    """Return whether two values are equal, up to rounding: 0.1 + 0.2 equals 0.3, but True doesn't equal 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b or (
            max(abs(a), abs(b)) < MAX_APPROXIMATE and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
        )
    return type(a) is type(b) and bool(a == b)


def format_value(value: Any, limit: int = 40) -> str:
    """Return a value for display, as one short line."""
    if isinstance(value, bool) or value is None:
        return "not set" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else one_line(str(value), limit)


def format_setting(setting: Mapping[str, Any]) -> str:
    """Return a setting for display: ``temperature 0.5, top_p 0.9``."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in setting.items())


def find_varied(axes: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the names of the axes that have more than one value."""
    return [name for name, values in axes.items() if len(values) > 1]


def _from_numpy(value: Any) -> Any:
    """Convert a numpy number to a Python number, which JSON can represent."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _check_sweepable(name: str) -> None:
    if name in NOT_SWEPT:
        hint = " Did you mean samples?" if name == "sample" else ""
        raise ParameterError(f"{name} can't be swept: it isn't a parameter of the model.{hint}")
    if canonical_name(name) in SWEPT_PARAMETERS:
        return
    # Less similar names may be other keys of the body.
    if hint := suggest(name, (*SWEPT_PARAMETERS, *SWEEP_OPTIONS), cutoff=0.85):
        raise ParameterError(f"There is no parameter {name}. {hint}", kind="unknown_name")
