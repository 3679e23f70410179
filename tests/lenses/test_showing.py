"""A lens as HTML, as text and as a table; what model and server say is shown, never obeyed."""

from __future__ import annotations

import math
import re
import sys
from html.parser import HTMLParser

import pytest
from IPython.lib.pretty import pretty

from chatglm_magic.errors import ChatGLMError
from chatglm_magic.lenses import Bounds, Lens
from chatglm_magic.lenses.labels import describe_openness, format_bits, format_percent, make_readable, token_label
from chatglm_magic.lenses.report import candidates_html, describe_draw
from chatglm_magic.values import Candidate, TokenLogprobs, Turn

from ..support.hostile import ANSWERS

HARMLESS = {"div", "span", "details", "summary", "table", "thead", "tbody", "tr", "th", "td"}


def odds(*tokens: tuple[str, float], taken: int = 0) -> TokenLogprobs:
    """One place with these tokens and probabilities."""
    candidates = tuple(Candidate(text, math.log(p)) for text, p in tokens)
    return TokenLogprobs(candidates[taken], candidates)


def lens_of(*places: TokenLogprobs, **sent: float) -> Lens:
    """A lens on these places, of a vocabulary that is not known."""
    return Lens.from_turn(Turn(prompt="x", answer="ab", sent=sent), places, 20)


TWO = lens_of(
    odds(("a", 0.75), ("b", 0.2), ("c", 0.04)), odds((" d", 0.98), ("\n", 0.01), taken=1), temperature=1.5
)


