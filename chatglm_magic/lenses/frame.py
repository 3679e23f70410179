"""A lens as a pandas table: a row for each candidate of each place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..render.tables import table
from .position import Position
from .words import label


def frame(positions: Iterable[Position], temperature: float, top_p: float, top_k: int) -> Any:
    """Return the candidates with what these settings make of them.

    :raises ChatGLMError: if pandas is not installed.
    """
    return table(row for position in positions for row in _rows(position, temperature, top_p, top_k))


def _rows(position: Position, temperature: float, top_p: float, top_k: int) -> Iterator[dict[str, Any]]:
    found, said = position.reshape(temperature, top_p, top_k), position.reshape()
    for place, candidate in enumerate(position.candidates):
        before, share, drawn = said.share(place), found.share(place), found.probability(place)
        yield {
            "position": position.index,
            "rank": place + 1 if place < position.ranked else None,
            "token": candidate.token,
            "label": label(candidate),
            "id": candidate.id,
            "taken": place == position.taken,
            "logprob": candidate.logprob,
            "before_low": before.low,
            "before_high": before.high,
            "share_low": share.low,
            "share_high": share.high,
            "probability_low": drawn.low,
            "probability_high": drawn.high,
            "survives": found.survives(place),
        }
