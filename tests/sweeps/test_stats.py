"""The figures of a setting, against values counted by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chatglm_magic.sweeps.stats import (
    compute_stats,
    distinct_n,
    mean_similarity,
    repeat_rate,
    similarity,
    split_units,
)
from chatglm_magic.values import Turn


def turn(answer: str = "", **known: Any) -> Turn:
    return Turn(prompt="p", answer=answer, **known)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat, the CAT!", ["the", "cat", "the", "cat"]),
        ("don't stop", ["don't", "stop"]),
        ("我爱北京。", ["我", "爱", "北", "京"]),
        ("我用GPT", ["我", "用", "gpt"]),
        ("我们都用GPT", ["我", "们", "都", "用", "gpt"]),
        ("ＡＢＣ１２", ["abc12"]),
        ("カタカナ", ["カ", "タ", "カ", "ナ"]),
        ("", []),
        ("?! …", []),
    ],
)
def test_units_are_words_and_single_chinese_characters(text: str, expected: list[str]) -> None:
    """Chosen for each character by its script; case, width and punctuation do not count."""
    assert split_units(text) == expected


def test_distinct_n_is_different_n_grams_over_all() -> None:
    """The cat, the dog: 3 of 4 words and 2 of 2 pairs differ; 红色, 红花: 3 of 4 characters."""
    assert distinct_n(["the cat", "the dog"], 1) == 3 / 4
    assert distinct_n(["the cat", "the dog"], 2) == 2 / 2
    assert distinct_n(["the cat", "the cat"], 2) == 1 / 2
    assert distinct_n(["红色", "红花"], 1) == 3 / 4
    assert distinct_n(["red"], 1) == 1.0 and distinct_n(["red"], 2) is None
    assert distinct_n(["", "!"], 1) is None and distinct_n([], 1) is None


def test_similarity_is_dice_over_words_and_pairs() -> None:
    """a b c has a, b, c, ab, bc; a b d has a, b, d, ab, bd: 3 in common of 5 and 5, so 6 / 10."""
    assert similarity("a b c", "a b d") == pytest.approx(6 / 10)
    assert similarity("红色好", "红色坏") == pytest.approx(6 / 10)
    assert similarity("a a", "a") == pytest.approx(2 * 1 / (3 + 1))
    assert similarity("x", "x") == 1.0 and similarity("x", "y") == 0.0
    assert similarity("", "") == 1.0 and similarity("", "x") == 0.0


def test_mean_similarity_is_over_all_pairs() -> None:
    """Of x, x, y one pair of three is alike; many equal texts are compared once and counted right."""
    assert mean_similarity(["x", "x", "y"]) == pytest.approx(1 / 3)
    assert mean_similarity(["a b c", "a b d", "a b c"]) == pytest.approx((0.6 + 1 + 0.6) / 3)
    assert mean_similarity(["x"] * 500 + ["y"]) == pytest.approx((500 * 499 / 2) / (501 * 500 / 2))
    assert mean_similarity(["x"]) is None and mean_similarity([]) is None


def test_the_exact_repeat_rate_goes_from_none_alike_to_all_alike() -> None:
    """(n − d) / (n − 1): 0 where all differ, 1 where none does, by the letter."""
    assert repeat_rate(["a", "a", "a", "a"]) == 1 and repeat_rate(["a", "b", "c", "d"]) == 0
    assert repeat_rate(["a", "a", "b"]) == 1 / 2 and repeat_rate(["a", "A"]) == 0
    assert repeat_rate(["", ""]) == 1 and repeat_rate(["a"]) is None


def test_english_answers_by_hand() -> None:
    """Three answers with 7, 7 and 10 characters: mean 8, spread √3; one in three ended by length."""
    known = {"usage": {"completion_tokens": 2}, "first_token": 0.5, "duration": 1.5}
    found = compute_stats(
        [
            turn("the cat", finish_reason="stop", **known),
            turn("the dog", finish_reason="stop", **known),
            turn("the ocelot", finish_reason="length", usage={"completion_tokens": 5}, first_token=1, duration=4),
        ]
    )
    assert (found.asked, found.answers, found.failed) == (3, 3, 0)
    assert found.length == 8 and found.spread == pytest.approx(math.sqrt(3))
    assert found.distinct_1 == 4 / 6 and found.distinct_2 == 1 and found.repeats == 0
    assert found.similarity == pytest.approx(1 / 3) and found.diversity == pytest.approx(2 / 3)
    assert found.tokens == 3 and found.first_token == pytest.approx(2 / 3)
    assert found.tokens_per_second == pytest.approx(9 / (1 + 1 + 3))
    assert found.finish_reasons == {"stop": 2, "length": 1}


def test_chinese_answers_by_hand() -> None:
    """红色。 and 蓝色。: 3 of 4 characters differ, 色 is shared: similarity 2 · 1 / (3 + 3)."""
    found = compute_stats([turn("红色。"), turn("蓝色。")])
    assert found.distinct_1 == 3 / 4 and found.distinct_2 == 1
    assert found.similarity == pytest.approx(1 / 3) and found.length == 3 and found.spread == 0


def test_empty_answers_are_answers() -> None:
    """Two of them repeat each other; nothing can be said of their words."""
    found = compute_stats([turn(""), turn("")])
    assert found.answers == 2 and found.repeats == 1 and found.similarity == 1 and found.diversity == 0
    assert found.length == 0 and found.spread == 0
    assert found.distinct_1 is found.distinct_2 is found.tokens is found.tokens_per_second is None


def test_one_sample_has_no_spread_and_nothing_at_all_has_no_figure() -> None:
    """What needs two is None, and so is everything for none."""
    one = compute_stats([turn("red blue")])
    assert (one.length, one.distinct_1, one.distinct_2) == (8, 1, 1)
    assert one.repeats is one.similarity is one.diversity is one.spread is None
    none = compute_stats([])
    assert none.asked == none.answers == 0 and none.finish_reasons == {}
    assert none.length is none.repeats is none.distinct_1 is none.first_token is None


def test_failures_and_parts_are_counted_and_not_measured() -> None:
    """A half answer would make a setting look short."""
    found = compute_stats(
        [
            turn("a b"),
            turn("a", status="incomplete", error="x"),
            turn(status="error"),
            turn("a", status="interrupted"),
        ]
    )
    assert (found.asked, found.answers, found.failed, found.length) == (4, 1, 2, 3)


def test_a_row_of_figures_is_flat() -> None:
    """The setting's values stand beside the figures, as a table wants it."""
    row = compute_stats([turn("a")], "p", {"temperature": 0.5}).row()
    assert row["prompt"] == "p" and row["temperature"] == 0.5 and row["length"] == 1 and "setting" not in row
