"""Differences between texts: the right words are marked, the page stays safe, and no text makes it slow."""

from __future__ import annotations

import re
from html import unescape

import pytest

from chatglm_magic.render.diff import MAX_COMPARED_UNITS, highlight_differences

from .support.clock import is_linear, measure
from .support.hostile import ANSWERS
from .support.markup import Page

OURS = re.compile(r'</?(?:div|mark)(?: class="[a-z0-9_ ]+")?(?: style="[^"<>]*")?>')
"""The tags that stand round a text and its marks; what a text holds of them is escaped."""


def seen(*texts: str) -> list[str]:
    """Return what is shown, with square brackets round what is marked."""
    found = []
    for html in highlight_differences(texts):
        inner = re.sub(r"^<div [^>]*>|</div>$", "", html)
        found.append(unescape(re.sub(r"<mark [^>]*>", "[", inner).replace("</mark>", "]")))
    return found


@pytest.mark.parametrize(
    ("first", "other", "shown"),
    [
        (
            "the cat sat on the mat",
            "the dog sat on a mat",
            ["the [cat] sat on [the] mat", "the [dog] sat on [a] mat"],
        ),
        ("one two", "one big old two", ["one two", "one [big old] two"]),
        ("It isn't late", "It is late", ["It [isn't] late", "It [is] late"]),
        ("pi is 3.14!", "pi is 3.15?", ["pi is [3.14!]", "pi is [3.15?]"]),
        ("résumé naïve", "résumé naive", ["résumé [naïve]", "résumé [naive]"]),
        ("Cafe\u0301 x", "Cafe x", ["[Cafe\u0301] x", "[Cafe] x"]),
    ],
)
def test_words_are_marked_whole(first: str, other: str, shown: list[str]) -> None:
    """Where words are written apart, the words that differ are marked, each as a whole."""
    assert seen(first, other) == shown


@pytest.mark.parametrize(
    ("first", "other", "shown"),
    [
        ("今天天气很好。", "今天天气不好。", ["今天天气[很]好。", "今天天气[不]好。"]),
        ("我喜欢红色的苹果。", "我讨厌绿色的苹果。", ["我[喜欢红]色的苹果。", "我[讨厌绿]色的苹果。"]),
        ("猫が好き", "犬が好き", ["[猫]が好き", "[犬]が好き"]),
        ("𠮷野家", "𠮷田家", ["𠮷[野]家", "𠮷[田]家"]),
        ("（一）", "（二）", ["（[一]）", "（[二]）"]),
    ],
)
def test_chinese_is_marked_by_character(first: str, other: str, shown: list[str]) -> None:
    """Where words are not written apart, the characters that differ are marked."""
    assert seen(first, other) == shown


def test_mixed_text_is_marked_by_words_and_characters() -> None:
    """English words inside Chinese are marked whole, the characters beside them one by one."""
    assert seen("GLM-4 是 Zhipu 的大模型", "GLM-3 是 Tsinghua 的小模型") == [
        "GLM-[4] 是 [Zhipu] 的[大]模型",
        "GLM-[3] 是 [Tsinghua] 的[小]模型",
    ]


@pytest.mark.parametrize("text", ["", " ", "\n\n", "same words", "同样的话", "a  b\n\tc\n"])
def test_equal_texts_have_no_mark(text: str) -> None:
    """Texts that are equal, or empty alike, are shown as they are."""
    assert seen(text, text, text) == [text] * 3


@pytest.mark.parametrize(
    ("first", "other", "shown"),
    [
        ("", "new text", ["", "[new text]"]),
        ("old 文字", "", ["[old 文字]", ""]),
        ("a  b", "a b", ["a[  ]b", "a[ ]b"]),
        ("if x:\n  y", "if x:\n    y", ["if x:[\n  ]y", "if x:[\n    ]y"]),
        ("end ", "end", ["end[ ]", "end"]),
        (" start", "start", ["[ ]start", "start"]),
        ("", " ", ["", "[ ]"]),
    ],
)
def test_empty_texts_and_blanks_differ_visibly(first: str, other: str, shown: list[str]) -> None:
    """Nothing against something is all marked; blanks are marked where they alone differ."""
    assert seen(first, other) == shown


