"""What the answers of one setting have in common, in figures; pure functions over turns."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..render.bundle import counted
from ..values import Turn
from .texts import distinct, mean_similarity, repeats


@dataclass(frozen=True, slots=True)
class Stats:
    """The figures of one cell; None where one is not defined. Texts are those of complete answers alone.

    ``repeats``, ``distinct_1``, ``distinct_2`` and ``similarity`` are as :mod:`.texts` says, ``diversity`` is
    1 − ``similarity``. ``length`` is the mean in characters, ``spread`` the sample's standard deviation of it.
    ``tokens`` is the mean of what the server counted. ``first_token`` is in seconds, the mean;
    ``tokens_per_second`` are all tokens over all seconds from the first token to the end.
    """

    prompt: str
    setting: Mapping[str, Any]
    asked: int
    answers: int
    failed: int
    repeats: float | None
    distinct_1: float | None
    distinct_2: float | None
    similarity: float | None
    diversity: float | None
    length: float | None
    spread: float | None
    tokens: float | None
    first_token: float | None
    tokens_per_second: float | None
    finish_reasons: Mapping[str, int]

    def row(self) -> dict[str, Any]:
        """Return the figures as one flat row: the setting's values first."""
        figures = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("prompt", "setting")}
        return {"prompt": self.prompt, **self.setting, **figures}


LABELS = {
    "diversity": "Diversity (1 − mean similarity)",
    "similarity": "Mean similarity of two answers",
    "repeats": "Exact repeats",
    "distinct_1": "Distinct words or characters (distinct-1)",
    "distinct_2": "Distinct pairs of them (distinct-2)",
    "length": "Length (characters)",
    "spread": "Spread of the length (characters)",
    "tokens": "Tokens",
    "first_token": "Time to the first token (s)",
    "tokens_per_second": "Tokens per second",
    "answers": "Complete answers",
    "failed": "Failed",
}
"""The figures that can be drawn, and what they are called."""


def stats(turns: Sequence[Turn], prompt: str = "", setting: Mapping[str, Any] | None = None) -> Stats:
    """Return the figures of the turns of one setting."""
    whole = [turn for turn in turns if turn.status == "complete"]
    texts = [turn.answer for turn in whole]
    lengths = [len(text) for text in texts]
    alike = mean_similarity(texts)
    waits = [turn.first_token for turn in whole if turn.first_token is not None]
    return Stats(
        prompt=prompt,
        setting=dict(setting or {}),
        asked=len(turns),
        answers=len(whole),
        failed=sum(1 for turn in turns if failed(turn)),
        repeats=repeats(texts),
        distinct_1=distinct(texts, 1),
        distinct_2=distinct(texts, 2),
        similarity=alike,
        diversity=None if alike is None else 1 - alike,
        length=statistics.fmean(lengths) if lengths else None,
        spread=statistics.stdev(lengths) if len(lengths) > 1 else None,
        tokens=_mean([tokens for turn in whole if (tokens := counted(turn))]),
        first_token=_mean(waits),
        tokens_per_second=_speed(whole),
        finish_reasons=dict(Counter(turn.finish_reason or "none given" for turn in whole).most_common()),
    )


def failed(turn: Turn) -> bool:
    """Tell whether a question got no whole answer, though nobody stopped it."""
    return turn.status in ("error", "incomplete")


def missing(turn: Turn | None) -> bool:
    """Tell whether a place is still to be asked: nothing has come, or somebody stopped it."""
    return turn is None or turn.status == "interrupted"


def _mean(found: Sequence[float]) -> float | None:
    return statistics.fmean(found) if found else None


def _speed(turns: Sequence[Turn]) -> float | None:
    tokens, seconds = 0, 0.0
    for turn in turns:
        if counted(turn) and turn.duration is not None and turn.first_token is not None:
            tokens += counted(turn)
            seconds += turn.duration - turn.first_token
    return tokens / seconds if seconds > 0 else None
