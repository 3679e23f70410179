"""Texts of widgets about answers and errors, without the magics that error messages suggest for cells."""

from __future__ import annotations

import re

from ..parameters import answer_parameter_names, find_value
from ..render.answers import completion_tokens
from ..render.text import format_seconds, one_line, plural
from ..values import CONTEXT_FULL, Turn
from .messages import MessageNotice

REWORDINGS = (
    (r"Set the key with %chatglm_config api_key, or the variable CHATGLM_API_KEY", "Enter its key under Server"),
    (r"requires a key: %chatglm_config api_key", "requires a key: enter it under Server."),
    (r"a key goes into api_key \(%chatglm_config api_key\)", "a key goes into the box API key"),
    (r"it goes into api_key \(%chatglm_config api_key\)", "it goes into the box API key"),
    (r"(?:,|;|:)? ?%chatglm_serve starts (?:the built-in model|one that does|a server that does)", ""),
    (r"(?i)(set another address): %chatglm_config endpoint_url=\S+?(?=[;.\s])", r"\1 under Server"),
    (r"Check endpoint_url \(%chatglm_config endpoint_url=\S+\)", "Check the address under Server"),
    (r"end endpoint_url in (\S+) \(%chatglm_config endpoint_url=\S+\)", r"end the address in \1"),
    (r" \(%chatglm_config endpoint_url=\S+\)", ""),
    (r"%chatglm_config dialect=(\w+) selects it", r"Choose the protocol under Server"),
    (r"or set dialect=\w+", "or choose the protocol under Server"),
    (r"Choose a model the server has: %chatglm_config model=NAME", "Choose a model under Server"),
    (r"start a new conversation: %chatglm_history --reset", "start a new chat"),
    (r"Ask again, or wait longer: %chatglm_config \w+=SECONDS", "Ask again"),
    (r"; %chatglm_config store=off saves none", ""),
    (r" \(\w*(?:Error|Exception|Disconnected)\)", ""),
    (r"\bendpoint_url\b", "the address"),
    (r"\bmax_token\b", "Max tokens"),
)
"""Pattern and replacement: an error's advice for a cell, and the same advice for a widget."""

SENTENCE_END = re.compile(r"(?<=[.。!?])\s")


def reword_for_widgets(text: str) -> str:
    """Reword an error's text for a widget, and drop the sentences that still mention a magic."""
    for pattern, replacement in REWORDINGS:
        text = re.sub(pattern, replacement, text)
    return drop_commands(text)


def drop_commands(text: str) -> str:
    """Return a text as one line, without the sentences that mention a magic."""
    sentences = SENTENCE_END.split(text)
    return one_line(" ".join(each for each in sentences if "%chatglm" not in each and "%pip" not in each))


def notice_of(turn: Turn, details: str = "") -> MessageNotice | None:
    """Return the notice below an answer about how it ended; None if there is nothing to report."""
    if turn.status == "interrupted":
        return MessageNotice("Stopped.")
    if turn.status in ("incomplete", "error"):
        text = reword_for_widgets(turn.error or "") or "The connection broke before the answer was complete."
        if re.fullmatch(r"\w+\(.*\)", turn.error or "", re.DOTALL):  # the repr of an error of this package
            text = "The answer couldn't be displayed completely."
        return MessageNotice(text, "failed", details)
    if turn.spent_on_thinking:
        return MessageNotice("Thinking used up Max tokens. Raise it, or choose less thinking.")
    if turn.finish_reason == "length":
        if not turn.answer:
            return MessageNotice("Max tokens was used up before an answer began.")
        return MessageNotice("Reached Max tokens.", action="continue", label="Continue")
    if turn.finish_reason == CONTEXT_FULL:
        return MessageNotice("The model's context is full. Start a new chat, or shorten the prompt.")
    if not turn.answer:
        return MessageNotice("The answer is empty.")
    changed = [str(change) for change in turn.changed]
    if turn.turns_left_out:
        changed.append(f"{plural(turn.turns_left_out, 'early turn')} left out: the context is full")
    return MessageNotice(f"Changed: {'; '.join(changed)}") if changed else None


def speed_line(turn: Turn) -> str:
    """Return the small line below an answer: its tokens, tokens per second and duration."""
    tokens, parts = completion_tokens(turn), []
    if tokens:
        parts.append(plural(tokens, "token"))
    writing_seconds = (turn.duration or 0) - (turn.first_token or 0)
    if tokens and writing_seconds > 0.05:
        parts.append(f"{tokens / writing_seconds:.0f} tok/s")
    if turn.duration is not None:
        parts.append(format_seconds(turn.duration))
    return " · ".join(parts)


def answer_facts(turn: Turn) -> tuple[tuple[str, str], ...]:
    """Return the name and value of each further fact about an answer."""
    facts = [("Model", turn.model or "server default"), ("Parameters", parameters_line(turn))]
    if turn.turns_sent:
        facts.append(("Context", f"{plural(turn.turns_sent, 'earlier turn')} sent"))
    if turn.first_token is not None:
        facts.append(("First token", format_seconds(turn.first_token)))
    if turn.reasoning_tokens:
        facts.append(("Thinking", plural(turn.reasoning_tokens, "token")))
    facts.append(("Ended", turn.finish_reason or turn.status))
    return tuple((name, one_line(value)) for name, value in facts)


def parameters_line(turn: Turn, *, labels: bool = True) -> str:
    """Return the parameters that were set for a turn, in one line.

    :param labels: whether to name them as the panel does, as ``Max tokens``, or by their own names.
    """
    parts = []
    for name in answer_parameter_names():
        value = turn.asked[name] if name in turn.asked else find_value(turn.sent, name)
        if value is not None:
            text = f"{value:g}" if isinstance(value, float) else str(value)
            parts.append(f"{label_of(name) if labels else name} {text}")
    return " · ".join(parts) or "server defaults"


LABELS = {"max_token": "Max tokens", "top_p": "Top-p", "top_k": "Top-k", "min_p": "Min-p"}


def label_of(name: str) -> str:
    """Return a parameter's label."""
    return LABELS.get(name) or name.replace("_", " ").capitalize()
