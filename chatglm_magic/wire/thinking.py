"""Thinking: how each server is asked for it, and how ``<think>`` tags are taken out of an answer's text."""

from __future__ import annotations

from typing import Any

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
