"""Live mode's last three answers side by side, each compared with the one to its left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...render.answers import escape_html
from ...render.diff import MAX_HIGHLIGHTED_SHARE, highlight_changes
from ..messages import Message
from ..words import notice_of, speed_line

if TYPE_CHECKING:
    from .place import PanelAnswer

MAX_LANES = 3

PRE_WRAP_STYLE = "white-space:pre-wrap;overflow-wrap:anywhere"


class Lanes:
    """The last answers of live mode. Not thread-safe: the caller holds a lock."""

    def __init__(self) -> None:
        self._answers: list[PanelAnswer] = []

    def __iter__(self) -> Iterator[PanelAnswer]:
        return iter(self._answers)

    def clear(self) -> None:
        """Remove all answers."""
        self._answers = []

    def add(self, answer: PanelAnswer) -> None:
        """Add an answer on the right; the oldest is removed if there are too many."""
        self._answers = [*self._answers, answer][-MAX_LANES:]

    def drop(self, answer: PanelAnswer) -> None:
        """Remove an answer whose prompt was sent again before it was complete."""
        self._answers = [each for each in self._answers if each is not answer]

    def messages(self) -> list[Message]:
        """Return the answers as messages that are displayed side by side."""
        return [self.message(answer) for answer in self._answers]

    def message(self, answer: PanelAnswer) -> Message:
        """Return one answer as a message, headed by its prompt and parameters."""
        index = self._answers.index(answer)
        before = self._answers[index - 1] if index else None
        html, badge = _plain_html(answer.text), ""
        if before is not None and answer.is_finished and before.is_finished and answer.text and before.text:
            html, badge = _compare_html(before.text, answer.text)
        turn = answer.turn if answer.is_finished else None
        return Message(
            f"lane-{answer.id}",
            label=f"{_shorten(answer.prompt)}\n{answer.heading}",
            blocks=(html,) if html else (),
            source=answer.text,
            meta=speed_line(turn) if turn else "",
            notice=notice_of(turn) if turn else None,
            actions=("copy",) if answer.text and turn else (),
            busy=not answer.is_finished,
            lane="live",
            badge=badge,
        )


def _compare_html(before: str, text: str) -> tuple[str, str]:
    """Return a text compared with the one to its left as safe HTML, and the result as a badge."""
    if text == before:
        return _plain_html(text), "same as left"
    html, share = highlight_changes(before, text)
    return (_plain_html(text), "different answer") if share >= MAX_HIGHLIGHTED_SHARE else (html, "")


def _plain_html(text: str) -> str:
    return f'<div style="{PRE_WRAP_STYLE}">{escape_html(text)}</div>' if text else ""


def _shorten(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
