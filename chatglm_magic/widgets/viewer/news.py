"""What the store has to say: where it keeps turns, or why it keeps none."""

from __future__ import annotations

from ...store import Store
from .. import look
from ..words import reword_for_widgets


class News(look.Html):
    """The last three things a store said; it says each once."""

    def __init__(self) -> None:
        super().__init__()
        self._told: list[str] = []

    def ask(self, store: Store) -> None:
        """Ask for what is new."""
        if news := store.news():
            self._told = [*self._told, *map(reword_for_widgets, news)][-3:]
            self.value = "".join(map(look.small_html, self._told))