class Tags(HTMLParser):
    """The tags and attributes of a fragment, and its text."""

    def __init__(self, fragment: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("hostile", ANSWERS, ids=lambda hostile: hostile.id)
def test_hostile_tokens_are_text(hostile: object) -> None:
    """Whatever a token, or what could have stood in its place, says: no tag and no attribute comes of it."""
    text = getattr(hostile, "text", "")
    found = lens_of(odds((text, 0.6), (f"'\"><b onclick={text}", 0.3)))
    page = Tags(found._repr_html_())
    assert page.tags <= HARMLESS and page.open == []
    assert page.attributes <= {"style", "class", "title", "scope", "open"}
    shown = pretty(found)
    assert all(char.isprintable() or char == "\n" for char in shown + page.text)


def test_html_shows_figures_for_every_candidate() -> None:
    """Percentages of the model, after the temperature and after the cut; the taken token and the tail."""
    page = Tags(TWO._repr_html_())
    assert "temperature 1.5" in page.text and "3 tokens named" in page.text
    assert "75.0 %" in page.text and "not named" in page.text and "⏎ ←" in page.text
    assert page.text.count("token") >= 2 and "mathjax_ignore" in TWO._repr_html_()


def test_it_is_said_how_likely_the_token_was_that_came() -> None:
    """Its rank among all and its chance at these settings; of one that these settings cut, that."""
    named = [("a", 0.5), ("b", 0.3), ("c", 0.2)]
    first, second = lens_of(odds(*named)).at(0), lens_of(odds(*named, taken=1)).at(0)
    assert describe_draw(second, second.reshape(1, 0.75)) == (
        "The arrow marks the token of the answer: the 2nd most likely, with a chance of 37.5 %."
    )
    assert describe_draw(second, second.reshape(1, 0.4)).endswith("the 2nd most likely; these settings cut it.")
    assert describe_draw(first, first.reshape(0)).endswith(": the most likely, with a chance of 100 %.")
    rare = TokenLogprobs(
        Candidate("d", math.log(0.01)), tuple(Candidate(text, math.log(p * 0.9)) for text, p in named)
    )
    other = lens_of(rare).at(0)
    assert ": not among the 3 most likely, with a chance of 1.0 %." in describe_draw(other, other.reshape())
    eleven = lens_of(odds(*((chr(97 + n), 0.09) for n in range(11)), taken=10)).at(0)
    assert "the 11th most likely" in describe_draw(eleven, eleven.reshape())


def test_html_of_a_long_answer_stays_small() -> None:
    """All its tokens, candidates of the first 48, a word about the rest."""
    found = lens_of(*[odds(("word", 0.5), ("other", 0.3))] * 128)
    html = found._repr_html_()
    assert html.count("<details") == 48 and "80 more positions" in html and len(html) < 400_000
    assert html.count("title=") == 128 and "104 more positions" in pretty(found)


def test_an_empty_lens_can_be_shown() -> None:
    """No position, no error."""
    assert "0 positions" in Tags(lens_of()._repr_html_()).text and "0 positions" in pretty(lens_of())


def test_text_is_a_line_for_each_position() -> None:
    """They count from 1, and bits are explained; among other values a lens is short."""
    lines = pretty(TWO).splitlines()
    assert len(lines) == 4 and "as open as a choice among ~5" in lines[1]
    assert lines[2].split()[:2] == ["1", "a"] and "not named" in lines[2]
    assert pretty([TWO]) == "[<Lens of 2 positions, 3 tokens named at each>]"


def test_a_table_has_a_row_for_each_candidate() -> None:
    """Its bounds are those of the distributions, at the settings that are given or that were asked for."""
    table = TWO.to_dataframe()
    assert list(table["position"]) == [0, 0, 0, 1, 1] and list(table["taken"]) == [True, False, False, False, True]
    assert table["logprob"][0] == pytest.approx(math.log(0.75))
    assert table["before_low"][0] == pytest.approx(0.75, abs=1e-4)
    shape = TWO.at(0).reshape(1.5)
    assert (table["share_low"][0], table["share_high"][0]) == shape.share(0)
    cut = TWO.to_dataframe(1.0, 0.5)
    assert list(cut["survives"]) == [True, False, False, True, False]
    assert cut["probability_high"][0] == 1.0 and cut["probability_high"][1] == 0.0


def test_a_table_with_half_a_character_can_be_written() -> None:
    """A token that is a lone surrogate, which no file can hold, becomes visible."""
    table = lens_of(odds(("\udce4", 0.9), ("温", 0.1))).to_dataframe()
    assert list(table["token"]) == [r"\udce4", "温"] and r"\udce4" in table.to_csv().encode().decode()


def test_a_table_needs_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to type."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ChatGLMError, match="pip install pandas"):
        TWO.to_dataframe()


def test_what_was_asked_for_is_the_default() -> None:
    """Re-shaping without a word takes temperature, top_p and top_k of the request, else does nothing."""
    asked = lens_of(odds(("a", 0.5), ("b", 0.3), ("c", 0.2)), temperature=2.0, top_p=0.6, top_k=2)
    assert asked.reshape() == asked.reshape(2.0, 0.6, 2) and asked.reshape() != asked.reshape(1.0)
    assert asked.reshape()[0].top_k == 2 and asked.reshape(top_k=0)[0].top_k == 0
    plain = lens_of(odds(("a", 0.5), ("b", 0.3)))
    assert plain.reshape() == plain.reshape(1.0, 1.0, 0) and (plain.temperature, plain.top_p) == (None, None)


def test_positions_are_taken_as_from_lists() -> None:
    """From the end, too; one that is not there is an error of ours, which says what there is."""
    assert TWO.at(-1) is TWO.at(1) is TWO.positions[1] and len(TWO) == 2
    for index in (2, -3):
        with pytest.raises(ChatGLMError, match=r"2 positions: at\(0\), the first, to at\(1\)"):
            TWO.at(index)


def test_bars_add_up() -> None:
    """The most likely, the taken one, the others together and the unnamed ones make up the whole."""
    many = odds(*[(f"t{n}", 0.04) for n in range(24)], taken=20)
    found = lens_of(many).at(0)
    bars = found.bars(limit=10)
    assert [bar.kind for bar in bars] == ["token"] * 11 + ["others", "tail"]
    assert bars[10].taken and bars[10].label == "t20" and bars[11].label == "13 others"
    assert sum(bar.before.low for bar in bars) <= 1.0 + 1e-9 <= sum(bar.before.high for bar in bars) + 1e-6
    cut = found.bars(found.reshape(1.0, 0.3), 10)
    assert [bar.survives for bar in cut[:10]] == [True] * 8 + [False] * 2
    assert cut[11].survives is False and cut[12].probability == (0, 0)
    assert sum(bar.probability.low for bar in cut) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("candidate", "shown"),
    [
        (Candidate(" the", -1.0), "␣the"),
        (Candidate("  ", -1.0), "␣␣"),
        (Candidate("a b ", -1.0), "a b␣"),
        (Candidate("\n\n\t", -1.0), "⏎⏎⇥"),
        (Candidate("\x1b[31m", -1.0), "\\x1b[31m"),
        (Candidate("\u202eabc", -1.0), "\\u202eabc"),
        (Candidate("\ud800", -1.0), "\\ud800"),
        (Candidate("入", -1.0), "入"),
        (Candidate("\ufffd是", -1.0, 5, "a3e698af"), "\\xa3是"),
        (Candidate("", -1.0, 5, "e5ad"), "\\xe5\\xad"),
        (Candidate("", -1.0, 2045), "⟨control 2045⟩"),
        (Candidate("", -1.0), "⟨control⟩"),
        (Candidate("x" * 99, -1.0), "x" * 39 + "…"),
    ],
)
def test_tokens_are_readable(candidate: Candidate, shown: str) -> None:
    """Blanks and line ends are marks, half characters bytes, and nothing turns or moves what stands around it."""
    assert token_label(candidate) == shown


