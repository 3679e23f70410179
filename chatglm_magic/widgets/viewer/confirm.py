"""Deleting, which takes a second click in another place: a double click deletes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w

from ...render.text import plural
from .. import look
from .calls import CallbackGuard


class Delete(w.Box):  # type: ignore[misc]
    """A button Delete, and the one that appears beside it and does it; ``which`` says what would be deleted."""

    def __init__(
        self, guard: CallbackGuard, which: Callable[[], Sequence[str]], delete: Callable[[Sequence[str]], object]
    ) -> None:
        self._which, self._delete = which, delete
        self._ids: tuple[str, ...] = ()
        self.first, self.keep = look.button("Delete…"), look.button("Keep")
        self.second = w.Button(button_style="danger")
        super().__init__((self.first,))
        self.add_class("chatglm-row")
        self.first.on_click(guard.handler(self.ask))
        self.keep.on_click(guard.handler(self.forget))
        self.second.on_click(guard.handler(self._do))

    def forget(self) -> None:
        """Ask no more."""
        self._ids = ()
        self._offer(self.first)

    def _offer(self, *buttons: w.Button) -> None:
        self.children = buttons

    @property
    def asks(self) -> bool:
        """Whether a second click is awaited."""
        return bool(self._ids)

    def ask(self) -> None:
        """Ask for the second click."""
        self._ids = tuple(self._which())
        if self._ids:
            self.second.description = f"Delete {turns(len(self._ids))} for good"
            self._offer(self.first, self.second, self.keep)

    def _do(self) -> None:
        ids = self._ids
        self.forget()
        if ids:
            self._delete(ids)


def turns(count: int) -> str:
    """Return a number of turns in words."""
    return plural(count, "turn")
