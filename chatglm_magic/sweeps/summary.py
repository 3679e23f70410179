"""A sweep as text and as static HTML, without times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..render.answers import SMALL_STYLE, escape_html, escape_json_surrogates, incomplete_reason
from ..render.outer import disable_typesetting
from ..render.text import escape_controls, one_line, plural
from .grid import format_setting
from .heatmap import Plot
from .stats import is_failed

if TYPE_CHECKING:
    from .cells import Cell, SweepAnswers


MAX_LISTED_CELLS = 100
"""Maximum number of cells with the beginning of an answer; of more cells the first are listed below."""


def sweep_summary(sweep: SweepAnswers) -> str:
    """Return one line with the size and the progress of a sweep."""
    progress = sweep.progress
    failed = f", {progress.failed} failed" if progress.failed else ""
    running = ", running" if progress.pending else ""
    return f"Sweep of {describe_grid(sweep)}: {progress.done} of {progress.total} answers{failed}{running}"


def describe_grid(sweep: SweepAnswers) -> str:
    """Describe the size of each axis: ``3 temperature × 2 samples``."""
    parts = [
        f"{len(values)} {one_line(name, 60)}{'s' * (name == 'prompt')}" for name, values in sweep.axes.items()
    ]
    return " × ".join([*parts, plural(sweep.grid.samples, "sample")])


def sweep_text(sweep: SweepAnswers) -> str:
    """Return a sweep for a terminal."""
    return escape_controls("\n\n".join([sweep_summary(sweep), Plot(sweep).text(), *_list_failures(sweep)]))


def sweep_html(sweep: SweepAnswers) -> str:
    """Return a sweep as safe HTML: its grid, its failures, and the beginning of each setting's answers."""
    prompts = sweep.grid.prompts
    prompt = f'<div style="white-space:pre-wrap;font-weight:600">{escape_html(one_line(prompts[0], 300))}</div>'
    parts = [prompt] if len(prompts) == 1 else []
    parts.append(f'<div style="{SMALL_STYLE}">{escape_html(sweep_summary(sweep))}</div>')
    plot = Plot(sweep).html(answers=len(sweep.cells) <= MAX_LISTED_CELLS)
    parts.append(f'<div style="margin:.6em 0">{plot}</div>')
    for failure in _list_failures(sweep):
        parts.append(f'<div style="color:var(--jp-error-color1,#b71c1c)">{escape_html(failure)}</div>')
    if len(sweep.cells) > MAX_LISTED_CELLS:
        parts.append(_answers_table(sweep))
    page: str = escape_json_surrogates(disable_typesetting("".join(parts)))
    return page


def _list_failures(sweep: SweepAnswers) -> Iterator[str]:
    """Yield each different failure with its count."""
    counts = Counter(one_line(turn.error or incomplete_reason(turn), 300) for turn in sweep if is_failed(turn))
    for error, count in counts.most_common(5):
        yield f"{count} × {error}"


def _answers_table(sweep: SweepAnswers) -> str:
    cell = 'style="text-align:left;vertical-align:top;padding:.2em .6em"'
    heads = "".join(f"<th {cell}>{name}</th>" for name in ("setting", "answers", "ended by", "one begins"))
    rows = "".join(
        f"<tr>{''.join(f'<td {cell}>{escape_html(t)}</td>' for t in _answers_row(c))}</tr>"
        for c in sweep.cells[:MAX_LISTED_CELLS]
    )
    more = f"<p>{len(sweep.cells)} cells, the first {MAX_LISTED_CELLS} are listed.</p>"
    return (
        '<details><summary style="cursor:pointer">Answers</summary>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{more}</details>"
    )


def _answers_row(cell: Cell) -> Iterator[str]:
    figures = cell.stats()
    yield format_setting(cell.setting) or one_line(cell.prompt, 60)
    yield f"{figures.answers} of {len(cell.turns)}"
    yield ", ".join(f"{name} {count}" for name, count in figures.finish_reasons.items())
    yield one_line(cell.preview_text, 80)