def test_every_text_is_compared_with_the_first() -> None:
    """Of three texts the later ones are marked against the first, and it where any other lacks its words."""
    assert seen("red green blue", "red green black", "pink green blue") == [
        "[red] green [blue]",
        "red green [black]",
        "[pink] green blue",
    ]
    assert seen() == [] and seen("alone") == ["alone"]


def test_a_coincidence_is_no_agreement() -> None:
    """One word that two quite different sentences share is marked with the rest; among few others it is not."""
    assert seen("alpha beta gamma the delta epsilon zeta", "one two three the four five six") == [
        "[alpha beta gamma the delta epsilon zeta]",
        "[one two three the four five six]",
    ]
    assert seen("alpha the delta", "one the four") == ["[alpha] the [delta]", "[one] the [four]"]


@pytest.mark.row("S5")
def test_marked_texts_are_escaped() -> None:
    """Control: the payload is markup as it stands. Marked, it leaves no tag but our own; its letters are shown."""
    raw = "<img src=x onerror=alert(1)>"
    assert Page(raw).wrong
    for text in (raw, *(answer.text for answer in ANSWERS)):
        for html in highlight_differences(["a calm text", text, text + " <b>&amp;"]):
            page = Page(re.sub(OURS, "", html))
            assert page.wrong == [] and page.links == [] and "<" not in re.sub(OURS, "", html)
    assert "&lt;img src=x onerror=alert(1)&gt;" in highlight_differences([raw, raw])[0]
    assert seen("a & b < c", "a & b > c") == ["a & b [<] c", "a & b [>] c"]


def test_no_text_is_lost_or_changed() -> None:
    """What is shown is the text itself, apart from the marks, whatever it is compared with."""
    texts = [
        "",
        " x",
        "a\n\nb \n",
        "中文，mixed with English.",
        "x" * 50,
        "'' ’ ‘’ it's",
        "\u0301alone",
        "👩\u200d🔬 ok",
    ]
    for first in texts:
        for other in texts:
            shown = [text.replace("[", "").replace("]", "") for text in seen(first, other)]
            assert shown == [first, other]


def test_long_texts_are_compared_by_sentences() -> None:
    """Beyond the limit a sentence that differs is marked as a whole, and one that does not is not."""
    same, calm = " ".join(f"w{n}" for n in range(MAX_COMPARED_UNITS)), "This one stays."
    shown = seen(f"Start here. {same} a. {calm} Odd end.", f"Begin here. x {same} b. {calm} Even end.")
    for text, begin, end in zip(shown, ("Start", "Begin"), ("Odd", "Even"), strict=True):
        assert text.startswith(f"[{begin} here.") and text.endswith(f"[ {end} end.]")
        assert f"] {calm}[" in text


@pytest.mark.row("S33")
@pytest.mark.parametrize(
    "pattern",
    [
        "a b ",
        "a\n",
        " ",
        "'a",
        "好的。",
        "的一是",
        ".!?",
        "e\u0301",
        "abc",
        "x" * 50 + " ",
        "1.2",
        "1.",
        "\n \n",
        "<&>",
    ],
    ids=ascii,
)
def test_the_time_grows_as_the_texts_do(pattern: str) -> None:
    """Long texts that differ at both ends and in between take a time that grows as they do."""
    text = pattern * (2**18 // len(pattern))
    assert is_linear(lambda part: highlight_differences(["x " + part, "y " + part[1:] + " z" + part[:7]]), text)


def test_the_hardest_texts_take_bounded_time() -> None:
    """Two texts just below the limit, with all words alike or all in disorder, take well under a second."""
    disorder = [f"w{n * 7919 % 97}" for n in range(MAX_COMPARED_UNITS - 2)]
    for first, other in (
        (["a"] * (MAX_COMPARED_UNITS - 2), ["a", "b"] * (MAX_COMPARED_UNITS // 2 - 1)),
        (disorder, disorder[::-1]),
    ):
        texts = " ".join(first), "x " + " ".join(other) + " y"
        assert any(measure(lambda _: highlight_differences(texts), "") < 1.5 for _ in range(3))  # noqa: B023
