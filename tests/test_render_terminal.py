"""Text for a terminal obeys nobody: row S8 of the fault table."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatglm_magic.render.text import escape_controls, escape_page_controls, one_line

from .support.hostile import ANSWERS, Hostile

OBEYED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
any_text = st.text(st.characters(exclude_categories=())) | st.text(
    st.sampled_from("\x1b\x9b\r\n\t a[]0;m\u202e\u200b\u200d\ud800👨👩中\U000e0041")
)


@pytest.mark.row("S8")
@pytest.mark.parametrize("answer", ANSWERS, ids=[answer.id for answer in ANSWERS])
def test_no_control_reaches_the_terminal(answer: Hostile) -> None:
    """Every control, bidirectional and zero-width character of the corpus is shown, not sent."""
    assert not OBEYED.search(escape_controls(answer.text))


@pytest.mark.row("S8")
def test_control_the_corpus_holds_what_is_looked_for() -> None:
    """The same search finds controls in the answers as they come."""
    assert sum(bool(OBEYED.search(answer.text)) for answer in ANSWERS) > 15


@pytest.mark.row("S8")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("a\rb\x08\x7f\x00", "a\\rb\\x08\\x7f\\x00"),
        ("\u202egpj\u2066x", "\\u202egpj\\u2066x"),
        ("\ufeffa\u200bb\U000e0041", "\\ufeffa\\u200bb\\U000e0041"),
        ("\ud83d", "\\ud83d"),
    ],
)
def test_controls_are_written_as_escapes(text: str, shown: str) -> None:
    """A control shows as Python would write it."""
    assert escape_controls(text) == shown


@pytest.mark.row("S8")
@pytest.mark.parametrize(
    "text", ["a\n\tb", "你好，世界！", "👨‍👩‍👧‍👦 ❤️ 🇨🇳", "می‌خواهم", "שלום", "naïve café", "\\x1b"]
)
def test_text_of_people_is_unharmed(text: str) -> None:
    """Line ends, tabs, Chinese, joined emoji, Persian joins and right-to-left letters pass as they are."""
    assert escape_controls(text) == text


@pytest.mark.row("S8")
@given(any_text, st.integers(0, 100))
def test_a_stream_may_be_cut_anywhere(text: str, at: int) -> None:
    """Two chunks made visible one by one are the whole made visible."""
    assert escape_controls(text[:at]) + escape_controls(text[at:]) == escape_controls(text)


@pytest.mark.row("S8")
@given(any_text)
def test_visible_is_safe_and_idempotent(text: str) -> None:
    """Whatever comes in, nothing is obeyed, a second pass changes nothing, and UTF-8 can hold it."""
    shown = escape_controls(text)
    assert not OBEYED.search(shown)
    assert escape_controls(shown) == shown
    assert escape_controls(escape_page_controls(text)) == shown
    shown.encode()


@given(any_text, st.integers(1, 60))
def test_one_line_is_one_short_line(text: str, limit: int) -> None:
    """A message has one line, within its limit, with nothing to obey."""
    line = one_line(text, limit)
    assert len(line) <= limit
    assert not re.search(r"[\n\t]", line)
    assert not OBEYED.search(line)


def test_one_line_says_that_it_was_cut() -> None:
    """A message in full has no ellipsis; a cut one ends with it."""
    assert one_line("  Model\r\n\tnot   found\n") == "Model not found"
    assert one_line("x" * 600) == "x" * 499 + "…"
    assert one_line("a b" * 10_000_000, 10) == "a ba ba b…"
