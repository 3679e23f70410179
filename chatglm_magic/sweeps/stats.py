"""Statistics of the answers in a cell: lengths, similarity, finish reasons."""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

from ..render.answers import completion_tokens
from ..render.cjk import CJK
from ..values import Turn

_LETTER = rf"[^\W_{CJK.pattern[1:-1]}]"
UNIT = re.compile(rf"{CJK.pattern}|{_LETTER}+(?:['’]{_LETTER}+)*")

NgramCounts = Counter[tuple[str, ...]]


def split_units(text: str) -> list[str]:
    """Split a text into the units of n-grams, ignoring the case and width of letters.

    Each Chinese, Japanese or Korean letter is a unit, and each word of other letters and digits; blanks,
    punctuation and signs are dropped.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return [unit for unit in UNIT.findall(plain) if unit[0].isalnum()]


def count_ngrams(items: Sequence[str], n: int) -> NgramCounts:
    """Count the n-grams of a text's units."""
    return Counter(tuple(items[start : start + n]) for start in range(len(items) - n + 1))


def distinct_n(texts: Sequence[str], n: int) -> float | None:
    """Return distinct-n: the number of different n-grams in all texts together, divided by that of all n-grams.

    1 means that none occurs twice; None that there is no n-gram.
    """
    pooled: NgramCounts = Counter()
    for text in texts:
        pooled.update(count_ngrams(split_units(text), n))
    return len(pooled) / pooled.total() if pooled else None


def similarity(a: str, b: str) -> float:
    """Return the similarity of two texts, from 0 to 1: 2 · |A ∩ B| / (|A| + |B|).

    A and B are the multisets of the texts' 1-grams and 2-grams (Dice's coefficient). It is 1 if neither text has
    any, and 0 if only one has.
    """
    return _dice_coefficient(_short_ngrams(a), _short_ngrams(b))


def mean_similarity(texts: Sequence[str]) -> float | None:
    """Return the mean of :func:`similarity` over all pairs of texts; None for fewer than two."""
    if len(texts) < 2:
        return None
    counts = Counter(texts)  # equal texts are compared only once
    bags = {text: _short_ngrams(text) for text in counts}
    total = float(sum(count * (count - 1) // 2 for count in counts.values()))
    total += sum(_dice_coefficient(bags[a], bags[b]) * counts[a] * counts[b] for a, b in combinations(counts, 2))
    return total / (len(texts) * (len(texts) - 1) / 2)


def repeat_rate(texts: Sequence[str]) -> float | None:
    """Return the exact-repeat rate: (n − d) / (n − 1) for n texts of which d differ; None for fewer than two.

    1 means that all texts are equal, 0 that no two are.
    """
    if len(texts) < 2:
        return None
    return (len(texts) - len(set(texts))) / (len(texts) - 1)


def _short_ngrams(text: str) -> NgramCounts:
    items = split_units(text)
    return count_ngrams(items, 1) + count_ngrams(items, 2)


def _dice_coefficient(a: NgramCounts, b: NgramCounts) -> float:
    size = a.total() + b.total()
    return 2 * (a & b).total() / size if size else 1.0


@dataclass(frozen=True, slots=True)
class Stats:
    """The statistics of one cell; None for one that isn't defined. Only complete answers count.

    ``repeats``, ``distinct_1``, ``distinct_2`` and ``similarity`` are explained at the functions above;
    ``diversity`` is 1 − ``similarity``. ``length`` is the mean in characters, ``spread`` its sample standard
    deviation. ``tokens`` and ``reasoning_tokens`` are the means of the server's counts. ``first_token`` and
    ``first_answer``, the first token after the thinking, are mean times in seconds; ``tokens_per_second`` is the
    number of all tokens divided by all seconds from the first token to the end. ``spent_on_thinking`` is the share
    of complete answers that are empty because thinking used up max_token.
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
    reasoning_tokens: float | None
    first_token: float | None
    first_answer: float | None
    spent_on_thinking: float | None
    tokens_per_second: float | None
    finish_reasons: Mapping[str, int]

    def row(self) -> dict[str, Any]:
        """Return the statistics as one flat row, starting with the setting's values."""
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
    "reasoning_tokens": "Reasoning tokens",
    "first_token": "Time to the first token (s)",
    "first_answer": "Time to the first token after thinking (s)",
    "spent_on_thinking": "Empty because thinking used up max_token",
    "tokens_per_second": "Tokens per second",
    "answers": "Complete answers",
    "failed": "Failed",
}
"""The figures that can be plotted, and their labels."""


def compute_stats(turns: Sequence[Turn], prompt: str = "", setting: Mapping[str, Any] | None = None) -> Stats:
    """Return the statistics of the turns of one setting."""
    complete = [turn for turn in turns if turn.status == "complete"]
    texts = [turn.answer for turn in complete]
    lengths = [len(text) for text in texts]
    mean = mean_similarity(texts)
    waits = [turn.first_token for turn in complete if turn.first_token is not None]
    return Stats(
        prompt=prompt,
        setting=dict(setting or {}),
        asked=len(turns),
        answers=len(complete),
        failed=sum(1 for turn in turns if is_failed(turn)),
        repeats=repeat_rate(texts),
        distinct_1=distinct_n(texts, 1),
        distinct_2=distinct_n(texts, 2),
        similarity=mean,
        diversity=None if mean is None else 1 - mean,
        length=statistics.fmean(lengths) if lengths else None,
        spread=statistics.stdev(lengths) if len(lengths) > 1 else None,
        tokens=_mean([tokens for turn in complete if (tokens := completion_tokens(turn))]),
        reasoning_tokens=_mean([turn.reasoning_tokens for turn in complete if turn.reasoning_tokens is not None]),
        first_token=_mean(waits),
        first_answer=_mean([turn.first_answer for turn in complete if turn.first_answer is not None]),
        spent_on_thinking=_mean([float(turn.spent_on_thinking) for turn in complete]),
        tokens_per_second=_tokens_per_second(complete),
        finish_reasons=dict(Counter(turn.finish_reason or "none given" for turn in complete).most_common()),
    )


def is_failed(turn: Turn) -> bool:
    """Return whether a turn has no complete answer although it wasn't stopped."""
    return turn.status in ("error", "incomplete")


def is_missing(turn: Turn | None) -> bool:
    """Return whether a slot still needs an answer: there is none, or it was stopped."""
    return turn is None or turn.status == "interrupted"


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _tokens_per_second(turns: Sequence[Turn]) -> float | None:
    tokens, seconds = 0, 0.0
    for turn in turns:
        if completion_tokens(turn) and turn.duration is not None and turn.first_token is not None:
            tokens += completion_tokens(turn)
            seconds += turn.duration - turn.first_token
    return tokens / seconds if seconds > 0 else None
