"""How the viewer describes turns and conversations, as text and as safe HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...parameters import canonical_name, parameter_names
from ...render.answers import completion_tokens, describe_speed, escape_html
from ...render.text import format_seconds, format_time, one_line, plural
from ...store import Row, Summary, excerpt
from ...values import Turn
from ..words import speed_line

FIRST_UNSAVED_NUMBER = 2**48
"""Turns that couldn't be saved yet are numbered from here."""

MARKDOWN_SIGNS = re.compile(r"\*\*|`+|(?:^|(?<=\s))#+\s")
"""Markdown syntax that is left out of snippets."""

NOT_SAMPLING = ("system", "prompt", "messages", "history", "stream", "stream_options")


def turn_label(row: Row) -> str:
    """Return a turn's number as text."""
    return f"#{row.number}" if row.number < FIRST_UNSAVED_NUMBER else "unsaved"


def prompt_line(text: str) -> str:
    """Return a prompt as one line."""
    return one_line(text, 160) or "(empty prompt)"


def turn_summary(row: Row, search: str | None, count: int = 1, *, is_copy: bool = False) -> str:
    """Return the HTML below a turn's prompt in the list: a snippet, the time, the model and the parameters.

    :param count: how many answers of live mode the line represents.
    :param is_copy: whether a branch copied the turn from another conversation.
    """
    turn = row.turn
    if count > 1:
        facts = [turn_label(row), format_time(turn.created), f"{count} live answers"]
        return _snippet_html(turn, search) + _facts_html(facts, "")
    values = {**turn.sent, **turn.asked}
    sampling = [f"T {_format_number(values.get('temperature'))}", f"p {_format_number(values.get('top_p'))}"]
    facts = [
        turn_label(row),
        format_time(turn.created),
        one_line(turn.model or "", 40),
        *(part for part in sampling if not part.endswith("–")),
        "" if turn.kind == "chat" else turn.kind,
        "in a branch" if is_copy else "",
    ]
    state = ""
    if turn.status != "complete":
        state = f'<span class="chatglm-{_state_class(turn)}">{escape_html(turn.status)}</span>'
    return _snippet_html(turn, search) + _facts_html(facts, state)


def conversation_summary(summary: Summary, last: Turn | None, current: str) -> str:
    """Return the HTML below a conversation's title in the list: a snippet, the time and the number of turns."""
    marker = '<span class="chatglm-good">current</span>' if summary.id == current else ""
    facts = _facts_html([format_time(summary.last), plural(summary.turns, "turn")], marker)
    return (_snippet_html(last, None) if last else "") + facts


def answer_meta(turn: Turn) -> str:
    """Return the small line under an answer: tokens, speed, duration, time."""
    return " · ".join(part for part in (speed_line(turn), format_time(turn.created)) if part)


def turn_facts(row: Row) -> tuple[tuple[str, str], ...]:
    """Return everything known about a turn except its texts, as pairs of a name and a value."""
    turn = row.turn
    known = {
        "system prompt": turn.system,
        **_parameters(turn),
        "changed": "; ".join(turn.changed),
        "asked": format_time(turn.created),
        "first token": _format_seconds(turn.first_token),
        "first token of the answer": _format_seconds(turn.first_answer) if turn.reasoning else None,
        "whole answer": describe_speed(turn),
        "prompt tokens": turn.usage.get("prompt_tokens"),
        "answer tokens": completion_tokens(turn) or None,
        "for reasoning": turn.reasoning_tokens,
        "finish reason": turn.finish_reason,
        "status": turn.status,
        "model": turn.model,
        "endpoint": turn.endpoint,
        "dialect": turn.dialect,
        "earlier turns sent": turn.turns_sent or None,
        "left out, too long": turn.turns_left_out or None,
        "kind": turn.kind + (", outside the conversation" if turn.outside and turn.kind == "chat" else ""),
        "run of a cell": turn.cell_run or None,
        "turn": f"{turn_label(row)} · {turn.id}",
        "version": turn.version,
    }
    return tuple((name, _format_value(value)) for name, value in known.items() if value)


def parameter_lines(turn: Turn) -> str:
    """Return a turn's sampling parameters as text, one a line."""
    return "\n".join(
        f"{name} {_format_value(value)}"
        for name, value in sorted({**_by_canonical_name(turn.sent), **_by_canonical_name(turn.asked)}.items())
    )


def _parameters(turn: Turn) -> dict[str, str]:
    """Return each parameter as it was set, and as it was sent if that differs."""
    asked, sent = _by_canonical_name(turn.asked), _by_canonical_name(turn.sent)
    known = [name for name in parameter_names("sampling", "more") if name in asked or name in sent]
    ordered = dict.fromkeys([*known, *asked, *sent])
    shown = {}
    for name in ordered:
        if name in asked and name in sent and asked[name] != sent[name]:
            shown[name] = f"{_format_value(asked[name])} (sent as {_format_value(sent[name])})"
        else:
            shown[name] = _format_value(sent.get(name, asked.get(name)))
    return shown


def _by_canonical_name(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters under our names, without texts and unset values."""
    return {canonical_name(k): v for k, v in values.items() if k not in NOT_SAMPLING and v is not None and v != []}


def _snippet_html(turn: Turn, search: str | None) -> str:
    """Return the line that matches the search; if that is the prompt, the beginning of the answer follows."""
    texts = [turn.answer, turn.prompt, turn.reasoning] if search else [turn.answer, turn.reasoning]
    pieces = excerpt(search, texts)
    if search and turn.answer and pieces == excerpt(search, [turn.prompt]):
        pieces += [(" → ", False), *excerpt(None, [turn.answer])]
    parts = [
        f"<mark>{escape_html(piece)}</mark>" if is_match else escape_html(MARKDOWN_SIGNS.sub("", piece))
        for piece, is_match in pieces
    ]
    return f'<div class="chatglm-snippet">{"".join(parts)}</div>' if parts else ""


def _facts_html(parts: Sequence[str], state: str) -> str:
    spans = [f"<span>{escape_html(part)}</span>" for part in parts if part]
    return f'<div class="chatglm-itemfacts">{"".join([*spans, state])}</div>'


def _format_value(value: Any) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), 300)


def _format_seconds(value: float | None) -> str | None:
    return None if value is None else format_seconds(value)


def _state_class(turn: Turn) -> str:
    return {"superseded": "old", "interrupted": "unsure", "incomplete": "unsure"}.get(turn.status, "bad")


def _format_number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else "–"
