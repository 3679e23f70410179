"""What another sweep has answered already, so that it is not asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..values import Turn
from .asking import key_of

if TYPE_CHECKING:
    from .result import Sweep


def take_over(sweep: Sweep, other: Sweep) -> int:
    """Put the whole answers of another sweep to the very same requests into the cells of this one.

    :returns: how many.
    :raises ChatGLMError: for a value that no server would take.
    """
    there: dict[str, list[Turn]] = {}
    for turn in other:
        if turn.status == "complete":
            there.setdefault(key_of(turn), []).append(turn)
    plans, kept = sweep.plans(), 0
    for number, cell in enumerate(sweep.cells):
        found = there.get(key_of(plans.base(number, cell.prompt)), [])[: len(cell.turns)]
        cell.turns[: len(found)] = found
        cell.version += 1
        kept += len(found)
    return kept
