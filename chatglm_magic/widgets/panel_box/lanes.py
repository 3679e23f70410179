"""Live mode's last three answers side by side, each compared with the one at its left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...render.answers import escape_html
from ...render.diff import MAX_HIGHLIGHTED_SHARE, highlight_changes
from ..messages import Message
from ..words import notice_of, speed_line

if TYPE_CHECKING:
    from .place import Place

LANES = 3

WHOLE = "white-space:pre-wrap;overflow-wrap:anywhere"


class Lanes:
    """The last answers of live mode; their owner holds a lock."""

    def __init__(self) -> None:
        self._places: list[Place] = []

    def __iter__(self) -> Iterator[Place]:
        return iter(self._places)

    def clear(self) -> None:
        """Compare nothing."""
        self._places = []

    def add(self, place: Place) -> None:
        """Add an answer at the right; the oldest goes if there are too many."""
        self._places = [*self._places, place][-LANES:]

    def drop(self, place: Place) -> None:
        """Take an answer out again: its prompt was asked again before it was answered."""
        self._places = [each for each in self._places if each is not place]

    def messages(self) -> list[Message]:
        """Return the answers as messages that stand side by side."""
        return [self.message(place) for place in self._places]

    def message(self, place: Place) -> Message:
        """Return one answer, headed with its prompt and its setting."""
        at = self._places.index(place)
        before = self._places[at - 1] if at else None
        html, badge = _plain(place.text), ""
        if before is not None and place.is_over and before.is_over and place.text and before.text:
            html, badge = _against(before.text, place.text)
        turn = place.turn if place.is_over else None
        return Message(
            f"lane-{place.id}",
            label=f"{_short(place.prompt)}\n{place.heading}",
            blocks=(html,) if html else (),
            source=place.text,
            meta=speed_line(turn) if turn else "",
            notice=notice_of(turn) if turn else None,
            actions=("copy",) if place.text and turn else (),
            busy=not place.is_over,
            lane="live",
            badge=badge,
        )


def _against(before: str, text: str) -> tuple[str, str]:
    """Return a text compared with the one at its left, and what that comes to in a word or two."""
    if text == before:
        return _plain(text), "same as left"
    html, share = highlight_changes(before, text)
    return (_plain(text), "different answer") if share >= MAX_HIGHLIGHTED_SHARE else (html, "")


def _plain(text: str) -> str:
    return f'<div style="{WHOLE}">{escape_html(text)}</div>' if text else ""


def _short(prompt: str) -> str:
    line = " ".join(prompt.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
