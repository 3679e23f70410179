"""What texts are made of, counted: words, or single characters where a text is Chinese, Japanese or Korean."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from ..render.cjk import CJK

WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

Grams = Counter[tuple[str, ...]]


def units(text: str) -> list[str]:
    """Return what n-grams of a text are made of, in its order; case and the width of letters do not count.

    These are the letters and digits one by one where more than half of them are Chinese, Japanese or Korean,
    else the words. Blanks, punctuation and signs are none.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    letters = [char for char in plain if char.isalnum()]
    if 2 * sum(1 for char in letters if CJK.match(char)) > len(letters):
        return letters
    return WORDS.findall(plain)


def grams(found: Sequence[str], n: int) -> Grams:
    """Count the n-grams of some units."""
    return Counter(tuple(found[at : at + n]) for at in range(len(found) - n + 1))


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Return distinct-n: how many different n-grams there are in all texts together, over how many there are.

    1 means that none is used twice. None where there is no n-gram at all.
    """
    pooled: Grams = Counter()
    for text in texts:
        pooled.update(grams(units(text), n))
    return len(pooled) / pooled.total() if pooled else None


def similarity(a: str, b: str) -> float:
    """Return how alike two texts are, from 0 to 1: 2 · |A ∩ B| / (|A| + |B|).

    A and B are the texts' 1-grams and 2-grams, each as often as it stands there (Dice's coefficient of multisets).
    Two texts without any are 1, a text with and one without are 0.
    """
    return _dice(_bag(a), _bag(b))


def mean_similarity(texts: Sequence[str]) -> float | None:
    """Return the mean of :func:`similarity` over all pairs of texts; None for fewer than two."""
    if len(texts) < 2:
        return None
    counts = Counter(texts)  # the same text many times is compared once
    bags = {text: _bag(text) for text in counts}
    total = float(sum(count * (count - 1) // 2 for count in counts.values()))
    total += sum(_dice(bags[a], bags[b]) * counts[a] * counts[b] for a, b in combinations(counts, 2))
    return total / (len(texts) * (len(texts) - 1) / 2)


def repeats(texts: Sequence[str]) -> float | None:
    """Return the exact-repeat rate: (n − d) / (n − 1) for n texts of which d differ; None for fewer than two.

    1 means that all are the same, 0 that no two are.
    """
    if len(texts) < 2:
        return None
    return (len(texts) - len(set(texts))) / (len(texts) - 1)


def _bag(text: str) -> Grams:
    found = units(text)
    return grams(found, 1) + grams(found, 2)


def _dice(a: Grams, b: Grams) -> float:
    size = a.total() + b.total()
    return 2 * (a & b).total() / size if size else 1.0
