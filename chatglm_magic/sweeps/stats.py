"""Statistics of the answers in a cell: lengths, how alike they are, how they ended."""

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
    """Return what n-grams of a text are made of, in its order; case and the width of letters do not count.

    Each Chinese, Japanese or Korean letter is one, and each word of other letters and digits; blanks, punctuation
    and signs are none.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return [unit for unit in UNIT.findall(plain) if unit[0].isalnum()]


def count_ngrams(found: Sequence[str], n: int) -> NgramCounts:
    """Count the n-grams of some units."""
    return Counter(tuple(found[at : at + n]) for at in range(len(found) - n + 1))


def distinct_n(texts: Sequence[str], n: int) -> float | None:
    """Return distinct-n: how many different n-grams there are in all texts together, over how many there are.

    1 means that none is used twice. None where there is no n-gram at all.
    """
    pooled: NgramCounts = Counter()
    for text in texts:
        pooled.update(count_ngrams(split_units(text), n))
    return len(pooled) / pooled.total() if pooled else None


def similarity(a: str, b: str) -> float:
    """Return how alike two texts are, from 0 to 1: 2 · |A ∩ B| / (|A| + |B|).

    A and B are the texts' 1-grams and 2-grams, each as often as it stands there (Dice's coefficient of multisets).
    Two texts without any are 1, a text with and one without are 0.
    """
    return _dice_coefficient(_short_ngrams(a), _short_ngrams(b))


def mean_similarity(texts: Sequence[str]) -> float | None:
    """Return the mean of :func:`similarity` over all pairs of texts; None for fewer than two."""
    if len(texts) < 2:
        return None
    counts = Counter(texts)  # the same text many times is compared once
    bags = {text: _short_ngrams(text) for text in counts}
    total = float(sum(count * (count - 1) // 2 for count in counts.values()))
    total += sum(_dice_coefficient(bags[a], bags[b]) * counts[a] * counts[b] for a, b in combinations(counts, 2))
    return total / (len(texts) * (len(texts) - 1) / 2)


def repeat_rate(texts: Sequence[str]) -> float | None:
    """Return the exact-repeat rate: (n − d) / (n − 1) for n texts of which d differ; None for fewer than two.

    1 means that all are the same, 0 that no two are.
    """
    if len(texts) < 2:
        return None
    return (len(texts) - len(set(texts))) / (len(texts) - 1)


def _short_ngrams(text: str) -> NgramCounts:
    found = split_units(text)
    return count_ngrams(found, 1) + count_ngrams(found, 2)


def _dice_coefficient(a: NgramCounts, b: NgramCounts) -> float:
    size = a.total() + b.total()
    return 2 * (a & b).total() / size if size else 1.0


@dataclass(frozen=True, slots=True)
class Stats:
    """The figures of one cell; None where one is not defined. Texts are those of complete answers alone.

    ``repeats``, ``distinct_1``, ``distinct_2`` and ``similarity`` are as the functions above say, ``diversity`` is
    1 − ``similarity``. ``length`` is the mean in characters, ``spread`` the sample's standard deviation of it.
    ``tokens`` is the mean of what the server counted, and ``reasoning_tokens`` of those of the thinking.
    ``first_token`` and ``first_answer``, the answer's own first token, are in seconds, the mean;
    ``tokens_per_second`` are all tokens over all seconds from the first token to the end. ``spent_on_thinking`` is
    the share of complete answers that are empty because thinking used up max_token.
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
    "reasoning_tokens": "Reasoning tokens",
    "first_token": "Time to the first token (s)",
    "first_answer": "Time to the first token after thinking (s)",
    "spent_on_thinking": "Empty because thinking used up max_token",
    "tokens_per_second": "Tokens per second",
    "answers": "Complete answers",
    "failed": "Failed",
}
"""The figures that can be drawn, and what they are called."""


def compute_stats(turns: Sequence[Turn], prompt: str = "", setting: Mapping[str, Any] | None = None) -> Stats:
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
        failed=sum(1 for turn in turns if is_failed(turn)),
        repeats=repeat_rate(texts),
        distinct_1=distinct_n(texts, 1),
        distinct_2=distinct_n(texts, 2),
        similarity=alike,
        diversity=None if alike is None else 1 - alike,
        length=statistics.fmean(lengths) if lengths else None,
        spread=statistics.stdev(lengths) if len(lengths) > 1 else None,
        tokens=_mean([tokens for turn in whole if (tokens := completion_tokens(turn))]),
        reasoning_tokens=_mean([turn.reasoning_tokens for turn in whole if turn.reasoning_tokens is not None]),
        first_token=_mean(waits),
        first_answer=_mean([turn.first_answer for turn in whole if turn.first_answer is not None]),
        spent_on_thinking=_mean([float(turn.spent_on_thinking) for turn in whole]),
        tokens_per_second=_tokens_per_second(whole),
        finish_reasons=dict(Counter(turn.finish_reason or "none given" for turn in whole).most_common()),
    )


def is_failed(turn: Turn) -> bool:
    """Tell whether a question got no whole answer, though nobody stopped it."""
    return turn.status in ("error", "incomplete")


def is_missing(turn: Turn | None) -> bool:
    """Tell whether a place is still to be asked: nothing has come, or somebody stopped it."""
    return turn is None or turn.status == "interrupted"


def _mean(found: Sequence[float]) -> float | None:
    return statistics.fmean(found) if found else None


def _tokens_per_second(turns: Sequence[Turn]) -> float | None:
    tokens, seconds = 0, 0.0
    for turn in turns:
        if completion_tokens(turn) and turn.duration is not None and turn.first_token is not None:
            tokens += completion_tokens(turn)
            seconds += turn.duration - turn.first_token
    return tokens / seconds if seconds > 0 else None
