"""Nothing active comes out of a hostile answer: rows S1, S2, S3 and S6 of the fault table, without a browser."""

import re

import pytest
from markdown_it import MarkdownIt

from chatglm_magic.render import markdown, math, sanitize
from chatglm_magic.render.links import is_clickable

from .support.hostile import ANSWERS, Hostile, arm, combine
from .support.markup import COMMANDS, Page

BEACON = "http://127.0.0.1:9"
ALL = arm(ANSWERS + combine(), BEACON)
FETCHING = re.compile(
    r"<[^>]*\b(src|srcset|poster|background|data|action)\s*=|<(link|meta|base|style)\b|<[^>]*url\(", re.I
)


def of_kind(*kinds: str) -> list[Hostile]:
    return [answer for answer in ALL if answer.kind in kinds]


def named(answers: list[Hostile]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("answer", answers, ids=[answer.id for answer in answers])


def rendered(text: str, streaming: bool = False) -> Page:
    """The page of `text`, made without the safety net that `to_html` has for stumbling parsers."""
    html = markdown._render(text, streaming)
    assert html is not None
    return Page(html)


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    """At least 60 answers are hand-written, and 200 in all."""
    assert len(ANSWERS) >= 60
    assert len({answer.id for answer in ALL}) == len(ALL) >= 200


def test_control_the_judge_condemns_what_an_unguarded_parser_makes() -> None:
    """The same judge finds fault with most of the corpus when raw HTML is let through."""
    unguarded = MarkdownIt("commonmark", {"html": True}).enable("table")
    unguarded.validateLink = lambda url: True  # type: ignore[method-assign]
    guilty = [answer.id for answer in ALL if Page(unguarded.render(answer.text)).wrong]
    assert len(guilty) > 200


@pytest.mark.row("S1")
@named(ALL)
@pytest.mark.parametrize("streaming", [False, True], ids=["final", "live"])
def test_no_active_markup(answer: Hostile, streaming: bool) -> None:
    """Only tags, attributes and styles of a short list come out, every tag is closed, no control is hidden."""
    assert rendered(answer.text, streaming).wrong == []
    assert Page(markdown.plain_html(answer.text)).wrong == []


@pytest.mark.row("S1")
@named(of_kind("script", "handler", "mutation"))
def test_the_allow_list_is_a_wall_of_its_own(answer: Hostile) -> None:
    """Even raw HTML, given to the sanitizer as if the parser had failed, comes out inert."""
    fragment = sanitize.sanitize_html(answer.text.replace("\x00", ""))
    assert Page(fragment).wrong == []


@pytest.mark.row("S2")
@named(of_kind("tracker", "handler", "tex"))
def test_nothing_is_fetched(answer: Hostile) -> None:
    """No attribute or style that a browser fetches by itself is in the page."""
    assert not FETCHING.search(markdown.to_html(answer.text))


@pytest.mark.row("S2")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![Loss](https://a.example/x.png?q=1)", "[image: a.example — Loss]"),
        ("![](https://a.example/x.png)", "[image: a.example]"),
        ("![a chart][1]\n\n[1]: https://a.example/x.png", "[image: a.example — a chart]"),
        ("![local](plots/x.png)", "[image: local]"),
        ("![dot](data:image/png;base64,AAAA)", "[image: dot]"),
    ],
)
def test_images_are_named(text: str, shown: str) -> None:
    """An image becomes the words that say where it would have come from and what it shows."""
    assert rendered(text).text.strip() == shown


@pytest.mark.row("S3")
@named(of_kind("link"))
def test_links_lead_where_they_say(answer: Hostile) -> None:
    """What can be clicked is a plain address of the three schemes, and its host stands in the text."""
    page = rendered(answer.text)
    for link in page.links:
        assert is_clickable(link)
        assert re.split(r"[/?]", link.partition("//")[2])[0] in page.text


@pytest.mark.row("S3")
def test_a_link_shows_its_target_and_opens_apart() -> None:
    """The target follows a link whose text is another one; the new page gets no handle on this one."""
    html = markdown.to_html("[docs](https://numpy.org/doc/) and <https://numpy.org/doc/>")
    assert "docs</a> <small>(numpy.org/doc)</small>" in html
    assert html.count("<small>") == 1
    assert html.count('rel="noopener noreferrer nofollow"') == html.count('target="_blank"') == 2


@pytest.mark.row("S3")
def test_long_targets_keep_their_host_and_can_be_seen_whole() -> None:
    """A long address is cut behind its host, and stands whole in the title."""
    host = "a." * 60 + "example"
    html = markdown.to_html(f"[x](https://{host}/{'path/' * 9})")
    assert f"({host}/" in html
    assert "…)</small>" in html
    assert f'title="https://{host}/{"path/" * 9}"' in html


@pytest.mark.row("S6")
@named(of_kind("tex"))
def test_no_active_command_is_typeset(answer: Hostile) -> None:
    """No formula holds a command that links, loads, styles or defines."""
    formulas = rendered(answer.text).formulas
    assert not any("url(" in formula for formula in formulas)
    assert not [found for formula in formulas for found in COMMANDS.finditer(formula)]


@pytest.mark.row("S6")
def test_taking_out_reaches_a_fixpoint() -> None:
    """What is left after taking commands out holds none, and harmless commands of like names stay."""
    nested = "\\hr" * 50 + "\\href" + "ef" * 50
    assert math.remove_active_commands(math.remove_active_commands(nested)) == math.remove_active_commands(nested)
    assert math.remove_active_commands(r"\left( \defeq \urlx \datum \frac12 \label{eq:1}\right)").split() == [
        r"\left(", r"\defeq", r"\urlx", r"\datum", r"\frac12", r"\right)",
    ]  # fmt: skip


@pytest.mark.row("S6")
def test_only_formulas_are_open_to_the_typesetter() -> None:
    """The whole answer is closed to MathJax 2 and 3, each formula is open to both."""
    html = markdown.to_html("$x$")
    assert 'class="chatglm-answer mathjax_ignore tex2jax_ignore"' in html
    assert '<span class="mathjax_process tex2jax_process">$x$</span>' in html


@pytest.mark.row("S4")
@named(of_kind("source"))
def test_an_answer_that_is_a_path_or_an_address_stays_text(answer: Hostile) -> None:
    """Nothing is opened: the page holds the very words of the answer."""
    assert rendered(answer.text).text.strip().startswith(answer.text[:4])
    assert markdown.fenced_code(answer.text) == answer.text
