"""What is written of a cell: all of it text, in which no character moves, hides or turns another around."""

from __future__ import annotations

from ...render.answers import trouble
from ...render.text import one_line, visible
from ...sweeps.cells import Cell
from ...sweeps.grid import shown, told
from ...sweeps.heatmap import EMPTY, Plot
from ...sweeps.stats import Stats, failed

STATES = {
    "waiting": "○ waiting",
    "running": "◐ running",
    "failed": "✕ failed",
    "partial": "◑ partial",
    "done": "",
}
"""Each state's sign and word; a cell that is done has figures instead."""

SOURCE = 2000
"""Characters of an answer in which its beginning is looked for."""


def title(cell: Cell, *, prompts: bool) -> str:
    """Return a cell's values in a few words, its prompt among them where there are several."""
    parts = [f"prompt {shown(cell.prompt, 60)}"] if prompts else []
    parts += [told(cell.setting)] if cell.setting else []
    return visible(", ".join(parts)) or one_line(cell.prompt, 60)


def face(cell: Cell, plot: Plot, mark: str = "") -> str:
    """Return the lines of a cell: its figure and state, how an answer begins, how long they are and how they end.

    :param mark: what else it is, as ``pinned``.
    """
    stats = cell.stats()
    figure, state = plot.number(plot.of(cell)), _state(cell, stats)
    first = " · ".join(part for part in (figure if figure != EMPTY or not state else "", state, mark) if part)
    begins = one_line(cell.beginning[:SOURCE], 60) or _failure(cell)
    return "\n".join(line for line in (first, begins, _size(stats)) if line)


def _state(cell: Cell, stats: Stats) -> str:
    word = STATES[cell.state]
    if stats.asked == len(cell.turns) and not stats.failed and not word:
        return ""
    count = stats.failed if cell.state == "failed" else stats.answers
    several = len(cell.turns) > 1 and cell.state != "waiting"
    return f"{word} {count} of {len(cell.turns)}" if several else word


def _failure(cell: Cell) -> str:
    """Return why a cell that holds no text has none."""
    return next((one_line(turn.error or trouble(turn), 60) for turn in cell.there if failed(turn)), "")


def _size(stats: Stats) -> str:
    if stats.length is None:
        return ""
    several = len(stats.finish_reasons) > 1
    reasons = [
        f"{one_line(reason, 16)}{f' {count}' if several else ''}"
        for reason, count in list(stats.finish_reasons.items())[:3]
    ]
    mean = "avg " if stats.answers > 1 else ""
    return f"{mean}{stats.length:.0f} chars · {', '.join(reasons)}"
