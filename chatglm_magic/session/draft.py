"""A partial answer: collects text and facts as they arrive, and becomes a ``Turn``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from .._version import __version__
from ..values import Change, Status, TokenLogprobs, Turn, reasoning_tokens_in


class View(Protocol):
    """Displays an answer while it arrives."""

    def update(self, draft: Draft) -> None:
        """Display what has arrived so far."""

    def close(self, turn: Turn) -> None:
        """Display the finished turn, complete or not."""


@runtime_checkable
class RefreshableView(View, Protocol):
    """A view that is also updated while nothing arrives: with skipped frames, and the time that has passed."""

    def refresh(self, draft: Draft) -> None:
        """Update the view after some time; never called during another call of this view."""


class NoView:
    """Displays nothing."""

    def update(self, draft: Draft) -> None:
        """Do nothing."""

    def close(self, turn: Turn) -> None:
        """Do nothing."""


@dataclass
class Draft:
    """An answer while it arrives; ``base`` is the turn before the request."""

    base: Turn
    started: float = field(default_factory=time.monotonic)
    first_token: float | None = None
    first_answer: float | None = None
    finish_reason: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    changed: list[Change] = field(default_factory=list)
    notice: str = ""
    """What the request is waiting for, until an answer begins."""
    created: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.logprobs: list[TokenLogprobs] = []
        """The tokens' log probabilities if requested; turns don't include them."""

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    def add_chunk(self, text: str, info: Mapping[str, Any]) -> None:
        """Add a chunk's text and its ``generation_info``."""
        reasoning = info.get("reasoning")
        if info.get("thought"):  # all text so far was thinking
            self._reasoning += self._text
            self._text, self.first_answer = [], None
        self.notice = info.get("notice") or self.notice
        if text or reasoning:
            self.notice = ""
            elapsed = time.monotonic() - self.started  # read once: both times may be those of the same chunk
            if self.first_token is None:
                self.first_token = elapsed
            if text and self.first_answer is None:
                self.first_answer = elapsed
        if text:
            self._text.append(text)
        if reasoning:
            self._reasoning.append(reasoning)
        self.finish_reason = info.get("finish_reason") or self.finish_reason
        self.usage = info.get("usage") or self.usage
        self.model = info.get("model") or self.model
        self.logprobs += info.get("logprobs") or ()
        if info.get("retries"):
            times = "once" if info["retries"] == 1 else f"{info['retries']} times"
            self.changed.append(Change(f"request: retried {times}"))
        self.changed += info.get("changed") or ()

    @property
    def reasoning_tokens(self) -> int | None:
        """The number of thinking tokens: the server's count, else the number of pieces, usually one per token."""
        counted = reasoning_tokens_in(self.usage)
        if counted or len(self._reasoning) < 2:  # a single piece may hold any number of tokens
            return counted or None
        return len(self._reasoning)

    def turn(self, status: Status, error: str | None = None, partial: str = "") -> Turn:
        """Return the turn with what has arrived; ``partial`` is the text of an error, used if it is longer."""
        values = {name: getattr(self.base, name) for name in self.base.__slots__}
        return Turn(
            **values
            | {
                "answer": max(self.text, partial, key=len),
                "reasoning": self.reasoning,
                "status": status,
                "error": error,
                "model": self.model or self.base.model,
                "changed": tuple(dict.fromkeys((*self.base.changed, *self.changed))),
                "finish_reason": self.finish_reason,
                "usage": dict(self.usage),
                "first_token": _round_seconds(self.first_token),
                "first_answer": _round_seconds(self.first_answer),
                "reasoning_tokens": self.reasoning_tokens,
                "duration": _round_seconds(time.monotonic() - self.started),
                "created": self.created,
                "version": __version__,
            }
        )


def _round_seconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
