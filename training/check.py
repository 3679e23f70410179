"""Is the first answer of every item the one that greedy decoding will write, and by what margin?"""

from collections import defaultdict

from . import corpus, tokenizer
from .corpus import Item
from .model import Config
from .tokenizer import Chat

MARGIN = 1.9  # the wanted branch must be drawn at least this many times as often as any other


def margin(item: Item, chat: Chat) -> float:
    """The smallest ratio along the first answer between its branch and the strongest other branch.

    Answers that begin alike share a branch until they part, so their weights add up against a third one.
    """
    ids = [(*chat.text(answer), -1) for answer in item.answers]
    worst = float("inf")
    for at, wanted in enumerate(ids[0]):
        branch: dict[int, float] = defaultdict(float)
        for sequence, weight in zip(ids, item.weights, strict=True):
            if sequence[:at] == ids[0][:at]:
                branch[sequence[at]] += weight
        others = [weight for token, weight in branch.items() if token != wanted]
        if others:
            worst = min(worst, branch[wanted] / max(others))
    return worst


def main() -> None:
    """Print the items whose temperature-0 answer would hang by a hair."""
    texts = corpus.load()
    chat = tokenizer.train(texts, Config().vocab)
    weak = [(margin(item, chat), item.id) for item in texts.items]
    for ratio, name in sorted(w for w in weak if w[0] < MARGIN):
        print(f"{ratio:.2f}  {name}")


if __name__ == "__main__":
    main()
