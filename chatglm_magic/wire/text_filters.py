"""Filters of streamed text: thinking, stop sequences, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..credentials import MARK, MIN_CHARACTERS_IN_ANSWER, PREFIX_CHARACTERS
from ..values import Delta

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
THINK_TAG = re.compile(r"</?think>")
CODE_MARKS = re.compile(r"`+|~+|\n|[^`~\n]+")
"""Splits Markdown into runs of code marks, line ends, and the text between them."""

MARK_OR_END = re.compile(r"[`~\n]")
MAX_RUN_CHARS = 64
FENCE_PREFIX = re.compile(r"[\s>]{0,80}(?:(?:[-*+]|\d{1,9}[.)])[ \t]+){0,9}(?:[-*+]|\d{1,9}[.)]?)?")
"""What may precede a fence in its line: whitespace, and the marks of quotes and lists."""


class CodeTracker:
    """Tracks, over Markdown in pieces, whether the next text is code: fenced, or between backticks.

    Source: CommonMark 0.31, sections 4.5 and 6.1; but the end of a line also ends a code span, so that a single
    backtick doesn't turn all the rest into code.
    """

    def __init__(self) -> None:
        self._fence = self._run = self._line_start = ""
        self._inline = 0
        self._at_start = True

    def read(self, text: str) -> None:
        """Take in the next piece."""
        if not (self._run or self._at_start or MARK_OR_END.search(text)):
            return  # most pieces neither begin nor end code
        text = self._run + text  # a run of marks may be split between pieces
        self._run = text[len(text.rstrip("`~")) :]
        for piece in CODE_MARKS.findall(text[: len(text) - len(self._run)]):
            self._read_mark(piece)
        self._run = self._run[-MAX_RUN_CHARS:]

    @property
    def is_inside_code(self) -> bool:
        """Whether the next text, which begins with no mark, is code."""
        run, self._run = self._run, ""
        if run:
            for piece in CODE_MARKS.findall(run):
                self._read_mark(piece)
        return bool(self._fence or self._inline)

    def _read_mark(self, piece: str) -> None:
        if piece == "\n":
            self._inline, self._at_start, self._line_start = 0, True, ""
            return
        if self._at_start and len(piece) >= 3 and piece[0] in "`~":
            if not self._fence:
                self._fence = piece
            elif piece[0] == self._fence[0] and len(piece) >= len(self._fence):
                self._fence = ""
        elif piece[0] == "`" and not self._fence and self._inline in (0, len(piece)):
            self._inline = len(piece) - self._inline
        if self._at_start:
            self._line_start += piece
            self._at_start = bool(FENCE_PREFIX.fullmatch(self._line_start))


class ThinkSplitter:
    """Splits a text into reasoning and answer, however it is cut into pieces.

    Thinking is between ``<think>`` and ``</think>`` at the very beginning. If a chat template opens it in the
    prompt, only ``</think>`` is sent: ``Delta.thought`` then marks all text before it as thinking. In code, after
    a ``<think>`` within the text, and after separately sent thinking, a tag is part of the answer.
    """

    def __init__(self) -> None:
        self._held = ""
        self._blanks: list[str] = []
        self._state = "start"
        self._code = CodeTracker()
        self._is_separate = self._has_text = False

    def feed(self, text: str) -> list[Delta]:
        """Process text; return the pieces that are certain so far."""
        if self._state == "after":  # templates put empty lines between the thought and the answer
            text = text.lstrip("\n")
            self._state = "text" if text else "after"
        if self._state in ("text", "after"):
            return [Delta(text=text)] if text else []
        if self._state == "start":
            return self._read_start(text)
        self._held += text
        return self._read_thinking() if self._state == "thinking" else self._read_text()

    def note_separate_reasoning(self) -> None:
        """Record that thinking was sent separately: a closing tag then counts only before the answer's text."""
        self._is_separate = True

    def close(self) -> list[Delta]:
        """Return what was held back."""
        held, self._held = "".join(self._blanks) + self._held, ""
        self._blanks.clear()
        if not held:
            return []
        return [Delta(reasoning=held)] if self._state == "thinking" else [Delta(text=held)]

    def _read_start(self, text: str) -> list[Delta]:
        """Look for a tag after leading whitespace, which is stored separately so that it is searched once."""
        if not self._held:
            stripped = text.lstrip()
            self._blanks.append(text[: len(text) - len(stripped)])
            text = stripped
        self._held += text
        if len(self._held) < len(THINK_CLOSE) and (
            THINK_OPEN.startswith(self._held) or THINK_CLOSE.startswith(self._held)
        ):
            return []
        if self._held.startswith((THINK_OPEN, THINK_CLOSE)):
            self._blanks.clear()
        if not self._held.startswith(THINK_OPEN):
            self._held, self._state = "".join(self._blanks) + self._held, "open"
            self._blanks.clear()
            return self._read_text()
        self._held, self._state = self._held[len(THINK_OPEN) :], "thinking"
        return self._read_thinking()

    def _read_thinking(self) -> list[Delta]:
        thought, tag, rest = self._held.partition(THINK_CLOSE)
        if tag:
            return ([Delta(reasoning=thought)] if thought else []) + self._begin_answer(rest)
        held_length = tail_match(self._held, THINK_CLOSE)
        thought, self._held = (
            self._held[: len(self._held) - held_length],
            self._held[len(self._held) - held_length :],
        )
        return [Delta(reasoning=thought)] if thought else []

    def _read_text(self) -> list[Delta]:
        """Pass text on; a later closing tag may still mark it as thinking."""
        held, read_to = self._held, 0
        if "<" not in held:  # most pieces contain no tag, nor the beginning of one
            self._held, self._has_text = "", True
            self._code.read(held)
            return [Delta(text=held)] if held else []
        for tag in THINK_TAG.finditer(held):
            self._code.read(held[read_to : tag.start()])
            read_to = tag.start()
            if self._code.is_inside_code:
                continue
            if tag[0] == THINK_OPEN or (self._is_separate and (self._has_text or tag.start())):
                self._held, self._state = "", "text"
                return [Delta(text=held)]
            before = [Delta(text=held[: tag.start()])] if tag.start() else []
            thought = [Delta(thought=True)] if before or self._has_text else []
            return before + thought + self._begin_answer(held[tag.end() :])
        held_length = max(tail_match(held, THINK_OPEN), tail_match(held, THINK_CLOSE))
        released, self._held = held[: len(held) - held_length], held[len(held) - held_length :]
        self._code.read(released[read_to:])
        self._has_text = self._has_text or bool(released)
        return [Delta(text=released)] if released else []

    def _begin_answer(self, rest: str) -> list[Delta]:
        self._held, self._state = "", "after"
        return self.feed(rest)


