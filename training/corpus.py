"""The corpus: hand-written TOML files read into plain values, with checks that keep it unambiguous."""

import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "corpus"
LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Item:
    """One thing the model knows."""

    id: str
    lang: str
    ask: tuple[str, ...]  # question forms; the first is the plain one
    framed: tuple[str, ...]  # more of them: each of its topics and tasks in each frame, see frames.toml
    answers: tuple[str, ...]  # the first is the one wanted at temperature 0
    weights: tuple[float, ...]  # how often each answer is drawn
    short: str  # the reply to "And in one sentence?"; "" if there is none


@dataclass(frozen=True)
class Corpus:
    """Everything the training draws from."""

    items: tuple[Item, ...]
    frames: dict[str, dict[str, list[str]]]  # language -> words round a topic or a task, see frames.toml
    dialogue: dict[str, dict[str, Any]]  # language -> follow-ups, see dialogue.toml
    outside: dict[str, dict[str, Any]]  # language -> what is not known, see outside.toml
    held: dict[str, dict[str, list[str]]]  # language -> item -> rewordings that are never trained
    rewordings: dict[str, dict[str, list[str]]]  # the same in whole other phrases; never edited
    unknown: dict[str, list[str]]  # language -> questions from outside that are never trained; never edited
    promised: tuple[str, ...]  # prompts that README and notebooks rely on
    follow_ups: tuple[str, ...]  # and those of them that are about the turn before

    def find(self, question: str) -> Item | None:
        """The item whose question this is, whatever its case and punctuation."""
        return self.questions.get(plain(question))

    @cached_property
    def questions(self) -> dict[str, Item]:
        """Every question of every item, in plain form."""
        return {plain(q): item for item in self.items for q in (*item.framed, *item.ask)}


def plain(text: str) -> str:
    """A question without case, width and punctuation: what must differ between two items."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in text if c.isalnum() or c in "%+#_")


def _load(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def _items(lang: str, frames: dict[str, list[str]], held: dict[str, list[str]]) -> list[Item]:
    """The items of one language file; a file names its usual weights by the number of answers."""
    data = _load(lang)
    usual = {len(w): w for w in data["weights"]}
    return [
        Item(
            id=f"{lang}:{raw['id']}",
            lang=lang,
            ask=tuple(raw["ask"]),
            framed=_framed(raw, lang, frames, set(map(plain, held.get(raw["id"], ())))),
            answers=tuple(a.strip("\n") for a in raw["answers"]),
            weights=tuple(raw.get("weights") or usual[len(raw["answers"])]),
            short=raw.get("short", ""),
        )
        for raw in data["item"]
    ]


def _framed(raw: dict[str, Any], lang: str, frames: dict[str, list[str]], held: set[str]) -> tuple[str, ...]:
    """What an item is about, and what people want to do with it, in every frame; but not what is held back."""
    filled = (
        frame.replace("{x}", x) for kind in ("about", "todo") for x in raw.get(kind, ()) for frame in frames[kind]
    )
    # a Latin word by itself is an English question
    return tuple(form for form in filled if plain(form) not in held and (lang == "en" or not form.isascii()))


def load() -> Corpus:
    """Read all files and check them."""
    frames, held = _load("frames"), _load("held")
    corpus = Corpus(
        items=tuple(item for lang in LANGUAGES for item in _items(lang, frames[lang], held[lang])),
        frames=frames,
        dialogue=_load("dialogue"),
        outside=_load("outside"),
        held=held,
        rewordings=_load("rewordings"),
        unknown=_load("unknown"),
        promised=tuple(_load("promised")["prompts"]),
        follow_ups=tuple(_load("promised")["follow_ups"]),
    )
    problems = check(corpus)
    if problems:
        raise ValueError("the corpus has problems:\n" + "\n".join(problems))
    return corpus


def follow_up_forms(corpus: Corpus) -> set[str]:
    """Every follow-up question of every language, in plain form."""
    kinds = [k for lang in LANGUAGES for k in corpus.dialogue[lang].values()]
    return {plain(q) for kind in kinds for q in kind["ask"]}


def check(corpus: Corpus) -> list[str]:
    """What is wrong: a question that two items share, weights that do not fit, a promise not kept."""
    problems, seen = [], dict.fromkeys(follow_up_forms(corpus), "dialogue")
    for item in corpus.items:
        if len(item.answers) < 2 or len(item.weights) != len(item.answers):
            problems.append(f"{item.id}: {len(item.answers)} answers, {len(item.weights)} weights")
        for key in {plain(q) for q in item.ask + item.framed}:
            if seen.setdefault(key, item.id) != item.id:
                problems.append(f"{item.id}: {key!r} is also in {seen[key]}")
    for lang in LANGUAGES:
        for question in corpus.outside[lang]["ask"] + corpus.outside[lang]["held_ask"]:
            if plain(question) in seen:
                problems.append(f"outside: {question!r} is also in {seen[plain(question)]}")
    problems += [
        f"promised but not known: {p!r}" for p in corpus.promised + corpus.follow_ups if plain(p) not in seen
    ]
    return problems
