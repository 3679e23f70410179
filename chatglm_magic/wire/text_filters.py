"""What is taken out of an answer's text while it streams: thinking, stop sequences, secrets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..credentials import BEGINNING, MARK, SHORTEST_IN_TEXT
from ..values import Change, Delta

OLLAMA_EFFORT = {"off": "none", "low": "low", "high": "high", "max": "high"}
OPEN, CLOSE = "<think>", "</think>"


def thinking_keys(wish: str, model: str | None, server: str | None) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Return the keys that ask for ``off``, ``on``, ``low``, ``high`` or ``max`` thinking, and what they change.

    Z.ai has a ``thinking`` object and, for levels, ``reasoning_effort``; GLM-5.3 can't be told not to think
    (400, code 1210), so "off" there asks for the least. Ollama has ``reasoning_effort`` alone, with ``none``.
    vLLM, SGLang and llama.cpp hand ``chat_template_kwargs`` to the chat template.
    """
    if server == "zai":
        if wish == "off" and (model or "").lower().startswith("glm-5.3"):
            return {"reasoning_effort": "low"}, (Change("thinking: off sent as low, GLM-5.3 always thinks"),)
        switch = {"thinking": {"type": "disabled" if wish == "off" else "enabled"}}
        return switch if wish in ("on", "off") else switch | {"reasoning_effort": wish}, ()
    if server == "ollama":
        return ({"reasoning_effort": OLLAMA_EFFORT[wish]} if wish in OLLAMA_EFFORT else {}), ()
    keys: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": wish != "off"}}
    return keys if wish in ("on", "off") else keys | {"reasoning_effort": wish}, ()


class ThinkSplitter:
    """Parts a text that begins with ``<think>…</think>`` into reasoning and answer, whatever its pieces.

    Only a tag at the very beginning counts: later on it is the answer's own words.
    """

    def __init__(self) -> None:
        self._held = ""
        self._blanks: list[str] = []
        self._state = "start"

    def feed(self, text: str) -> list[Delta]:
        """Take in text; return what can be told of it."""
        if self._state == "after":  # templates put empty lines between the thought and the answer
            text = text.lstrip("\n")
            self._state = "text" if text else "after"
        if self._state in ("text", "after"):
            return [Delta(text=text)] if text else []
        if self._state == "thinking":
            self._held += text
            return self._thinking()
        return self._start(text)

    def close(self) -> list[Delta]:
        """Return what was held back."""
        if self._state != "thinking":
            return self._flush_text()
        held, self._held = self._held, ""
        return [Delta(reasoning=held)] if held else []

    def _start(self, text: str) -> list[Delta]:
        """Look for a tag after blank characters, which are kept apart: each is looked at once."""
        if not self._held:
            begun = text.lstrip()
            self._blanks.append(text[: len(text) - len(begun)])
            text = begun
        self._held += text
        if len(self._held) < len(OPEN) and OPEN.startswith(self._held):
            return []
        if not self._held.startswith(OPEN):
            self._state = "text"
            return self._flush_text()
        self._held, self._state = self._held[len(OPEN) :], "thinking"
        self._blanks.clear()
        return self._thinking()

    def _thinking(self) -> list[Delta]:
        thought, tag, rest = self._held.partition(CLOSE)
        if tag:
            self._held, self._state = "", "after"
            return ([Delta(reasoning=thought)] if thought else []) + self.feed(rest)
        keep = tail_match(self._held, CLOSE)
        thought, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return [Delta(reasoning=thought)] if thought else []

    def _flush_text(self) -> list[Delta]:
        text, self._held = "".join(self._blanks) + self._held, ""
        self._blanks.clear()
        return [Delta(text=text)] if text else []


def tail_match(text: str, mark: str) -> int:
    """Return the length of the longest end of ``text`` that is a beginning of ``mark`` but not all of it."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0


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
