"""A sweep as a pandas table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..render.bundle import counted
from ..render.tables import table
from ..values import Turn

if TYPE_CHECKING:
    from .board import SweepAnswers

FIGURES = ("length", "tokens", "first_token", "duration")
FIELDS = ("answer", "reasoning", "status", "finish_reason", "error", "model", "created", "id")


def frame(sweep: SweepAnswers) -> Any:
    """Return a row for each answer that has come: the prompt, the axes' values, the sample, the answer.

    Under the name of an axis stands the axis' value, as ``model`` the one that was asked for.

    :raises ChatGLMError: if pandas is not installed.
    """
    rows = (
        {"prompt": cell.prompt, "sample": sample, **_of(turn), **cell.setting}
        for cell in sweep.cells
        for sample, turn in enumerate(cell.turns)
        if turn is not None
    )
    known = ("prompt", *sweep.grid.axes, "sample", *FIELDS, *FIGURES)
    return table(rows, list(dict.fromkeys(known)))


def _of(turn: Turn) -> dict[str, Any]:
    found = {name: getattr(turn, name) for name in FIELDS}
    times = {"first_token": turn.first_token, "duration": turn.duration}
    return {**found, "length": len(turn.answer), "tokens": counted(turn) or None, **times}
