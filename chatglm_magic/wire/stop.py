"""Stop strings and repeated keys, found in an answer whatever the pieces it comes in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..credentials import BEGINNING, MARK, SHORTEST_IN_TEXT
from .thinking import tail_match


class StopFilter:
    """Lets text through up to the first stop string; holds back what may be the beginning of one.

    Many servers ignore stop strings, so they are applied here too. They are plain text, never patterns; empty ones
    are skipped.
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


class SecretFilter:
    """Takes whole secrets but their first three characters out of text that comes in pieces.

    So few characters say nothing, and are never held back: an answer that is stopped has all that came, but for
    what may be the middle of a secret. What comes out doesn't depend on the pieces.

    :param secrets: those of fewer than 12 characters are left alone: they may be words of the text.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= SHORTEST_IN_TEXT]
        self._begun = ""
        """The end of the text, as far as it is the beginning of a secret."""
        self.hit = False
        """Whether a secret was taken out."""

    def feed(self, text: str) -> str:
        """Take in text; return what can be handed out."""
        if not self._secrets:
            return text
        given = len(self._begun[:BEGINNING])
        text = self._begun + text
        for secret in self._secrets:
            if secret in text:
                text, self.hit = text.replace(secret, secret[:BEGINNING] + MARK), True
        cut = len(text) - max(tail_match(text, secret) for secret in self._secrets)
        self._begun = text[cut:]
        return text[given : cut + BEGINNING]

    def close(self) -> str:
        """Return what was held back: the text has ended."""
        held, self._begun = self._begun[BEGINNING:], ""
        return held
