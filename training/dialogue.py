"""Conversations drawn from the corpus: questions, follow-ups, and things the model must say it does not know."""

import random
import re
from dataclasses import dataclass
from typing import Any

from .corpus import Corpus, Item
from .noise import reword

LONG = 120  # characters of a long answer
MIXES = ((("en",), ("zh",), ("en", "zh")), (45, 20, 35))
"""Which languages a conversation is in, and how often: English has more things, in more wordings."""
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
    draw = rng.random()
    form = item.ask[0] if draw < 0.15 else rng.choice(item.framed if item.framed and draw < 0.4 else item.ask)
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
    """A question from outside: hand-written, gibberish, or a topic, a task or nonsense in a template or frame."""
    data = corpus.outside[lang]
    draw = rng.random()
    if rng.random() < strange:
        question = gibberish(data, rng)
    elif draw < 0.55:
        question = rng.choice(data["ask"])
    elif draw < 0.61:
        question = rng.choice(corpus.frames[lang]["todo"]).replace("{x}", rng.choice(data["tasks"]))
    else:
        topic = rng.choice(data["topics"]) if draw < 0.91 else nonsense(rng)
        forms = data["templates"] if rng.random() < 0.65 else corpus.frames[lang]["about"]
        question = re.sub("{n}", lambda _: str(rng.randint(1, 99)), rng.choice(forms)).replace("{x}", topic)
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


def before(corpus: Corpus, items: list[Item], lang: str, rng: random.Random, strange: float) -> Turn:
    """A turn to come before the question; long answers more often than their number, they confuse most."""
    draw = rng.random()
    if draw < 0.22:
        return outside(corpus, lang, rng, strange)
    long = [i for i in items if len(i.answers[0]) > LONG] if draw < 0.34 else []
    return known(rng.choice(long or items), rng)


def present(corpus: Corpus, items: list[Item], lang: str, past: list[Turn], rng: random.Random) -> Turn:
    """The question itself."""
    draw = rng.random()
    if draw < 0.25:
        return outside(corpus, lang, rng)
    if draw < (0.27 if past else 0.29):
        return follow(corpus, lang, past, rng)
    if past and draw < 0.30:  # people do ask the same thing twice
        return known(corpus.find(past[0].question) or rng.choice(items), rng)
    return known(rng.choice(items), rng)


def conversation(corpus: Corpus, rng: random.Random) -> tuple[str, list[Turn]]:
    """A system message (mostly none) and one or two turns: more the chat template never shows the model."""
    mixes, often = MIXES
    (langs,) = rng.choices(mixes, often)
    items = [i for i in corpus.items if i.lang in langs]
    past: list[Turn] = []
    follows = False
    if rng.random() < 0.67:
        follows = rng.random() < 0.42
        past = [before(corpus, items, rng.choice(langs), rng, 0.4 if follows else 0.06)]
    lang = rng.choice(langs)
    turn = follow(corpus, lang, past, rng) if follows else present(corpus, items, lang, past, rng)
    return (rng.choice(SYSTEM) if rng.random() < 0.06 else ""), [*past, turn]
