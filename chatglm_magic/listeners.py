"""Lists of change listeners that are called one after the other, even if one of them fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger(__name__)


class Listeners:
    """Functions to call after each change of a subject.

    :param subject: what changes, for the log.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._listeners: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Add a listener; return a function that removes it."""
        self._listeners.append(listener)

        def remove() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return remove

    def call(self) -> None:
        """Call all listeners; errors are only logged, so that they never lose an answer."""
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:
                log.exception("A listener of the %s failed.", self._subject)