def test_figures_are_short() -> None:
    """A range only where both bounds differ in what is shown."""
    assert [
        format_percent(Bounds(*pair)) for pair in ((0.5, 0.5), (0.1, 0.25), (0, 0), (1, 1), (0, 0.0001), (0, 0.3))
    ] == [
        *("50.0 %", "10.0–25.0 %", "0 %", "100 %", "< 0.1 %", "0–30.0 %"),
    ]
    assert format_percent(Bounds(0.9999, 0.9999)) == "> 99.9 %"
    assert format_bits(Bounds(1.5, 1.5)) == "1.50 bits" and format_bits(Bounds(0, 2)) == "0.00–2.00 bits"
    assert make_readable("") == ""


@pytest.mark.parametrize(
    ("entropy", "words"),
    [
        (Bounds(0, 0), "as good as certain"),
        (Bounds(0.4, 0.4), "almost certain"),
        (Bounds(1, 1), "open like a choice among ~2"),
        (Bounds(2.32, 2.32), "open like a choice among ~5"),
        (Bounds(2, 3), "open like a choice among ~4–8"),
        (Bounds(0, 2), "open like a choice among ~1–4"),
    ],
)
def test_bits_are_explained(entropy: Bounds, words: str) -> None:
    """As so many equally likely tokens as 2 to their power."""
    assert describe_openness(entropy) == words


def test_a_saved_lens_shades_each_token_and_says_the_top_three() -> None:
    """In a notebook without a kernel the pointer shows them, positions count from 1, and the answer is prose."""
    page = TWO._repr_html_()
    assert "Position 1: " in page and "Position 0" not in page
    assert re.search(r'title="Position 1: [^"]*a [^"]*, b [^"]*, c [^"]*" style="background:rgba\(', page)
    text = re.sub(r"<[^>]+>", "", page.split("margin:.5em 0")[1].split("</div>")[0].partition(">")[2])
    assert text == "a⏎\n"


def test_the_line_of_the_cut_says_what_is_kept() -> None:
    """How many tokens, or between how many it must be; without a cut there is no line."""
    position = lens_of(odds(("a", 0.5), ("b", 0.3), ("c", 0.1))).at(0)
    table = candidates_html(position, position.reshape(1.0, 0.7))
    assert "top_p 0.7 keeps 2 tokens" in table
    assert "top_k 1 keeps 1 token<" in candidates_html(position, position.reshape(1.0, 1.0, 1))
    assert "top_p 0.95 keeps at least 3 tokens" in candidates_html(position, position.reshape(1.0, 0.95))
    assert "keeps" not in candidates_html(position, position.reshape())
