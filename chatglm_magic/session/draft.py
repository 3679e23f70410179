"""An answer in the making: collects what arrives and what is known of it, and becomes a ``Turn``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from .._version import __version__
from ..values import Change, Status, TokenLogprobs, Turn, reasoning_tokens_in


class View(Protocol):
    """Something that shows an answer; it is told, and never asks."""

    def update(self, draft: Draft) -> None:
        """More has arrived."""

    def close(self, turn: Turn) -> None:
        """The answer has ended, whole or not."""


@runtime_checkable
class RefreshableView(View, Protocol):
    """A view that also draws while nothing arrives: what came too soon for a frame, and how long it has taken."""

    def refresh(self, draft: Draft) -> None:
        """Some time has passed; never called while another call of this view runs."""


class NoView:
    """Shows nothing."""

    def update(self, draft: Draft) -> None:
        """Do nothing."""

    def close(self, turn: Turn) -> None:
        """Do nothing."""


@dataclass
class Draft:
    """One answer while it arrives; ``base`` is the turn as it stood when the question was asked."""

    base: Turn
    started: float = field(default_factory=time.monotonic)
    first_token: float | None = None
    first_answer: float | None = None
    finish_reason: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    changed: list[Change] = field(default_factory=list)
    notice: str = ""
    """What is being waited for, until an answer begins."""
    created: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.logprobs: list[TokenLogprobs] = []
        """The odds of the tokens, where they were asked for; they are kept with no turn."""

    @property
    def text(self) -> str:
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    def add_chunk(self, text: str, info: Mapping[str, Any]) -> None:
        """Take in a chunk's text and its ``generation_info``."""
        thought = info.get("reasoning")
        if info.get("thought"):  # all that came as text so far was thinking
            self._reasoning += self._text
            self._text, self.first_answer = [], None
        self.notice = info.get("notice") or self.notice
        if text or thought:
            self.notice = ""
            came = time.monotonic() - self.started  # read once: an answer's first token may be the first of all
            if self.first_token is None:
                self.first_token = came
            if text and self.first_answer is None:
                self.first_answer = came
        if text:
            self._text.append(text)
        if thought:
            self._reasoning.append(thought)
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
        """The tokens of thinking: as the server counts them, else the pieces, one a token as a rule."""
        counted = reasoning_tokens_in(self.usage)
        if counted or len(self._reasoning) < 2:  # in one piece nothing can be counted
            return counted or None
        return len(self._reasoning)

    def turn(self, status: Status, error: str | None = None, partial: str = "") -> Turn:
        """Return the turn as it stands; ``partial`` is the text an error carries, where none was shown."""
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
                "first_token": _rounded(self.first_token),
                "first_answer": _rounded(self.first_answer),
                "reasoning_tokens": self.reasoning_tokens,
                "duration": _rounded(time.monotonic() - self.started),
                "created": self.created,
                "version": __version__,
            }
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