def resolve_thinking(deltas: Iterable[Delta]) -> list[Delta]:
    """Return the pieces of a whole answer, with text that was later marked as thinking as reasoning."""
    resolved: list[Delta] = []
    for delta in deltas:
        if delta.thought:
            resolved = [piece._replace(reasoning=piece.text + piece.reasoning, text="") for piece in resolved]
        else:
            resolved.append(delta)
    return resolved


def tail_match(text: str, mark: str) -> int:
    """Return the length of the longest suffix of ``text`` that is a proper prefix of ``mark``."""
    for length in range(min(len(mark) - 1, len(text)), 0, -1):
        if text.endswith(mark[:length]):
            return length
    return 0


class StopFilter:
    """Passes text on up to the first stop sequence; holds back what may be the beginning of one.

    Many servers ignore stop sequences, so the client applies them too. They are plain text, not patterns; empty
    ones are skipped.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = [text for text in stop if text]
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Process text; return what can be passed on, which is nothing after a hit."""
        if self.hit or not self._stop:
            return "" if self.hit else text
        self._held += text
        held_length = max(tail_match(self._held, mark) for mark in self._stop)
        cut = len(self._held) - held_length
        position = self._find_stop()
        if position is not None and position <= cut:  # otherwise one that began earlier may still be completed
            return self._stop_at(position)
        released, self._held = self._held[:cut], self._held[cut:]
        return released

    def close(self) -> str:
        """Return what was held back: the text has ended."""
        position = self._find_stop()
        if position is not None and not self.hit:
            return self._stop_at(position)
        held, self._held = self._held, ""
        return held

    def _find_stop(self) -> int | None:
        """Return the position of the earliest complete stop sequence."""
        positions = [position for mark in self._stop if (position := self._held.find(mark)) >= 0]
        return min(positions, default=None)

    def _stop_at(self, position: int) -> str:
        self.hit = True
        released, self._held = self._held[:position], ""
        return released


class SecretFilter:
    """Masks secrets, except for their first three characters, in text that comes in pieces.

    Three characters reveal nothing, and are never held back: an interrupted answer contains everything received,
    except what may be the middle of a secret. The result doesn't depend on how the text is cut into pieces.

    :param secrets: those of fewer than 12 characters are ignored, since they may be ordinary words.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [secret for secret in secrets if len(secret) >= MIN_CHARACTERS_IN_ANSWER]
        self._line_start = ""
        """The end of the text that may be the beginning of a secret."""
        self.hit = False
        """Whether a secret was masked."""

    def feed(self, text: str) -> str:
        """Process text; return what can be passed on."""
        if not self._secrets:
            return text
        released = len(self._line_start[:PREFIX_CHARACTERS])
        text = self._line_start + text
        for secret in self._secrets:
            if secret in text:
                text, self.hit = text.replace(secret, secret[:PREFIX_CHARACTERS] + MARK), True
        cut = len(text) - max(tail_match(text, secret) for secret in self._secrets)
        self._line_start = text[cut:]
        return text[released : cut + PREFIX_CHARACTERS]

    def close(self) -> str:
        """Return what was held back: the text has ended."""
        held, self._line_start = self._line_start[PREFIX_CHARACTERS:], ""
        return held
