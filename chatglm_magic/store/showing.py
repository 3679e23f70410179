"""A history at a glance: a short table as text and as HTML, in which every cell is text and never markup."""

from __future__ import annotations

from collections.abc import Sequence

from ..render.bundle import counted, escape
from ..render.outer import outer
from ..render.terminal import one_line
from .query import Row

HEADS = ("#", "asked", "status", "model", "tokens", "prompt", "answer")
PROMPT, ANSWER = 40, 60
"""So many characters of each are shown."""


def as_text(first: Sequence[Row], total: int) -> str:
    """Return the first turns of so many as aligned lines."""
    rows, more = _cells(first, total)
    widths = [max(len(row[at]) for row in (HEADS, *rows)) for at in range(len(HEADS))]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in (HEADS, *rows)
    ]
    return "\n".join([*(line.rstrip() for line in lines), *([more] if more else [])])


def as_html(first: Sequence[Row], total: int) -> str:
    """Return the first turns of so many as a table."""
    rows, more = _cells(first, total)
    cell = 'style="text-align:left;vertical-align:top"'
    head = "".join(f"<th {cell}>{name}</th>" for name in HEADS)
    body = "".join(f"<tr>{''.join(f'<td {cell}>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    note = f"<p>{escape(more)}</p>" if more else ""
    return outer(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}")


def _cells(rows: Sequence[Row], total: int) -> tuple[list[tuple[str, ...]], str]:
    more = f"{total} turns, the first {len(rows)} are shown." if total > len(rows) else ""
    return [_row(row) for row in rows], more or ("" if rows else "No turns.")


def _row(row: Row) -> tuple[str, ...]:
    turn = row.turn
    return (
        str(row.number),
        one_line(turn.created, 16).replace("T", " "),
        turn.status,
        one_line(turn.model or "", 24),
        str(counted(turn) or ""),
        one_line(turn.prompt, PROMPT),
        one_line(turn.answer, ANSWER),
    )
