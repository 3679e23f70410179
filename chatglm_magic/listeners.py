"""Those who follow something: told in turn of each change, whatever becomes of one of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

log = logging.getLogger(__name__)


class Listeners:
    """Functions to call after each change of a thing.

    :param thing: what they follow, for the log.
    """

    def __init__(self, thing: str) -> None:
        self._thing = thing
        self._listeners: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` from now on; return what ends that."""
        self._listeners.append(listener)

        def remove() -> None:
            with suppress(ValueError):
                self._listeners.remove(listener)

        return remove

    def call(self) -> None:
        """Call all of them; an error of one is logged, since it must not cost anybody an answer."""
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:
                log.exception("A listener of the %s failed.", self._thing)
