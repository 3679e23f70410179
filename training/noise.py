"""The ways people type one question: other words round it, case, punctuation, a slip of the finger."""

import random
import re

OPENERS = {
    "en": ("please ", "Please ", "Hi, ", "hey, ", "ok, ", "So, "),
    "zh": ("请问，", "请问", "你好，", "那么，"),
}
ENDINGS = {"en": ("", "?", ".", "!", " ?", "??"), "zh": ("", "？", "?", "。", "！")}
NARROW = str.maketrans("，。？！：（）", ",.?!:()")

# Questions of these shapes also come in these words; they are used on known and unknown things alike,
# so that the words round a topic say nothing about whether it is known.
SHAPES = {
    "en": (
        (
            re.compile(r"What is ((?!your|my).+)\?"),
            (
                "What's {}?",
                "Can you explain {}?",
                "Explain {} to me",
                "Tell me what {} is",
                "Do you know what {} is?",
                "Define {}",
                "What is meant by {}?",
                "I want to know what {} is",
                "what is {} again?",
            ),
        ),
        (
            re.compile(r"How do I (.+)\?"),
            ("How can I {}?", "How to {}?", "How could I {}?", "I want to {}", "Can you show me how to {}?"),
        ),
        (re.compile(r"What does (.+) do\?"), ("What is {} good for?", "What's the effect of {}?", "Why use {}?")),
    ),
    "zh": (
        (
            re.compile(r"什么是(?!我|你)(.+)？|((?!我|你).+)是什么？"),
            (
                "{}是啥？",
                "请解释{}",
                "给我讲讲{}",
                "能解释一下{}吗？",
                "{}是什么意思？",
                "{}指的是什么？",
                "我想了解{}",
            ),
        ),
        (re.compile(r"(.+)会怎样？"), ("{}会怎么样？", "{}会发生什么？", "如果{}呢？")),
        (re.compile(r"怎么(?!样)(.+)？"), ("怎样{}？", "如何{}？", "我想{}", "该怎么{}？", "请问怎么{}？")),
    ),
}


def reword(text: str, lang: str, rng: random.Random) -> str:
    """The text as somebody else might have typed it; half of the time it stays as it is."""
    if rng.random() < 0.5:
        return text
    if rng.random() < 0.4:
        text = rephrase(text, lang, rng)
    if rng.random() < 0.4:
        text = _ending(text, lang, rng)
    if lang == "en":
        text = _case(text, rng)
    elif rng.random() < 0.2:
        text = text.translate(NARROW)
    if rng.random() < 0.12:
        text = _opener(text, lang, rng)
    if rng.random() < 0.12:
        text = typo(text, rng)
    return text


def rephrase(text: str, lang: str, rng: random.Random) -> str:
    """The same question in one of the other wordings of its shape, if it has one."""
    forms = rephrasings(text, lang)
    return rng.choice(forms) if forms else text


def rephrasings(text: str, lang: str) -> list[str]:
    """All other wordings of the question's shape."""
    for shape, wordings in SHAPES[lang]:
        if match := shape.fullmatch(text):
            topic = next(g for g in match.groups() if g).strip()
            return [wording.replace("{}", topic) for wording in wordings]
    return []


def _ending(text: str, lang: str, rng: random.Random) -> str:
    return (text.rstrip("?.!？。！ ") or text) + rng.choice(ENDINGS[lang])


def _case(text: str, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.35:
        return text.lower()
    if draw < 0.45:
        return text.upper()
    return text


def _opener(text: str, lang: str, rng: random.Random) -> str:
    if lang == "en" and text[:2] not in ("I ", "I'") and not text.isupper():
        text = text[:1].lower() + text[1:]
    return rng.choice(OPENERS[lang]) + text


def typo(text: str, rng: random.Random) -> str:
    """The text with one slip of the finger, if it has a longer Latin word."""
    forms = slips(text)
    return rng.choice(forms) if forms else text


def slips(text: str) -> list[str]:
    """Every slip inside a longer Latin word: two letters swapped, one lost, one doubled."""
    words, forms = text.split(" "), []
    for i, word in enumerate(words):
        if len(word) < 6 or not (word.isascii() and word.isalpha()):
            continue
        for at in range(1, len(word) - 2):
            swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            for slip in (swapped, word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]):
                forms.append(" ".join([*words[:i], slip, *words[i + 1 :]]))
    return forms
