"""The ways people type one question: other words round it, case, punctuation, a slip of the finger."""

import random

OPENERS = {
    "en": (
        *("please ", "Please ", "Hi, ", "hey, ", "ok, ", "So, ", "well, ", "Hello, ", "um, ", "and ", "now "),
        *("quick question: ", "one question: ", "just wondering, ", "sorry, ", "tell me, ", "I am new here, "),
    ),
    "zh": (
        *("请问，", "请问", "你好，", "那么，", "那", "嗯，", "话说，", "想问一下，", "不好意思，", "老师，"),
        *("我想知道", "请教一下，"),
    ),
}
CLOSERS = {"en": (" please", ", please", " thanks", ", thank you", " again"), "zh": ("呢", "啊", "呀", "，谢谢")}
ENDINGS = {"en": ("", "?", ".", "!", " ?", "??"), "zh": ("", "？", "?", "。", "！")}
NARROW = str.maketrans("，。？！：（）", ",.?!:()")


def reword(text: str, lang: str, rng: random.Random) -> str:
    """The text as somebody else might have typed it; half of the time it stays as it is."""
    if rng.random() < 0.5:
        return text
    if rng.random() < 0.1:
        text = text.rstrip("?.!？。！ ") + rng.choice(CLOSERS[lang])
    if rng.random() < 0.5:
        text = _ending(text, lang, rng)
    if lang == "en":
        text = _case(text, rng)
    elif rng.random() < 0.2:
        text = text.translate(NARROW)
    if rng.random() < 0.12:
        text = _opener(text, lang, rng)
    if rng.random() < 0.2:
        text = typo(text, rng)
    return text


def _ending(text: str, lang: str, rng: random.Random) -> str:
    return (text.rstrip("?.!？。！ ") or text) + rng.choice(ENDINGS[lang])


def _case(text: str, rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.35:
        return text.lower()
    if draw < 0.43:
        return text.upper()
    if draw < 0.7:
        return text[:1].upper() + text[1:]
    if draw < 0.8:
        return text.replace("'", "")
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
        if len(word) < 5 or not (word.isascii() and word.isalpha()):
            continue
        for at in range(1, len(word) - 2):
            swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            for slip in (swapped, word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]):
                forms.append(" ".join([*words[:i], slip, *words[i + 1 :]]))
    return forms
