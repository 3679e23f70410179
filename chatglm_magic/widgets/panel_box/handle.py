"""A widget as one more handle on a setting: both show the same, wherever a change comes from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from traitlets import Bunch

from ...session import Session
from ..trouble import Trouble


class Handle:
    """Keeps what widgets show and one setting alike.

    Observers of our own: ``traitlets.link`` breaks across threads, and clamps in silence.
    """

    def __init__(self, session: Session, name: str, trouble: Trouble, *, also: tuple[str, ...] = ()) -> None:
        """``also`` are further settings on which it depends what is shown."""
        self.session, self.name, self.trouble = session, name, trouble
        self._names = [name, *also]
        self._lock = threading.Lock()
        self._shower = 0

    def follow(self) -> None:
        """Show the setting, now and after each change."""
        self.show()
        self.session.settings.observe(self._from_settings, names=self._names)

    def forget(self) -> None:
        """Stop following the setting."""
        with suppress(ValueError):  # forgotten already
            self.session.settings.unobserve(self._from_settings, names=self._names)

    def hear(self, widget: Any, wish: Callable[[Any], None]) -> None:
        """Call ``wish`` with each value that a person gives a widget; what is refused is undone and told."""

        def heard(change: Any) -> None:
            # No lock is held while a setting changes: another panel, in another thread, follows it too.
            if self._shower == threading.get_ident():
                return
            try:
                wish(change["new"])
            except Exception as error:  # noqa: BLE001 - it is told
                self.trouble.tell(error)
            self.show()

        widget.observe(heard, names="value")

    def choose(self, value: Any) -> None:
        """Set the setting; a value that it has already counts as a choice all the same, and others are told.

        :raises traitlets.TraitError: for a value it does not take.
        """
        settings, name = self.session.settings, self.name
        same = getattr(settings, name) == value
        setattr(settings, name, value)
        if same:
            settings.notify_change(Bunch(name=name, old=value, new=value, owner=settings, type="change"))

    def show(self) -> None:
        """Bring the widgets up to the setting."""
        with self._lock:
            self._shower = threading.get_ident()
            try:
                self.put(getattr(self.session.settings, self.name))
            finally:
                self._shower = 0

    def put(self, value: Any) -> None:
        """Show a value; called with the handle's own observers off."""
        raise NotImplementedError

    def _from_settings(self, change: Any) -> None:
        try:
            self.show()
        except Exception as error:  # noqa: BLE001 - whoever set the setting must not suffer from a widget
            self.trouble.tell(error)


def or_none(shown: str) -> str | None:
    """Read an empty box as unset."""
    return shown if shown.strip() else None


def or_empty(value: str | None) -> str:
    """Show what is unset as an empty box, or as the choice that stands for it: a list has none for None."""
    return value or ""


class Field(Handle):
    """One widget and one setting, with how to read the one and write the other."""

    def __init__(
        self,
        session: Session,
        name: str,
        trouble: Trouble,
        widget: Any,
        *,
        read: Callable[[Any], Any] = lambda shown: shown,
        write: Callable[[Any], Any] = lambda value: value,
        also: tuple[str, ...] = (),
    ) -> None:
        super().__init__(session, name, trouble, also=also)
        self.widget, self._write = widget, write
        self.follow()
        self.hear(widget, lambda shown: self.choose(read(shown)))

    def put(self, value: Any) -> None:
        """Show a value."""
        shown = self._write(value)
        if self.widget.value != shown:
            self.widget.value = shown
