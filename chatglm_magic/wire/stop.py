"""Stop strings, applied here too: many servers ignore them, and they must hold across the pieces of a stream."""

from __future__ import annotations

from collections.abc import Sequence

from .thinking import tail_match


class StopFilter:
    """Lets text through up to the first stop string; holds back what may be the beginning of one.

    The strings are plain text, never patterns; empty ones are skipped.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Take in text; return what can be shown. After a hit nothing more comes out."""
        if self.hit or not self._stop:
            return "" if self.hit else text
        self._held += text
        keep = max(tail_match(self._held, mark) for mark in self._stop)
        cut = len(self._held) - keep
        place = self._place()
        if place is not None and place <= cut:  # else one that began earlier may still become whole
            return self._end(place)
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown

    def close(self) -> str:
        """Return what was held back: the text has ended."""
        place = self._place()
        if place is not None and not self.hit:
            return self._end(place)
        held, self._held = self._held, ""
        return held

    def _place(self) -> int | None:
        """Return where the earliest whole stop string begins."""
        places = [place for mark in self._stop if (place := self._held.find(mark)) >= 0]
        return min(places, default=None)

    def _end(self, place: int) -> str:
        self.hit = True
        shown, self._held = self._held[:place], ""
        return shown
