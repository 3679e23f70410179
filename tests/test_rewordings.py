"""Questions kept for measuring: the training never sees them, nor anything near; how the shipped model does."""

from __future__ import annotations

import random
from functools import cache

import pytest

from training import corpus
from training.dialogue import conversation, copying
from training.leaks import Index, bare, distance, index_of, leaks, measured, wordings

from .support.scale import choose_count


@cache
def texts() -> corpus.Corpus:
    """The corpus; it takes a second to read, which no other file's tests should wait for."""
    return corpus.load()


@cache
def trained() -> Index:
    """Every wording that the training may produce, but for slips and nonsense."""
    return index_of(wordings(texts()))


def choose_questions() -> list[str]:
    """Return the questions that are kept for measuring, or some of them each day, drawn with a fixed seed."""
    questions = measured(texts())
    return random.Random(1).sample(questions, choose_count(60, len(questions)))


def test_there_are_enough_of_them() -> None:
    """150 rewordings or more, half of them Chinese, each under an item that is there, and 50 outside questions."""
    number = {lang: sum(map(len, texts().rewordings[lang].values())) for lang in corpus.LANGUAGES}
    assert number["en"] >= 75 and number["zh"] >= 75 and sum(number.values()) >= 150
    assert {f"{lang}:{name}" for lang in corpus.LANGUAGES for name in texts().rewordings[lang]} <= {
        item.id for item in texts().items
    }
    assert sum(map(len, texts().unknown.values())) >= 50
    assert len(set(map(bare, measured(texts())))) == len(measured(texts()))


@pytest.mark.parametrize(
    ("a", "b", "edits"), [("", "", 0), ("abc", "", 3), ("kitten", "sitting", 3), ("温度", "高温", 2)]
)
def test_distance(a: str, b: str, edits: int) -> None:
    """The distance is Levenshtein's, both ways."""
    assert distance(a, b) == distance(b, a) == edits


@pytest.mark.parametrize(
    ("question", "wording"),
    [
        ("Hey, what IS temperature?", "What is temperature?"),  # case, punctuation, a filler
        ("What is temprature", "What is temperature?"),  # one letter lost
        ("Explain temperature to us", "What is temperature?"),  # near to a rewording that noise makes
        ("what is a tkenzier", "What is a tokenizer?"),  # two edits away from a slip that noise makes
        ("请问温度到底是什么呀", "温度是什么？"),
        ("请解释温渡", "温度是什么？"),
    ],
)
def test_a_near_wording_is_found(question: str, wording: str) -> None:
    """A question that differs by case, fillers, a slip or two edits from what may be trained is called a leak."""
    assert wording in [entry.text for entry in trained()[len(bare(wording))]]
    assert leaks([question], trained())


def test_nothing_measured_is_trained() -> None:
    """No question (60 of them each day) is within two edits of a wording that the training may produce."""
    assert leaks(choose_questions(), trained()) == []


def test_nothing_measured_is_drawn() -> None:
    """Nor is one within two edits of 2 000 drawn conversations, or 20 000 in ``.ci/soak``, slips included."""
    rng = random.Random(5)
    many = choose_count(2_000, 18_000)
    draws = (draw(texts(), rng)[1] for draw in [conversation] * many + [copying] * (many // 9))
    drawn = {turn.question for turns in draws for turn in turns}
    assert len(drawn) > many // 4
    assert leaks(measured(texts()), index_of(drawn)) == []
