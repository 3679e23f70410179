"""What another sweep has answered already, so that it is not asked again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ..parameters import PARAMETERS
from ..values import Turn
from .asking import key_of

if TYPE_CHECKING:
    from .result import Sweep

UNSENT = tuple(r.name for r in PARAMETERS.values() if r.can_be_swept and not r.in_body and r.name != "dialect")
"""Parameters that are no part of a request: cells that differ in them alone ask the same, but are not the same."""


def take_over(sweep: Sweep, other: Sweep) -> None:
    """Put the whole answers of another sweep to the very same requests into the cells of this one.

    :raises ChatGLMError: for a value that no server would take.
    """
    apart = [name for name in UNSENT if name in sweep.grid.axes]

    def key(turn: Turn) -> str:
        return json.dumps([key_of(turn), [turn.asked.get(name) for name in apart]], default=str)

    there: dict[str, list[Turn]] = {}
    for turn in other.partial:
        if turn.status == "complete":
            there.setdefault(key(turn), []).append(turn)
    plans = sweep.plans()
    for number, cell in enumerate(sweep.partial.cells):
        found = there.get(key(plans.base(number, cell.prompt)), [])[: len(cell.turns)]
        cell.turns[: len(found)] = found
        cell.version += 1
