"""Asks a model, compares its answers with the listed ones, and counts."""

import random
from collections import Counter
from collections.abc import Iterator

from . import corpus
from .corpus import Corpus, plain
from .dialogue import Turn, known, outside, reply
from .engine import Engine, Messages


class Judge:
    """Asks, compares with the listed answers, and keeps what was wrong."""

    def __init__(self, texts: Corpus, engine: Engine) -> None:
        self.texts, self.engine = texts, engine
        self.wrong: list[dict[str, object]] = []
        self.follow = {
            plain(q): (lang, kind)
            for lang, kinds in texts.dialogue.items()
            for kind, data in kinds.items()
            for q in data["ask"]
        }

    def right_answers(self, question: str, past: list[Turn]) -> tuple[str, ...]:
        """The listed answers to a question after these turns; the first is the wanted one."""
        if plain(question) in self.follow:
            return (reply(self.texts, *self.follow[plain(question)], past),)
        item = self.texts.find(question)
        return item.answers if item else ()

    def ask(self, group: str, question: str, past: list[Turn], right: tuple[str, ...]) -> str:
        """ "first", "listed" or "wrong"; a wrong answer is written down."""
        got = self.engine.chat(messages([*past, Turn(question, "", "")])[:-1])
        if got == right[0]:
            return "first"
        if got in right:
            return "listed"
        self.wrong.append({"group": group, "past": [t.question for t in past], "question": question, "got": got})
        return "wrong"

    def group(self, name: str, cases: Iterator[tuple[str, list[Turn]]]) -> dict[str, int]:
        """Counts of one group of (question, earlier turns)."""
        counts: Counter[str] = Counter()
        for question, past in cases:
            counts[self.ask(name, question, past, self.right_answers(question, past))] += 1
        return show(name, counts)

    def rewordings(self, name: str, lang: str, held: dict[str, list[str]]) -> dict[str, int]:
        """Counts of rewordings that were never trained, each under the item whose answers are right."""
        items = {item.id: item for item in self.texts.items}
        counts: Counter[str] = Counter()
        for item, questions in held.items():
            for question in questions:
                counts[self.ask(name, question, [], items[f"{lang}:{item}"].answers)] += 1
        return show(name, counts)

    def unknown(
        self, name: str, questions: list[tuple[str, str]], rng: random.Random | None = None
    ) -> dict[str, int]:
        """Counts of (language, question) pairs whose right answer is "I do not know"; rng: after turns."""
        counts: Counter[str] = Counter()
        for lang, question in questions:
            past = past_turns(self.texts, rng.randint(1, 6), rng) if rng else []
            counts[self.ask(name, question, past, tuple(self.texts.outside[lang]["answers"]))] += 1
        return show(name, counts)


def messages(turns: list[Turn]) -> Messages:
    """Turns as chat messages."""
    pairs = ((("user", t.question), ("assistant", t.answer)) for t in turns)
    return [{"role": role, "content": text} for pair in pairs for role, text in pair]


def show(name: str, counts: Counter[str]) -> dict[str, int]:
    """Print a line and hand the counts on."""
    total = sum(counts.values())
    right = total - counts["wrong"]
    percent = f"{100 * right / total:.2f} %"
    print(f"{name:36s} {right}/{total} = {percent}  (first answer: {counts['first']})", flush=True)
    return {"right": right, "total": total, "first": counts["first"]}


def past_turns(texts: Corpus, number: int, rng: random.Random) -> list[Turn]:
    """Earlier turns as a conversation at temperature 0 would have them."""
    turns = []
    for _ in range(number):
        item = rng.choice(texts.items)
        turn = known(item, rng, noise=False)
        turns.append(Turn(turn.question, item.answers[0], turn.short))
    if number > 1 and rng.random() < 0.3:
        lang = rng.choice(corpus.LANGUAGES)
        turn = outside(texts, lang, rng)
        turns[rng.randrange(number)] = Turn(turn.question, texts.outside[lang]["answers"][0], turn.short)
    return turns
