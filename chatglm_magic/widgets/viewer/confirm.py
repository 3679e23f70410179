"""Deletion that needs a second click elsewhere, so that a double click deletes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w

from ...render.text import plural
from .. import look
from .calls import CallbackGuard


class DeleteButton(w.Box):  # type: ignore[misc]
    """A Delete button, and beside it, once clicked, the buttons that confirm or cancel.

    :param get_ids: returns the ids of the turns to delete.
    :param delete: is called with them once the user confirms.
    """

    def __init__(
        self,
        guard: CallbackGuard,
        get_ids: Callable[[], Sequence[str]],
        delete: Callable[[Sequence[str]], object],
    ) -> None:
        self._get_ids, self._delete = get_ids, delete
        self._ids: tuple[str, ...] = ()
        self.delete_button, self.keep_button = look.button("Delete…"), look.button("Keep")
        self.confirm_button = w.Button(button_style="danger")
        super().__init__((self.delete_button,))
        self.add_class("chatglm-row")
        self.delete_button.on_click(guard.handler(self.request_confirmation))
        self.keep_button.on_click(guard.handler(self.cancel))
        self.confirm_button.on_click(guard.handler(self._confirm))

    @property
    def is_waiting(self) -> bool:
        """Whether a second click is awaited."""
        return bool(self._ids)

    def request_confirmation(self) -> None:
        """Show the buttons that confirm or cancel."""
        self._ids = tuple(self._get_ids())
        if self._ids:
            self.confirm_button.description = f"Delete {plural(len(self._ids), 'turn')} for good"
            self._show(self.delete_button, self.confirm_button, self.keep_button)

    def cancel(self) -> None:
        """Hide the buttons that confirm or cancel."""
        self._ids = ()
        self._show(self.delete_button)

    def _show(self, *buttons: w.Button) -> None:
        self.children = buttons

    def _confirm(self) -> None:
        ids = self._ids
        self.cancel()
        if ids:
            self._delete(ids)
