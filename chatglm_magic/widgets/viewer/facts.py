"""What the viewer says of turns and conversations, as text and as safe HTML."""

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

UNSAVED = 2**48
"""From here on a number stands for a turn that could not be saved yet."""

MARKS = re.compile(r"\*\*|`+|(?:^|(?<=\s))#+\s")
"""Markdown that a snippet is better read without."""

TEXTS = ("system", "prompt", "messages", "history", "stream", "stream_options")


def label(row: Row) -> str:
    """Return a turn's number as people see it."""
    return f"#{row.number}" if row.number < UNSAVED else "unsaved"


def title(text: str) -> str:
    """Return a prompt as a line."""
    return one_line(text, 160) or "(empty prompt)"


def line_of_turn(row: Row, search: str | None, count: int = 1, *, is_copy: bool = False) -> str:
    """Return what stands beneath a turn's prompt in the list: a snippet, and when, which model, with what.

    :param count: how many answers of live mode the line stands for.
    :param is_copy: whether the same turn stands in the conversation that this one branched off.
    """
    turn = row.turn
    if count > 1:
        return _snippet(turn, search) + _facts(
            [label(row), format_time(turn.created), f"{count} live answers"], ""
        )
    asked = {**turn.sent, **turn.asked}
    sampling = [f"T {_short(asked.get('temperature'))}", f"p {_short(asked.get('top_p'))}"]
    facts = [
        label(row),
        format_time(turn.created),
        one_line(turn.model or "", 40),
        *(part for part in sampling if not part.endswith("–")),
        "" if turn.kind == "chat" else turn.kind,
        "in a branch" if is_copy else "",
    ]
    state = (
        ""
        if turn.status == "complete"
        else f'<span class="chatglm-{_state(turn)}">{escape_html(turn.status)}</span>'
    )
    return _snippet(turn, search) + _facts(facts, state)


def line_of_conversation(summary: Summary, last: Turn | None, present: str) -> str:
    """Return what stands beneath a conversation's title in the list: a snippet, when, and how many turns."""
    is_present = '<span class="chatglm-good">current</span>' if summary.id == present else ""
    facts = _facts([format_time(summary.last), plural(summary.turns, "turn")], is_present)
    return (_snippet(last, None) if last else "") + facts


def meta(turn: Turn) -> str:
    """Return the small line under an answer: tokens, speed, duration, time."""
    return " · ".join(part for part in (speed_line(turn), format_time(turn.created)) if part)


def facts_of(row: Row) -> tuple[tuple[str, str], ...]:
    """Return all that is known of a turn but its texts, by name."""
    turn = row.turn
    known = {
        "system prompt": turn.system,
        **_parameters(turn),
        "changed": "; ".join(turn.changed),
        "asked": format_time(turn.created),
        "first token": _seconds(turn.first_token),
        "first token of the answer": _seconds(turn.first_answer) if turn.reasoning else None,
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
        "turn": f"{label(row)} · {turn.id}",
        "version": turn.version,
    }
    return tuple((name, _value(value)) for name, value in known.items() if value)


def parameters_of(turn: Turn) -> str:
    """Return a turn's sampling parameters as lines of text, to compare."""
    return "\n".join(
        f"{name} {_value(value)}" for name, value in sorted({**_named(turn.sent), **_named(turn.asked)}.items())
    )


def _parameters(turn: Turn) -> dict[str, str]:
    """Return each parameter as it was asked for and as it was sent, where these differ."""
    asked, sent = _named(turn.asked), _named(turn.sent)
    ordered = dict.fromkeys(
        [*(n for n in parameter_names("sampling", "more") if n in {**asked, **sent}), *asked, *sent]
    )
    found = {}
    for name in ordered:
        if name in asked and name in sent and asked[name] != sent[name]:
            found[name] = f"{_value(asked[name])} (sent as {_value(sent[name])})"
        else:
            found[name] = _value(sent.get(name, asked.get(name)))
    return found


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters by our names, without texts and None."""
    return {canonical_name(k): v for k, v in values.items() if k not in TEXTS and v is not None and v != []}


def _snippet(turn: Turn, search: str | None) -> str:
    """Return the line that has what is searched for; where that is the prompt, the answer's beginning follows."""
    texts = [turn.answer, turn.prompt, turn.reasoning] if search else [turn.answer, turn.reasoning]
    found = excerpt(search, texts)
    if search and turn.answer and found == excerpt(search, [turn.prompt]):
        found += [(" → ", False), *excerpt(None, [turn.answer])]
    parts = [
        f"<mark>{escape_html(part)}</mark>" if is_hit else escape_html(MARKS.sub("", part))
        for part, is_hit in found
    ]
    return f'<div class="chatglm-snippet">{"".join(parts)}</div>' if parts else ""


def _facts(parts: Sequence[str], state: str) -> str:
    spans = [f"<span>{escape_html(part)}</span>" for part in parts if part]
    return f'<div class="chatglm-itemfacts">{"".join([*spans, state])}</div>'


def _value(value: Any) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), 300)


def _seconds(value: float | None) -> str | None:
    return None if value is None else format_seconds(value)


def _state(turn: Turn) -> str:
    return {"superseded": "old", "interrupted": "unsure", "incomplete": "unsure"}.get(turn.status, "bad")


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else "–"
