"""The answer as a row of tokens, each a button with a mark of its entropy, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w

from ...lenses import Distribution, Lens, Range
from ...lenses.report import HIGHEST, entropy_of
from .. import look
from ..trouble import Trouble
from .style import LEVELS

PAGE = 100
"""Tokens that stand there at once."""

MARKS = ("chatglm-low-", "chatglm-high-", "chatglm-untold")

Choose = Callable[[int], None]


class Strip(w.VBox):  # type: ignore[misc]
    """A page of an answer's tokens; a click opens one."""

    def __init__(self, lens: Lens, trouble: Trouble, choose: Choose) -> None:
        self._lens = lens
        self.first, self._looked_at = 0, -1
        self._marks: list[tuple[int, int]] = []
        self._found: Sequence[Distribution] = ()
        self.tokens = [look.button("") for _ in range(min(PAGE, len(lens)))]
        for n, token in enumerate(self.tokens):
            token.on_click(trouble.guarded(lambda clicked, n=n: choose(self.first + n)))
        self.earlier = look.button("Earlier tokens")
        self.later = look.button("Later tokens")
        self.earlier.on_click(trouble.guarded(lambda clicked: self.turn(self.first - PAGE)))
        self.later.on_click(trouble.guarded(lambda clicked: self.turn(self.first + PAGE)))
        self.where = look.Html()
        row = w.Box(self.tokens)
        row.add_class("chatglm-strip")
        self.thinking = look.button("Show thinking", tooltip="The places before the answer")
        self.thinking.on_click(trouble.guarded(lambda clicked: choose(0)))
        self.thinking.layout.display = None if lens.answer_start else "none"
        pages = look.row(self.thinking, self.earlier, self.later, self.where)
        pages.layout.display = None if len(lens) > PAGE or lens.answer_start else "none"
        super().__init__([row, pages])
        self.turn(lens.answer_start)

    def turn(self, first: int) -> None:
        """Show the page that begins at a place."""
        self.first = max(0, min(first, len(self._lens) - 1))
        last = min(self.first + PAGE, len(self._lens))
        for n, token in enumerate(self.tokens):
            there = self.first + n < last
            token.layout.display = None if there else "none"
            if there:
                token.description = self._lens.at(self.first + n).label or " "
                begins = self.first + n == self._lens.answer_start > 0
                (token.add_class if begins else token.remove_class)("chatglm-answer-start")
        self.earlier.disabled, self.later.disabled = self.first == 0, last == len(self._lens)
        self.where.value = look.small(f"Tokens {self.first} to {last - 1} of {len(self._lens)}")
        self.look_at(self._looked_at)
        self.mark(self._found)

    def reveal(self, index: int) -> None:
        """Turn to the page with a place, unless it is there."""
        if not self.first <= index < self.first + PAGE:
            start = self._lens.answer_start
            begin = start if index >= start else 0  # pages count from the answer on, and from the thinking
            self.turn(begin + (index - begin) // PAGE * PAGE)

    def look_at(self, index: int) -> None:
        """Show which token is looked at."""
        self._looked_at = index
        for n, token in enumerate(self.tokens):
            (token.add_class if self.first + n == index else token.remove_class)("chatglm-open")

    def mark(self, found: Sequence[Distribution]) -> None:
        """Show the entropy at each place; only what has changed is sent."""
        self._found = found
        for n, (token, shape) in enumerate(zip(self.tokens, found[self.first :], strict=False)):
            position = self._lens.at(self.first + n)
            low, high = levels(shape.entropy)
            keep = [name for name in token._dom_classes if not name.startswith(MARKS)]
            marks = ("chatglm-untold",) if position.hidden else (f"chatglm-low-{low}", f"chatglm-high-{high}")
            if (classes := (*keep, *marks)) != token._dom_classes:
                token._dom_classes = classes
            token.tooltip = entropy_of(position, shape)


def levels(entropy: Range) -> tuple[int, int]:
    """Return how high a token's mark is, surely and possibly: 0 to :data:`LEVELS`."""
    low, high = (round(min(value, HIGHEST) / HIGHEST * LEVELS) for value in entropy)
    return low, high
