"""Stored turns as the messages of a transcript."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from functools import lru_cache

from ...render.answers import escape_html, incomplete_reason
from ...render.blocks import BlockRenderer, plain_blocks
from ...render.text import one_line
from ...store import Row
from ...values import Turn
from ..transcript import Message, Notice
from ..words import drop_commands, parameters_line
from .facts import facts_of, meta

LONGEST = 100_000
"""Characters of a text that a page is given; the rest is counted, and is in the export."""

REASONS = {"superseded": "Replaced by a later answer.", "incomplete": "Not complete.", "error": "No answer."}


def grouped(rows: Iterable[Row]) -> list[list[Row]]:
    """Return a conversation's turns with those that replaced each other together, the oldest version first."""
    groups: list[list[Row]] = []
    for row in rows:
        if groups and groups[-1][0].position == row.position:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [part for group in groups for part in _versions(group)]


def _versions(group: list[Row]) -> list[list[Row]]:
    """Return one group where one turn stands and the others were replaced; a loop's turns all stand."""
    standing = [row for row in group if row.turn.status != "superseded"]
    return (
        [group] if len(standing) == 1 or len({row.turn.prompt for row in group}) == 1 else [[row] for row in group]
    )


def chosen(group: Sequence[Row], wanted: Container[str]) -> int:
    """Return which version of a turn is shown: a wanted one, else the one that stands, else the last."""
    for test in (lambda row: row.turn.id in wanted, lambda row: row.turn.status != "superseded"):
        for at, row in enumerate(group):
            if test(row):
                return at
    return len(group) - 1


def messages_of(
    groups: Sequence[Sequence[Row]], wanted: Container[str], is_selected: Callable[[str], bool]
) -> list[Message]:
    """Return the messages of turns; a prompt that a sweep or live mode sent again and again is there once."""
    found: list[Message] = []
    before: Turn | None = None
    lane = ""
    for group in groups:
        at = chosen(group, wanted)
        row = group[at]
        turn = row.turn
        again = before is not None and turn.kind == before.kind != "chat" and turn.prompt == before.prompt
        lane = "" if turn.kind != "live" else lane if again else turn.id
        if not again:
            found.append(prompt_message(turn, selected=is_selected(turn.id) if turn.kind == "chat" else None))
        found.append(
            answer_message(
                row,
                versions=(at + 1, len(group)),
                lane=lane,
                label=parameters_line(turn, labels=False) if turn.kind != "chat" else "",
                selected=None if turn.kind == "chat" else is_selected(turn.id),
            )
        )
        before = turn
    return found


def prompt_message(turn: Turn, *, selected: bool | None = None) -> Message:
    """Return a turn's prompt."""
    return Message(
        f"q{turn.id}",
        "user",
        "You",
        (*plain_blocks(turn.prompt[:LONGEST]), *_rest(turn.prompt)),
        turn.prompt if len(turn.prompt) <= LONGEST else "",
        actions=("edit", "copy") if turn.kind == "chat" else ("copy",),
        selected=selected,
    )


def answer_message(
    row: Row, *, versions: tuple[int, int], lane: str = "", label: str = "", selected: bool | None = None
) -> Message:
    """Return a turn's answer with its facts."""
    turn = row.turn
    text = turn.answer[:LONGEST]
    return Message(
        f"a{turn.id}",
        label=label or one_line(turn.model or "GLM", 60),
        blocks=(*thinking_blocks(turn.reasoning), *_answer_blocks(text), *_rest(turn.answer)),
        source=turn.answer,
        meta=meta(turn),
        facts=facts_of(row),
        notice=_notice(turn),
        versions=versions,
        actions=("copy", "again", "branch", "delete"),
        lane=lane,
        selected=selected,
    )


def thinking_blocks(reasoning: str) -> tuple[str, ...]:
    """Return a model's thinking, folded away."""
    if not reasoning:
        return ()
    body = f'<div class="chatglm-thinking">{escape_html(reasoning[:LONGEST])}</div>'
    return (f"<details><summary>Thinking</summary>{body}{''.join(_rest(reasoning))}</details>",)


@lru_cache(maxsize=2 * 20)
def _answer_blocks(text: str) -> tuple[str, ...]:
    """Return an answer's blocks; those of a page are kept, since its messages are made again with every change."""
    return tuple(BlockRenderer().update(text))


def _rest(text: str) -> list[str]:
    left = len(text) - LONGEST
    return [f"<p><em>… {left:,} more characters: export the turn to see all.</em></p>"] if left > 0 else []


def _notice(turn: Turn) -> Notice | None:
    if turn.status in ("error", "incomplete") and turn.error:
        return Notice(drop_commands(turn.error) or one_line(turn.error), "failed")
    text = REASONS.get(turn.status) or incomplete_reason(turn)
    return Notice(text[:1].upper() + text[1:]) if text else None
