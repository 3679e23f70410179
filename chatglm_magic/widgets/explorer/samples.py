"""One sample of a cell as HTML, whole. All of it is escaped or cleaned; none is trusted."""

from __future__ import annotations

from dataclasses import replace

from ...render.answers import counted, escape, live_html
from ...render.text import one_line, plural
from ...sweeps.cells import Cell
from ...values import Turn
from .. import look
from ..answer import answer_html

LONGEST = 200_000
"""Characters of a text that a page is given; the rest is counted, and is in the sweep."""


def sample_html(cell: Cell, number: int) -> str:
    """Return a sample: its facts, then the answer, as far as it has come, and what went wrong."""
    turn, draft = cell.turns[number], cell.drafts.get(number)
    name = f"Sample {number + 1}"
    if draft is not None:
        text = draft.text
        body = live_html(text[:LONGEST], draft.reasoning[:LONGEST], draft.notice) + _rest(text)
        facts = f"running · {len(text)} characters"
    elif turn is not None:
        body, facts = _body(turn), facts_of(turn)
    else:
        body, facts = "", "not asked yet"
    head = f'<div class="chatglm-label">{name} · {escape(facts)}</div>'
    return f'{head}<div role="region" aria-label="{name}">{body}</div>'


def facts_of(turn: Turn) -> str:
    """Say in one line how an answer ended, and how long it is."""
    tokens, size = counted(turn), len(turn.answer)
    parts = [turn.status, plural(size, "character")]
    if tokens:
        parts.append(plural(tokens, "token"))
    if turn.finish_reason:
        parts.append(f"finish: {one_line(turn.finish_reason, 40)}")
    parts += [f"changed: {one_line(what, 200)}" for what in turn.changed]
    return " · ".join(parts)


def text_of(cell: Cell, number: int) -> str:
    """Return the text of a sample as far as it has come, to compare."""
    turn, draft = cell.turns[number], cell.drafts.get(number)
    text: str = draft.text if draft is not None else turn.answer if turn is not None else ""
    return text[:LONGEST]


def _body(turn: Turn) -> str:
    cut = replace(turn, answer=turn.answer[:LONGEST], reasoning=turn.reasoning[:LONGEST])
    error = f'<p class="chatglm-failed">{escape(one_line(turn.error))}</p>' if turn.error else ""
    return answer_html(cut) + _rest(turn.answer) + error


def _rest(text: str) -> str:
    left = len(text) - LONGEST
    return look.small(f"… {left:,} more characters: the sweep's turns have them.") if left > 0 else ""
