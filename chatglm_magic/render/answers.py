"""A turn as a MIME bundle: source as plain text, safe HTML, and its provenance as metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from ..parameters import answer_parameter_names
from ..strictjson import strict_json
from ..values import CONTEXT_FULL, Turn
from .outer import html_output
from .text import align_columns, escape_surrogates, format_seconds, plural

Format = Literal["rich", "text", "code", "json", "markdown"]
FORMATS: tuple[Format, ...] = ("rich", "text", "code", "json", "markdown")

SMALL_STYLE = "color:var(--jp-ui-font-color2,#616161);font-size:.85em"
FENCED_JSON = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL)


def mime_bundle(turn: Turn, *, form: Format = "rich") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (data, metadata) for a finished turn.

    Only ``rich`` has HTML. What varies from run to run (times, speeds) is in the metadata alone, so that a
    notebook's outputs can be compared.
    """
    text = answer_text(turn, form=form)
    data = html_output(text, answer_html(turn)) if form == "rich" else {"text/plain": text}
    return escape_json_surrogates(data), {"chatglm": escape_json_surrogates(provenance(turn))}


def blank_mime_bundle(turn: Turn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an empty output with a turn's metadata, for an error that is displayed elsewhere."""
    return html_output("", ""), {"chatglm": escape_json_surrogates(provenance(turn))}


def escape_json_surrogates(value: Any) -> Any:
    """Escape the lone surrogates in JSON values, which a kernel can't send as UTF-8."""
    if isinstance(value, str):
        return escape_surrogates(value)
    if isinstance(value, dict):
        return {key: escape_json_surrogates(item) for key, item in value.items()}
    return [escape_json_surrogates(item) for item in value] if isinstance(value, list | tuple) else value


def provenance(turn: Turn) -> dict[str, Any]:
    """Return a turn's facts except those that are empty and the texts, which are in the output itself."""
    texts = {"prompt", "answer", "reasoning"}
    facts = {key: value for key, value in turn.to_json().items() if key not in texts}
    facts |= {"first_thinking": turn.first_thinking, "spent_on_thinking": turn.spent_on_thinking or None}
    return {key: value for key, value in facts.items() if value not in (None, "", [], {})}


def answer_text(turn: Turn, *, form: Format = "rich") -> str:
    """Return the answer as text in a form, with a last line that says why it is incomplete."""
    mark = incomplete_reason(turn)
    body = format_answer(turn.answer, form) if not mark else turn.answer
    return f"{body}\n[{mark}]" if mark else body


def format_answer(text: str, form: Format) -> str:
    """Return an answer's text in a form: ``code`` is its fenced code, ``json`` its parsed JSON."""
    if form == "code":
        from .markdown import fenced_code

        return fenced_code(text)
    if form == "json":
        match = FENCED_JSON.search(text)
        try:
            value = strict_json(match[1] if match else text)
        except ValueError:
            return text
        return json.dumps(value, indent=2, ensure_ascii=False)
    return text


def answer_html(turn: Turn) -> str:
    """Return the answer as safe HTML: collapsed thinking, the text, and a line with its facts."""
    from .markdown import to_html

    mark = incomplete_reason(turn)
    parts = [_thinking_details(turn.reasoning), to_html(turn.answer)]
    if mark:
        parts.append(f'<p style="color:var(--jp-error-color1,#b71c1c);margin:.4em 0">[{escape_html(mark)}]</p>')
    parts.append(f'<div style="{SMALL_STYLE};margin-top:.4em">{escape_html(footer(turn))}</div>')
    return "".join(parts)


def live_html(text: str, reasoning: str, activity: str = "") -> str:
    """Return an answer in progress as safe HTML.

    Its thinking isn't collapsed, since an update would close what a reader opened.

    :param activity: a line that says what the answer is waiting for.
    """
    from .markdown import to_html

    if reasoning and not activity:
        activity = "Thinking"
    waiting = dim_html(activity) if activity else ""
    return waiting + _thinking_html(reasoning) + (to_html(text, streaming=True) if text else "")


def dim_html(text: str) -> str:
    """Return a line of small, dim text as safe HTML."""
    return f'<div style="{SMALL_STYLE}">{escape_html(text)}</div>'


def _thinking_details(reasoning: str) -> str:
    if not reasoning:
        return ""
    summary = f'<summary style="{SMALL_STYLE};cursor:pointer">Thinking</summary>'
    return f"<details>{summary}{_thinking_html(reasoning)}</details>"


def _thinking_html(reasoning: str) -> str:
    border = "border-left:3px solid var(--jp-border-color1,#bdbdbd);padding-left:.8em"
    style = f"{SMALL_STYLE};white-space:pre-wrap;max-width:44rem;{border}"
    return f'<div style="{style}">{escape_html(reasoning)}</div>' if reasoning else ""


def incomplete_reason(turn: Turn) -> str:
    """Say in a few words why an answer is incomplete; empty if it is complete."""
    if turn.status == "interrupted":
        return "stopped before it was complete"
    if turn.status == "incomplete":
        return "incomplete: the connection broke off" if not turn.error else f"incomplete: {turn.error}"
    if turn.status == "error":
        return "no answer"
    if turn.spent_on_thinking:
        return "no answer: thinking used up max_token. Raise max_token, or reduce thinking"
    if turn.finish_reason == "length":
        return "cut at max_token" if turn.answer else "no answer: max_token was used up"
    if turn.finish_reason == CONTEXT_FULL:
        return "cut: the model's context is full"
    return "empty answer" if not turn.answer else ""


def footer(turn: Turn) -> str:
    """Return one line with the model and its parameters; nothing in it changes from run to run."""
    names = [name for name in answer_parameter_names() if turn.asked.get(name) is not None]
    sampling = [f"{name} {_short(turn.asked[name])}" for name in names]
    parts = [turn.model or "", ", ".join(sampling)]
    if turn.turns_sent:
        parts.append(f"{plural(turn.turns_sent, 'earlier turn')} sent")
    if turn.turns_left_out:
        parts.append(f"{turn.turns_left_out} left out, too long")
    parts += describe_tokens(turn)
    parts += [f"changed: {what}" for what in turn.changed]
    return " · ".join(part for part in parts if part)


def completion_tokens(turn: Turn) -> int:
    """Return the number of tokens of the answer that the server reported; 0 if it reported none."""
    tokens = turn.usage.get("completion_tokens")
    return tokens if isinstance(tokens, int) and 0 <= tokens < 2**53 else 0


def describe_tokens(turn: Turn) -> list[str]:
    """Return the token counts of an answer and its thinking in words, if known."""
    tokens, thinking = completion_tokens(turn), turn.reasoning_tokens
    if tokens and thinking:
        return [f"{plural(tokens, 'token')}, {thinking} for reasoning"]
    return [plural(tokens, "token")] if tokens else [f"{thinking} reasoning tokens"] if thinking else []


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def describe_speed(turn: Turn) -> str:
    """Return an answer's duration and tokens per second, for a terminal's last line and the status card."""
    parts = [format_seconds(turn.duration)] if turn.duration is not None else []
    tokens, streamed = completion_tokens(turn), (turn.duration or 0) - (turn.first_token or 0)
    if tokens and streamed > 0.05:
        parts.append(f"{tokens / streamed:.0f} tokens/s")
    return ", ".join(parts)


def escape_html(text: str) -> str:
    """Escape text for HTML, including its control characters."""
    import html as stdlib_html

    from .text import escape_controls

    return stdlib_html.escape(escape_controls(text))


def card(rows: Mapping[str, str]) -> dict[str, str]:
    """Return a table of names and values as plain text and HTML; every value is text, never markup."""
    return html_output(
        "\n".join(align_columns(list(rows.items()))), f"<table><tbody>{_card_rows(rows)}</tbody></table>"
    )


def grouped_card(groups: Mapping[str, Mapping[str, str]], note: str = "") -> dict[str, str]:
    """Return several tables as one, each below its heading; ``note`` is a last line."""
    width = max((len(name) for rows in groups.values() for name in rows), default=0)
    lines, body, style = [], "", f"{CARD_CELL_STYLE};{SMALL_STYLE}"
    for heading, rows in groups.items():
        lines += [heading, *(f"  {name:<{width}}  {value}" for name, value in rows.items())]
        title = (
            f'<th colspan="2" scope="rowgroup" style="{CARD_CELL_STYLE};{SMALL_STYLE}">{escape_html(heading)}</th>'
        )
        body += f"<tbody><tr>{title}</tr>{_card_rows(rows)}</tbody>"
    if note:
        lines.append(note)
        body += f'<tfoot><tr><td colspan="2" style="{style}">{escape_html(note)}</td></tr></tfoot>'
    return html_output("\n".join(lines), f"<table>{body}</table>")


CARD_CELL_STYLE = "text-align:left;padding:.15em .8em .15em 0"


def _card_rows(rows: Mapping[str, str]) -> str:
    return "".join(
        f'<tr><th scope="row" style="{CARD_CELL_STYLE};font-weight:600">{escape_html(name)}</th>'
        f'<td style="{CARD_CELL_STYLE}">{escape_html(value)}</td></tr>'
        for name, value in rows.items()
    )
