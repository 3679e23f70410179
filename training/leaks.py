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
from .noise import slips

DISTANCE = 2  # edits: as near as this is too near
SLIP = 2  # edits that one slip of the finger may add
# what noise puts before and behind a question, and more of the kind
WORDS = """please pls hi hey hello ok okay so well um and just really actually exactly again now then thanks sorry
    thank_you tell_me quick_question one_question just_wondering i_am_new_here"""
CHINESE = "请问 请教 你好 那么 想问 话说 不好意思 老师 我想知道 请 一下 到底 究竟 谢谢 [那嗯啊呢吧呀嘛哦]"
FILLERS = re.compile(rf"\b(?:{'|'.join(WORDS.split()).replace('_', ' ')})\b|{'|'.join(CHINESE.split())}")

Pair = tuple[str, str]
Index = dict[int, list["Entry"]]


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


def wordings(texts: Corpus) -> set[str]:
    """Every question that noise is put on; nonsense in place of a topic is all that is left out."""
    forms = {form for item in texts.items for form in item.ask + item.framed}
    for lang in corpus.LANGUAGES:
        data, frames = texts.outside[lang], texts.frames[lang]
        forms.update(data["ask"], *(kind["ask"] for kind in texts.dialogue[lang].values()))
        topics = product(data["templates"] + frames["about"], data["topics"])
        filled = (*topics, *product(frames["todo"], data["tasks"]))
        forms.update(frame.replace("{x}", x).replace("{n}", "7") for frame, x in filled)
    return forms


def index_of(trained: Iterable[str]) -> Index:
    """The wordings of a training by their length, made ready to be compared."""
    index: Index = defaultdict(list)
    for text in trained:
        key = bare(text)
        index[len(key)].append(Entry(key, _pairs(key), DISTANCE + (SLIP if slips(text) else 0), text))
    return index


def leaks(questions: Iterable[str], index: Index) -> list[Pair]:
    """The (question, wording) pairs that are too near to each other, with or without a slip in the wording."""
    return [(question, text) for question in questions for text in _near(bare(question), index)]


def _near(key: str, index: Index) -> Iterator[str]:
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
    for question, wording in leaks(measured(texts), index_of(wordings(texts))):
        print(f"{question!r} is too near to {wording!r}")


if __name__ == "__main__":
    main()
