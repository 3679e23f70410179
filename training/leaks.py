"""Does a question that is kept for measuring come near to a wording that the training may produce?

``python -m training.leaks`` prints the pairs that do; there must be none.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise, product
from typing import NamedTuple

from . import corpus
from .corpus import Corpus, plain
from .noise import rephrasings, slips

DISTANCE = 2  # edits: as near as this is too near
SLIP = 2  # edits that one slip of the finger may add
FILLERS = re.compile(
    r"\b(?:please|pls|hi|hey|hello|ok|okay|so|well|um|and|just|really|actually|exactly|again|now|then|thanks)\b"
    "|请问|你好|那么|请|一下|到底|究竟|谢谢|[啊呢吧呀嘛哦]"
)

Pair = tuple[str, str]


class Entry(NamedTuple):
    """A wording of the training, made ready to be compared."""

    key: str
    pairs: int
    far: int  # edits away: from further off no slip leads near
    text: str


def bare(text: str) -> str:
    """What is left of a question without case, punctuation, fillers and the value of its numbers."""
    text = re.sub(r"\d+(?:\.\d+)?", "0", unicodedata.normalize("NFKC", text).casefold())
    return plain(FILLERS.sub("", text)) or plain(text)


def measured(texts: Corpus) -> list[str]:
    """The questions that must stay untrained."""
    groups = [group for lang in corpus.LANGUAGES for group in texts.rewordings[lang].values()]
    return [q for group in (*groups, *(texts.unknown[lang] for lang in corpus.LANGUAGES)) for q in group]


def sources(texts: Corpus) -> Iterator[Pair]:
    """Every (language, question) that noise is put on; nonsense in place of a topic is all that is left out."""
    for item in texts.items:
        yield from ((item.lang, form) for form in item.ask)
    for lang in corpus.LANGUAGES:
        data = texts.outside[lang]
        asked = [q for kind in texts.dialogue[lang].values() for q in kind["ask"]] + data["ask"]
        filled = (t.replace("{x}", x).replace("{n}", "7") for t, x in product(data["templates"], data["topics"]))
        yield from ((lang, question) for question in (*asked, *filled))


def wordings(texts: Corpus) -> set[str]:
    """Every wording that the training may produce before somebody's finger slips."""
    return {form for lang, text in sources(texts) for form in (text, *rephrasings(text, lang))}


def leaks(questions: Iterable[str], trained: Iterable[str]) -> list[Pair]:
    """The (question, wording) pairs that are too near to each other, with or without a slip in the wording."""
    index: dict[int, list[Entry]] = defaultdict(list)
    for text in trained:
        key = bare(text)
        index[len(key)].append(Entry(key, _pairs(key), DISTANCE + (SLIP if slips(text) else 0), text))
    return [(question, text) for question in questions for text in _near(bare(question), index)]


def _near(key: str, index: dict[int, list[Entry]]) -> Iterator[str]:
    pairs, most = _pairs(key), DISTANCE + SLIP
    for entry in chain.from_iterable(index.get(n, ()) for n in range(len(key) - most, len(key) + most + 1)):
        # an edit can undo no more than two pairs of letters: most are told apart by that
        if max((pairs & ~entry.pairs).bit_count(), (entry.pairs & ~pairs).bit_count()) > 2 * entry.far:
            continue
        away = distance(key, entry.key)
        if away <= DISTANCE or (
            away <= entry.far and any(distance(key, bare(slip)) <= DISTANCE for slip in slips(entry.text))
        ):
            yield entry.text


def _pairs(key: str) -> int:
    """The pairs of letters side by side, as bits of a number."""
    mask = 0
    for a, b in pairwise(key):
        mask |= 1 << (31 * ord(a) + ord(b)) % 509
    return mask


def distance(a: str, b: str) -> int:
    """Levenshtein's: how many letters must be put in, taken out or changed."""
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (letter != other))
    return row[-1]


def main() -> None:
    """Print what leaks."""
    texts = corpus.load()
    for question, wording in leaks(measured(texts), wordings(texts)):
        print(f"{question!r} is too near to {wording!r}")


if __name__ == "__main__":
    main()
