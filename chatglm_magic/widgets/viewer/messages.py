"""Stored turns as the messages of a transcript."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from functools import lru_cache

from ...render.answers import escape_html, incomplete_reason
from ...render.blocks import BlockRenderer, plain_blocks
from ...render.text import one_line
from ...store import Row
from ...values import Turn
from ..transcript import Message, MessageNotice
from ..words import drop_commands, parameters_line
from .facts import answer_meta, turn_facts

MAX_TEXT_CHARS = 100_000
"""Characters of a text that are sent to the page; a note gives the number of the others, which an export has."""

STATUS_NOTICES = {
    "superseded": "Replaced by a later answer.",
    "incomplete": "Not complete.",
    "error": "No answer.",
}


def group_versions(rows: Iterable[Row]) -> list[list[Row]]:
    """Group a conversation's turns, each with the versions it replaced, the oldest first."""
    groups: list[list[Row]] = []
    for row in rows:
        if groups and groups[-1][0].position == row.position:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [part for group in groups for part in _split_unless_replaced(group)]


def _split_unless_replaced(group: list[Row]) -> list[list[Row]]:
    """Return one group if the turns are versions of one turn, else (a loop's turns) one group for each."""
    current = [row for row in group if row.turn.status != "superseded"]
    is_one_turn = len(current) == 1 or len({row.turn.prompt for row in group}) == 1
    return [group] if is_one_turn else [[row] for row in group]


def find_shown_version(group: Sequence[Row], preferred: Container[str]) -> int:
    """Return the index of the version to show: a preferred one, else one that wasn't replaced, else the last."""
    for test in (lambda row: row.turn.id in preferred, lambda row: row.turn.status != "superseded"):
        for index, row in enumerate(group):
            if test(row):
                return index
    return len(group) - 1


def transcript_messages(
    groups: Sequence[Sequence[Row]], preferred: Container[str], is_selected: Callable[[str], bool]
) -> list[Message]:
    """Return the messages of turns; a prompt that a sweep or live mode sent repeatedly is shown once."""
    messages: list[Message] = []
    previous: Turn | None = None
    lane = ""
    for group in groups:
        index = find_shown_version(group, preferred)
        row = group[index]
        turn = row.turn
        repeats = previous is not None and turn.kind == previous.kind != "chat" and turn.prompt == previous.prompt
        lane = "" if turn.kind != "live" else lane if repeats else turn.id
        if not repeats:
            messages.append(prompt_message(turn, selected=is_selected(turn.id) if turn.kind == "chat" else None))
        messages.append(
            answer_message(
                row,
                versions=(index + 1, len(group)),
                lane=lane,
                label=parameters_line(turn, labels=False) if turn.kind != "chat" else "",
                selected=None if turn.kind == "chat" else is_selected(turn.id),
            )
        )
        previous = turn
    return messages


def prompt_message(turn: Turn, *, selected: bool | None = None) -> Message:
    """Return the message with a turn's prompt."""
    return Message(
        f"q{turn.id}",
        "user",
        "You",
        (*plain_blocks(turn.prompt[:MAX_TEXT_CHARS]), *_cut_note(turn.prompt)),
        turn.prompt if len(turn.prompt) <= MAX_TEXT_CHARS else "",
        actions=("edit", "copy") if turn.kind == "chat" else ("copy",),
        selected=selected,
    )


def answer_message(
    row: Row, *, versions: tuple[int, int], lane: str = "", label: str = "", selected: bool | None = None
) -> Message:
    """Return the message with a turn's answer and facts."""
    turn = row.turn
    text = turn.answer[:MAX_TEXT_CHARS]
    return Message(
        f"a{turn.id}",
        label=label or one_line(turn.model or "GLM", 60),
        blocks=(*collapsed_thinking(turn.reasoning), *_answer_blocks(text), *_cut_note(turn.answer)),
        source=turn.answer,
        meta=answer_meta(turn),
        facts=turn_facts(row),
        notice=_notice(turn),
        versions=versions,
        actions=("copy", "again", "branch", "delete"),
        lane=lane,
        selected=selected,
    )


def collapsed_thinking(reasoning: str) -> tuple[str, ...]:
    """Return a model's thinking as a collapsed block."""
    if not reasoning:
        return ()
    body = f'<div class="chatglm-thinking">{escape_html(reasoning[:MAX_TEXT_CHARS])}</div>'
    return (f"<details><summary>Thinking</summary>{body}{''.join(_cut_note(reasoning))}</details>",)


@lru_cache(maxsize=2 * 20)
def _answer_blocks(text: str) -> tuple[str, ...]:
    """Return an answer's blocks, cached because a page's messages are rebuilt on every change."""
    return tuple(BlockRenderer().update(text))


def _cut_note(text: str) -> list[str]:
    remaining = len(text) - MAX_TEXT_CHARS
    if remaining <= 0:
        return []
    return [f"<p><em>… {remaining:,} more characters: export the turn to see all.</em></p>"]


def _notice(turn: Turn) -> MessageNotice | None:
    if turn.status in ("error", "incomplete") and turn.error:
        return MessageNotice(drop_commands(turn.error) or one_line(turn.error), "failed")
    text = STATUS_NOTICES.get(turn.status) or incomplete_reason(turn)
    return MessageNotice(text[:1].upper() + text[1:]) if text else None
