"""Rendering never raises, never loses text and never takes long: row S33 of the fault table."""

import re
import subprocess
import sys
from time import process_time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatglm_magic.render import cjk, highlight, links, markdown, math
from chatglm_magic.render.text import escape_controls, one_line

from .support.clock import is_linear
from .support.markup import Page
from .support.scale import choose_count

MIB = 2**20
HOSTILE_SIZE = choose_count(2**18, MIB)
BITS = [
    "\\(",
    "\\[",
    "$",
    "$$\n",
    "$a ",
    "[",
    "![",
    "*",
    "**a",
    "_a ",
    ">",
    "> ",
    "`",
    "``a",
    "<",
    "&#",
    "~",
    "|a",
]
BITS += [
    "- ",
    "- a\n",
    " - a\n",
    "1. ",
    "\\begin{align}\n",
    "\\href",
    "\\hr",
    "\u202e",
    "\x1b",
    "\ud800",
    "中",
    "\\[",
]
marks = st.lists(
    st.sampled_from([*BITS, "a", "\n", "\n\n", "](", ")", "$", "\\)", "```", "{", "}", "|---|\n", "http://a"])
)


def patterns() -> list[object]:
    """Every compiled expression of the room, by its module and name."""
    rooms = [cjk, highlight, links, markdown, math, sys.modules[escape_controls.__module__]]
    return [
        pytest.param(name, value, id=f"{room.__name__.rpartition('.')[2]}-{name}")
        for room in rooms
        for name, value in vars(room).items()
        if isinstance(value, re.Pattern)
    ]


SEARCHED = (
    "CJK",
    "_IN_WORDS",
    "_LAST_DOLLAR",
    "_ACTIVE_COMMAND",
    "_LABEL",
    "_UNSAFE_IN_TERMINAL",
    "_UNSAFE_IN_PAGE",
)
MORE = [
    "\\text{",
    "1 ",
    "1 a",
    "9,",
    "a.",
    "-",
    "/",
    "%",
    "\\label ",
    "http://",
    "mailto:a",
    " ",
    "\t",
    "\t ",
    "$\\",
]


@pytest.mark.row("S33")
@pytest.mark.parametrize(("name", "pattern"), patterns())
def test_expressions_are_linear(name: str, pattern: re.Pattern[str]) -> None:
    """No expression, used as the room uses it, takes more than linear time on long hostile text."""
    for bit in [*BITS, *MORE]:
        text = (bit * HOSTILE_SIZE)[:HOSTILE_SIZE]
        for head in ("",) if name in SEARCHED else ("", "1", "$", "https://a/", "mailto:a@b?"):
            hostile = head + text
            work = (lambda part: pattern.sub("", part)) if name in SEARCHED else pattern.match
            assert is_linear(work, hostile), (head, bit)


@pytest.mark.row("S33")
@pytest.mark.parametrize("bit", BITS[:: choose_count(3, 1)])
def test_a_mebibyte_is_shown_at_once(bit: str) -> None:
    """1 MiB of one mark goes through each function in time, all of it; every third mark each day."""
    text = (bit * MIB)[:MIB]
    begun = process_time()
    html = markdown.to_html(text)
    markdown.fenced_code(text)
    math.remove_active_commands(text)
    escape_controls(text)
    one_line(text)
    assert process_time() - begun < 20
    assert len(html) >= MIB


@pytest.mark.row("S33")
@pytest.mark.parametrize("bit", BITS[:: choose_count(3, 1)])
def test_the_longest_parsed_answer_takes_seconds_at_most(bit: str) -> None:
    """The worst text that is still parsed neither hangs nor swells; every third mark each day."""
    text = (bit * markdown._MAX_ANSWER_CHARS)[: markdown._MAX_ANSWER_CHARS]
    begun = process_time()
    html = markdown.to_html(text)
    assert process_time() - begun < 20
    assert len(html) < 4_000_000


@pytest.mark.row("S33")
def test_references_do_not_multiply() -> None:
    """A long address used ten thousand times does not become gigabytes of HTML."""
    text = f"[a]: http://x.example/{'z' * 1_800}\n\n" + "[a] ![a] \n\n" * 10_000
    assert len(markdown.to_html(text)) < 2_000_000


@pytest.mark.parametrize(
    "text", ["> " * 500 + "deep", "- " * 500 + "deep", "".join("  " * n + "- a\n" for n in range(300)) + "deep"]
)
def test_deep_nesting_loses_nothing(text: str) -> None:
    """What the parser would drop for its depth is shown as plain text instead."""
    assert "deep" in markdown.to_html(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=())) | marks.map("".join), st.booleans())
@example("\ud800 [a](\udfff) ![\ud800](http://\ud800/) `\x00` $\ud800$ \u2028<\ud83d:a>", False)
@example("[a]:\x00\n<a:\x85> [](<\n>) [x](http://[::1]/ 'a')", True)
def test_any_text_renders_safely(text: str, streaming: bool) -> None:
    """Any string at all is parsed without a stumble, to HTML the judge approves of, the same every time."""
    html = markdown._render(text, streaming) or markdown.plain_html(text)
    assert Page(html).wrong == []
    html.encode()
    assert markdown.to_html(text, streaming=streaming) == html
    assert Page(markdown.plain_html(text)).wrong == []
    markdown.fenced_code(text)


@given(st.text("abc 你好XYZ\n", max_size=300))
def test_words_are_never_lost(text: str) -> None:
    """Every letter of an answer without marks comes out, in order."""
    assert "".join(Page(markdown.to_html(text)).text.split()) == "".join(text.split())


def test_a_stumbling_parser_costs_the_looks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the parser fails, the answer is shown as plain text."""
    monkeypatch.setattr(markdown, "_render", lambda text, streaming: 1 / 0)
    assert "<pre" in markdown.to_html("a < b")
    assert "a &lt; b" in markdown.to_html("a < b")


def test_every_known_language_has_a_lexer() -> None:
    """No name in the table of languages is a slip."""
    assert all(highlight._load_lexer(name) for name in highlight.LANGUAGES)


def test_importing_the_room_imports_no_parser() -> None:
    """markdown-it, nh3 and Pygments are imported when an answer is rendered, not before."""
    code = (
        "import sys, chatglm_magic.render.markdown, chatglm_magic.render.text\n"
        "print([name for name in ('markdown_it', 'nh3', 'pygments') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
