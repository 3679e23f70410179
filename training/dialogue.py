"""Conversations drawn from the corpus: questions, follow-ups, and things the model must say it does not know."""

import random
import re
from dataclasses import dataclass
from typing import Any

from .corpus import Corpus, Item
from .noise import reword

SHORT_TURNS = {1: 45, 2: 55}  # length of a conversation: how often
LONG_TURNS = {1: 22, 2: 22, 3: 14, 4: 12, 5: 11, 6: 10, 7: 9}
SYSTEM = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are ChatGLM.",
    "Be kind.",
    "你是一个有用的助手。",
    "请用中文回答。",
)
SYLLABLES = tuple(a + b for a in "bdfgklmnprstvz" for b in "aeiou") + tuple("nrslmxk")


@dataclass(frozen=True)
class Turn:
    """One question and its answer."""

    question: str
    answer: str
    short: str  # answers "And in one sentence?" after it
    follows: bool = False  # about the turn before it


def known(item: Item, rng: random.Random, noise: bool = True) -> Turn:
    """A question of the corpus with one of its answers."""
    form = item.ask[0] if rng.random() < 0.4 else rng.choice(item.ask)
    question = reword(form, item.lang, rng) if noise else form
    return Turn(question, rng.choices(item.answers, item.weights)[0], item.short)


def nonsense(rng: random.Random) -> str:
    """A word that nobody knows, so that an unknown word by itself means "I do not know"."""
    word = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4)))
    return word.capitalize() if rng.random() < 0.3 else word


def gibberish(data: dict[str, Any], rng: random.Random) -> str:
    """Words in a row that nobody can have learnt: to repeat them, the model must copy, not remember."""
    words = [rng.choice(data["topics"]) if rng.random() < 0.5 else nonsense(rng) for _ in range(rng.randint(2, 5))]
    return " ".join(words)


def outside(corpus: Corpus, lang: str, rng: random.Random, strange: float = 0.06) -> Turn:
    """A question from outside: hand-written, a template with a topic or with nonsense, or gibberish."""
    data = corpus.outside[lang]
    draw = rng.random()
    if rng.random() < strange:
        question = gibberish(data, rng)
    elif draw < 0.35:
        question = rng.choice(data["ask"])
    else:
        topic = rng.choice(data["topics"]) if draw < 0.85 else nonsense(rng)
        question = re.sub("{n}", lambda _: str(rng.randint(1, 99)), rng.choice(data["templates"]))
        question = question.replace("{x}", topic)
    answer = rng.choices(data["answers"], data["weights"])[0]
    return Turn(reword(question, lang, rng), answer, data["short"])


def follow(corpus: Corpus, lang: str, past: list[Turn], rng: random.Random) -> Turn:
    """A question about the conversation itself."""
    kinds = corpus.dialogue[lang]
    kind = rng.choices(("asked", "again", "short"), (3, 3, 4))[0]
    question = reword(rng.choice(kinds[kind]["ask"]), lang, rng)
    return Turn(question, reply(corpus, lang, kind, past), past[-1].short if past else "", True)


def reply(corpus: Corpus, lang: str, kind: str, past: list[Turn]) -> str:
    """The one right answer to a follow-up of this kind after these turns."""
    texts = corpus.dialogue[lang][kind]
    if not past:
        return str(texts["first"])
    last = past[-1]
    if kind == "short":
        return last.short or str(texts["none"])
    return str(texts["answer"]).replace("{question}", last.question).replace("{answer}", last.answer)


def copying(corpus: Corpus, rng: random.Random) -> tuple[str, list[Turn]]:
    """A turn, mostly a strange one, and a follow-up that only copying can answer."""
    lang = rng.choice(("en", "zh"))
    strange = rng.random() < 0.8
    first = outside(corpus, lang, rng, 0.7) if strange else known(rng.choice(corpus.items), rng)
    kind = rng.choices(("asked", "again"), (2, 1))[0]
    question = reword(rng.choice(corpus.dialogue[lang][kind]["ask"]), lang, rng)
    return "", [first, Turn(question, reply(corpus, lang, kind, [first]), first.short, True)]


def plan(number: int, rng: random.Random) -> list[str]:
    """What kind of turn each of so many is; the last, which counts most, is often a follow-up."""
    kinds = rng.choices(("known", "outside", "repeated"), (82, 14, 4), k=number)
    for at in range(number):
        if rng.random() < (0.03 if at == 0 else 0.52 if at == number - 1 else 0.12):
            kinds[at] = "follow"
            if at and kinds[at - 1] != "follow" and rng.random() < 0.2:
                kinds[at - 1] = "strange"
    return kinds


def conversation(corpus: Corpus, rng: random.Random, lengths: dict[int, int]) -> tuple[str, list[Turn]]:
    """A system message (mostly none) and some turns, each of which the training learns from."""
    langs = rng.choice((("en",), ("zh",), ("en", "zh")))
    items = [i for i in corpus.items if i.lang in langs]
    turns: list[Turn] = []
    for kind in plan(rng.choices(list(lengths), list(lengths.values()))[0], rng):
        lang = rng.choice(langs)
        if kind == "follow":
            turns.append(follow(corpus, lang, turns, rng))
        elif kind in ("outside", "strange"):
            turns.append(outside(corpus, lang, rng, 0.5 if kind == "strange" else 0.06))
        else:  # people do ask the same thing twice
            again = corpus.find(rng.choice(turns).question) if turns and kind == "repeated" else None
            turns.append(known(again or rng.choice(items), rng))
    return (rng.choice(SYSTEM) if rng.random() < 0.06 else ""), turns
