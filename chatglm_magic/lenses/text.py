"""A lens as plain text, for terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .words import bits, percent

if TYPE_CHECKING:
    from .position import Bar
    from .value import Lens

PLACES = 24
"""How many places are shown."""

WIDTH = 12


def text(lens: Lens) -> str:
    """Return a line for each place: its token, its entropy, the likeliest candidates after temperature and cut."""
    settings = caption(lens)
    lines = []
    for position, found in zip(lens.positions[:PLACES], lens.reshape(), strict=False):
        shown = [bar for bar in position.bars(found, limit=4) if bar.kind != "others"]
        said = " | ".join(f"{bar.label} {_fate(bar)}" for bar in shown)
        lines.append(f"{position.index:>4}  {position.label:<{WIDTH}} {bits(found.entropy):>12}  {said}")
    left = len(lens) - PLACES
    more = [f"      … {left} more places: lens.at(index)"] if left > 0 else []
    return "\n".join([settings, *lines, *more])


def _fate(bar: Bar) -> str:
    return "cut" if bar.survives is False else percent(bar.probability)


def caption(lens: Lens) -> str:
    """Say what the figures are of."""
    asked = [
        f"{name} {value:g}"
        for name, value in (("temperature", lens.temperature), ("top_p", lens.top_p))
        if value is not None
    ]
    with_what = ", ".join(asked) or "the model's own probabilities, nothing re-shaped"
    named = max((position.ranked for position in lens), default=0)
    how = f"all {named} tokens named" if lens.complete else f"{named} tokens named, what others change as ranges"
    return f"{len(lens)} places · {with_what} · {how}"
