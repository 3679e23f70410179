"""The grid of a sweep: prompts × settings × samples, in an order that does not change."""

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

MAX_REQUESTS = 100_000
"""Requests that one sweep may have: each keeps its answer in memory."""

SWEPT_PARAMETERS = tuple(row.name for row in PARAMETERS.values() if row.can_be_swept)
SWEEP_OPTIONS = ("samples", "jobs", "show", "session", "resume")
NOT_SWEPT = {*NOT_PARAMETERS, *parameter_names("conversation"), "kind", "replaces", "sample", "tape"}
"""What belongs to the asking itself, and isn't a parameter of the model."""

_NUMBER = r"[-+]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][-+]?\d{1,2})?"
EVENLY_SPACED = re.compile(rf"({_NUMBER}):({_NUMBER}):(\d{{1,12}})")

MAX_APPROXIMATE = 1e300
"""Beyond it whole numbers are compared as they are: they may be too large for a float."""

Setting = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """What is asked: every prompt with every combination of the axes' values, so many times.

    :param axes: parameters by name, each with its values; the last one changes fastest.
    :param samples: answers for each cell, from 1.
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
            _check_name(name)
        if self.requests > MAX_REQUESTS:
            raise ParameterError(
                f"This sweep has {self.requests:,} requests; {MAX_REQUESTS:,} is the most. Split it."
            )

    @property
    def requests(self) -> int:
        """How many questions the whole grid is."""
        return len(self.prompts) * math.prod(len(axis_values) for axis_values in self.axes.values()) * self.samples

    @property
    def settings(self) -> list[Setting]:
        """Every combination of the axes' values."""
        return [dict(zip(self.axes, found, strict=True)) for found in itertools.product(*self.axes.values())]

    def cells(self) -> Iterator[tuple[str, Setting]]:
        """Yield each prompt with each setting."""
        settings = self.settings
        for prompt in self.prompts:
            for setting in settings:
                yield prompt, setting


def build_grid(prompt: str | Iterable[str], axes: Mapping[str, Any], samples: int = 1) -> Grid:
    """Return the grid that a call of ``sweep`` means.

    :param axes: for each parameter a list (or another iterable) of values, ``"a:b:n"`` for n evenly spaced
        numbers, or one value for all. Text is one value, and so is a mapping.
    :raises ParameterError: as :class:`Grid` does.
    """
    if isinstance(prompt, str):
        prompt = (prompt,)
    listed = isinstance(prompt, Iterable) and not isinstance(prompt, Mapping | bytes)
    prompts = list(itertools.islice(prompt, MAX_REQUESTS + 1)) if listed else []
    if not all(isinstance(text, str) for text in prompts):
        prompts = []
    return Grid(
        tuple(dict.fromkeys(prompts)), {name: axis_values(name, given) for name, given in axes.items()}, samples
    )


def axis_values(name: str, given: Any) -> tuple[Any, ...]:
    """Return an axis' values, each once, in their order.

    :raises ParameterError: if there are none.
    """
    if isinstance(given, str):
        found: Iterable[Any] = [given] if is_text_parameter(name) else parse_evenly_spaced(given) or [given]
    elif isinstance(given, Iterable) and not isinstance(given, Mapping | bytes):
        found = itertools.islice(given, MAX_REQUESTS + 1)
    else:
        found = [given]
    kept: dict[Any, Any] = {}
    for value in map(_from_numpy, found):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        kept.setdefault(value if number else repr(value), value)
    if not kept:
        raise ParameterError(f"{name} has no value: give it at least one.")
    return tuple(kept.values())


def is_text_parameter(name: str) -> bool:
    """Tell whether the values of a parameter are texts: ``1:2:3`` is one of them, and no range."""
    return name in PARAMETERS and PARAMETERS[name].is_text


def parse_evenly_spaced(text: str) -> list[float] | None:
    """Return the n evenly spaced numbers that ``a:b:n`` names, both ends among them; None for another text.

    They are whole numbers where the ends and the steps are.

    :raises ParameterError: for fewer than 2 or more than 1 000 of them.
    """
    found = EVENLY_SPACED.fullmatch(text.strip())
    if found is None:
        return None
    first, last, count = float(found[1]), float(found[2]), int(found[3])
    if not 2 <= count <= 1000:
        raise ParameterError(f"{text}: the third number says how many values there are, 2 to 1 000.")
    numbers = [round(first + (last - first) * n / (count - 1), 10) for n in range(count)]
    whole = found[1].lstrip("+-").isdigit() and found[2].lstrip("+-").isdigit()
    return [int(n) for n in numbers] if whole and all(n == int(n) for n in numbers) else numbers


def is_same_value(a: Any, b: Any) -> bool:
    """Tell whether two values are one: numbers but for rounding, so that 0.1 + 0.2 is 0.3; True is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b or (
            max(abs(a), abs(b)) < MAX_APPROXIMATE and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-12)
        )
    return type(a) is type(b) and bool(a == b)


def format_value(value: Any, limit: int = 40) -> str:
    """Return a value as people read it, as one short line."""
    if isinstance(value, bool) or value is None:
        return "not set" if value is None else str(value).lower()
    return f"{value:g}" if isinstance(value, float) else one_line(str(value), limit)


def format_setting(setting: Mapping[str, Any]) -> str:
    """Return a setting in a few words."""
    return ", ".join(f"{name} {format_value(value)}" for name, value in setting.items())


def find_varied(axes: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the names of the axes that have more than one value."""
    return [name for name, found in axes.items() if len(found) > 1]


def _from_numpy(value: Any) -> Any:
    """Return a number of numpy's as Python's, which JSON has a word for."""
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def _check_name(name: str) -> None:
    if name in NOT_SWEPT:
        hint = " Did you mean samples?" if name == "sample" else ""
        raise ParameterError(f"{name} can't be swept: it isn't a parameter of the model.{hint}")
    if canonical_name(name) in SWEPT_PARAMETERS:
        return
    if hint := suggest(
        name, (*SWEPT_PARAMETERS, *SWEEP_OPTIONS), cutoff=0.85
    ):  # another key of a body may be like one of ours
        raise ParameterError(f"There is no parameter {name}. {hint}", kind="unknown_name")
