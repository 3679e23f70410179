"""Save and load a sweep, and convert it to a DataFrame."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .. import safe_files
from ..errors import ChatGLMError, CommandError
from ..render.answers import completion_tokens
from ..render.dataframe import build_dataframe
from ..render.text import one_line, quote_name
from ..store.imports import InvalidTurn, turn_from_object
from ..strictjson import strict_json
from ..values import Turn
from .cells import Slot
from .grid import Grid

if TYPE_CHECKING:
    from .cells import SweepAnswers


FORMAT_VERSION = 1
MAX_SWEEP_BYTES = 256 << 20
"""Larger files aren't loaded."""

S = TypeVar("S", bound="SweepAnswers")


def save_sweep(sweep: SweepAnswers, path: str | Path, *, force: bool) -> Path:
    """Write a sweep to a file; return its full path.

    :raises CommandError: for a path that can't be written to, or has another ending.
    """
    full = safe_files.resolve_target(path, force=force)
    if full.suffix.lower() != ".jsonl":
        raise CommandError(f"{quote_name(full.name)} must end in .jsonl: a line of JSON for each answer.")
    safe_files.write_atomically(full, _lines(sweep), force=force)
    return full


def load_sweep(make: Callable[[Grid], S], path: str | Path) -> S:
    """Read a sweep from a file; a truncated file is read up to the last complete line, with a warning.

    :raises CommandError: for any other invalid file; the message names the line.
    """
    shown = one_line(os.fspath(path), 120)
    with os.fdopen(safe_files.open_regular_file(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > MAX_SWEEP_BYTES:
            raise CommandError(f"{shown} is larger than {MAX_SWEEP_BYTES >> 20} MiB: no sweep of ours is.")
        data = file.read()
    try:
        sweep, lost = _read_sweep(make, data.splitlines(), whole=data.endswith(b"\n"))
    except InvalidTurn as error:
        raise CommandError(f"{shown} was not read: {one_line(str(error)).rstrip('.')}.") from None
    if lost:
        warnings.warn(
            f"{shown} is truncated: {lost} of its answers are missing. resume() requests them.", stacklevel=3
        )
    return sweep


def _lines(sweep: SweepAnswers) -> Iterator[str]:
    places = [
        (number, sample, turn)
        for number, cell in enumerate(sweep.cells)
        for sample, turn in enumerate(cell.turns)
        if turn is not None
    ]
    head = {
        "sweep": FORMAT_VERSION,
        "prompts": sweep.grid.prompts,
        "axes": sweep.grid.axes,
        "samples": sweep.grid.samples,
        "places": [place[:2] for place in places],
    }
    yield json.dumps(head, ensure_ascii=False) + "\n"
    for _, _, turn in places:
        yield json.dumps(turn.to_json(), ensure_ascii=False, default=str) + "\n"


def _read_sweep(make: Callable[[Grid], S], lines: list[bytes], *, whole: bool) -> tuple[S, int]:
    """Return the sweep and the number of answers cut off; ``whole`` is whether the last line has an end."""
    head = _read_object(lines[0] if lines else b"", 1)
    grid, places = _read_grid(head)
    if len(lines) - 1 > len(places):
        raise InvalidTurn(f"it should have {len(places)} answers and has {len(lines) - 1}")
    if len(lines) > 1 and not whole and _is_torn(lines[-1]):
        del lines[-1]
    sweep = make(grid)
    cells = sweep.cells
    for number, ((cell, sample), line) in enumerate(zip(places, lines[1:], strict=False), 2):
        value = _read_object(line, number)
        try:
            turn = turn_from_object(value)
        except InvalidTurn as error:
            raise InvalidTurn(f"line {number}: {error}") from None
        if turn.prompt != cells[cell].prompt:
            raise InvalidTurn(f"line {number} isn't an answer to its prompt")
        cells[cell].turns[sample] = turn
    return sweep, len(places) - len(lines) + 1


def _is_torn(line: bytes) -> bool:
    try:
        _read_object(line, 0)
    except InvalidTurn:
        return True
    return False


def _read_grid(head: dict[str, Any]) -> tuple[Grid, list[Slot]]:
    if head.get("sweep") != FORMAT_VERSION:
        raise InvalidTurn("line 1 does not say that it is a sweep of this version")
    prompts, axes, samples, places = (head.get(name) for name in ("prompts", "axes", "samples", "places"))
    listed = isinstance(axes, dict) and all(isinstance(values, list) and values for values in axes.values())
    if not (isinstance(prompts, list) and listed and isinstance(places, list)):
        raise InvalidTurn("line 1 isn't a grid")
    assert isinstance(axes, dict)
    try:
        grid = Grid(tuple(prompts), {name: tuple(values) for name, values in axes.items()}, samples)  # type: ignore[arg-type]
    except ChatGLMError as error:
        raise InvalidTurn(f"line 1: {error}") from None
    limits = grid.requests // grid.samples, grid.samples
    for place in places:
        pair = isinstance(place, list) and len(place) == 2
        if not (pair and all(type(n) is int and 0 <= n < most for n, most in zip(place, limits, strict=True))):
            raise InvalidTurn("line 1 has a place that is not in the grid")
    if len({tuple(place) for place in places}) != len(places):
        raise InvalidTurn("line 1 has a place twice")
    return grid, [(cell, sample) for cell, sample in places]


def _read_object(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = strict_json(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise InvalidTurn(f"line {number} isn't JSON") from None
    if not isinstance(value, dict):
        raise InvalidTurn(f"line {number} isn't an object")
    return value


FIGURE_COLUMNS = ("length", "tokens", "reasoning_tokens", "first_token", "first_answer", "duration")
TURN_COLUMNS = ("answer", "reasoning", "status", "finish_reason", "error", "model", "created", "id")


def sweep_dataframe(sweep: SweepAnswers) -> Any:
    """Return a DataFrame with a row for each answer received: prompt, axis values, sample and answer.

    A column named like an axis has the axis' value; ``model``, for example, is then the requested one.

    :raises ChatGLMError: if pandas is not installed.
    """
    rows = (
        {"prompt": cell.prompt, "sample": sample, **_turn_columns(turn), **cell.setting}
        for cell in sweep.cells
        for sample, turn in enumerate(cell.turns)
        if turn is not None
    )
    known = ("prompt", *sweep.grid.axes, "sample", *TURN_COLUMNS, *FIGURE_COLUMNS)
    return build_dataframe(rows, list(dict.fromkeys(known)))


def _turn_columns(turn: Turn) -> dict[str, Any]:
    fields = {name: getattr(turn, name) for name in TURN_COLUMNS}
    tokens = {"tokens": completion_tokens(turn) or None, "reasoning_tokens": turn.reasoning_tokens}
    times = {"first_token": turn.first_token, "first_answer": turn.first_answer, "duration": turn.duration}
    return {**fields, "length": len(turn.answer), **tokens, **times}
