"""A stored turn as HTML, whole. All of it is escaped or cleaned; none is trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...parameters import names, our_name
from ...render.answers import counted, escape, speed
from ...render.text import one_line
from ...store import Row
from ...values import Turn
from .. import look
from ..answer import answer_html
from .facts import when

LONGEST = 200_000
"""Characters of a text that a page is given; the rest is counted, and is in the export."""

TEXTS = ("system", "prompt", "messages", "history", "stream", "stream_options")


def whole(turn: Turn) -> str:
    """Return prompt, answer and reasoning in full, as far as a page can take them."""
    answer = answer_html(replace(turn, answer=turn.answer[:LONGEST], reasoning=""))
    parts = [_section("System prompt", _plain(turn.system))] if turn.system else []
    parts += [_section("Prompt", _plain(turn.prompt)), _section("Answer", answer + _rest(turn.answer))]
    if turn.error:
        parts.append(f'<p class="chatglm-failed">{escape(one_line(turn.error))}</p>')
    if turn.reasoning:
        parts.append(_section("Reasoning", _plain(turn.reasoning)))
    return "".join(parts)


def particulars(row: Row) -> str:
    """Return parameters, timings and origin as tables."""
    turn = row.turn
    timings = {
        "asked": when(turn.created),
        "first token": _seconds(turn.first_token),
        "first token of the answer": _seconds(turn.first_answer) if turn.reasoning else None,
        "whole answer": speed(turn),
        "prompt tokens": turn.usage.get("prompt_tokens"),
        "answer tokens": counted(turn) or None,
        "for reasoning": turn.reasoning_tokens,
        "finish reason": turn.finish_reason,
        "status": turn.status,
    }
    origin = {
        "model": turn.model,
        "endpoint": turn.endpoint,
        "dialect": turn.dialect,
        "earlier turns sent": turn.turns_sent or None,
        "left out, too long": turn.turns_left_out or None,
        "kind": turn.kind + (", outside the conversation" if turn.outside and turn.kind == "chat" else ""),
        "run of a cell": turn.cell_run or None,
        "conversation": turn.conversation,
        "turn": turn.id,
        "version": turn.version,
    }
    changed = "".join(f"<p>changed: {escape(one_line(what))}</p>" for what in turn.changed)
    sections = {"Parameters": _parameters(turn) + changed, "Timings": _listed(timings), "Origin": _listed(origin)}
    blocks = "".join(f"<div>{_section(name, body)}</div>" for name, body in sections.items())
    return f'<div class="chatglm-particulars">{blocks}</div>'


def parameters_of(turn: Turn) -> str:
    """Return a turn's sampling parameters as lines of text, to compare."""
    return "\n".join(
        f"{name} {_value(value)}" for name, value in sorted({**_named(turn.sent), **_named(turn.asked)}.items())
    )


def _parameters(turn: Turn) -> str:
    asked, sent = _named(turn.asked), _named(turn.sent)
    rows_of = list(
        dict.fromkeys([*(n for n in names("sampling", "more") if n in {**asked, **sent}), *asked, *sent])
    )
    rows = [[name, _value(asked.get(name)), _value(sent.get(name))] for name in rows_of]
    return _table([["", "asked", "sent"], *rows], head=True) if rows else look.small("none: the server's defaults")


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by our names, without texts and None."""
    return {our_name(k): v for k, v in values.items() if k not in TEXTS and v is not None and v != []}


def _table(rows: list[list[str]], *, head: bool = False) -> str:
    lines = []
    for number, row in enumerate(rows):
        first, *rest = (escape(cell) for cell in row)
        tag = "th" if head and number == 0 else "td"
        lines.append(f"<tr><th>{first}</th>{''.join(f'<{tag}>{cell}</{tag}>' for cell in rest)}</tr>")
    return f'<table class="chatglm-table"><tbody>{"".join(lines)}</tbody></table>'


def _listed(values: Mapping[str, Any]) -> str:
    return _table([[name, _value(value)] for name, value in values.items() if value])


def _section(name: str, body: str) -> str:
    return f'<div class="chatglm-label" role="heading" aria-level="4">{name}</div>{body}'


def _plain(text: str | None) -> str:
    text = text or ""
    return f'<div class="chatglm-text">{escape(text[:LONGEST])}</div>{_rest(text)}'


def _rest(text: str) -> str:
    left = len(text) - LONGEST
    return (
        f'<p class="chatglm-small">… {left:,} more characters: export the turn to see all.</p>' if left > 0 else ""
    )


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), 300)


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f} s"
