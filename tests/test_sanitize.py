"""The allow-list by itself, given HTML that no parser of ours would make: the second wall must hold alone."""

from __future__ import annotations

import pytest

from chatglm_magic.render.math import remove_active_commands
from chatglm_magic.render.sanitize import sanitize_html

STYLES = [
    *("display:none", "position:fixed", "top:0", "left:0", "inset:0", "z-index:9999", "width:100vw", "height:9em"),
    *("opacity:0", "visibility:hidden", "color:white", "font-size:0", "transform:scale(9)", "overflow:hidden"),
    *("background:url(//x.invalid)", "background-image:url(//x.invalid)", "list-style:url(//x.invalid)"),
    *("list-style-image:url(//x.invalid)", "content:url(//x.invalid)", "cursor:url(//x.invalid),auto"),
    *("border:9em solid", "float:left", "clip-path:inset(9em)", "animation:x 1s", "pointer-events:none"),
    *("behavior:url(x)", "-moz-binding:url(x)", "--x:1", "text-indent:-99em", "filter:invert(1)"),
]
SCHEMES = [
    *("data:text/html,<script>x</script>", "data:image/png;base64,AAAA", "javascript:x()", "JaVaScRiPt:x()"),
    *("java\tscript:x()", "vbscript:x", "file:///etc/passwd", "ftp://x.invalid/", "blob:http://x.invalid/1"),
    *("about:blank", "ws://x.invalid/", "tel:1", "chrome://settings", "jar:http://x.invalid!/"),
]
TAGS = [
    *("script", "style", "iframe", "frame", "object", "embed", "applet", "form", "input", "button", "textarea"),
    *("select", "link", "meta", "base", "svg", "math", "img", "video", "audio", "source", "picture", "template"),
    *("noscript", "dialog", "details", "marquee", "title", "html", "body", "h1", "mark", "custom-element", "slot"),
]
EVENTS = ("onclick", "onerror", "onload", "onmouseover", "onfocus", "ontoggle", "onpointerdown")
OTHER_ATTRIBUTES = ("id", "name", "class", "data-x", "srcdoc", "src", "formaction", "contenteditable", "tabindex")
KEPT_TAGS = (
    *("a", "blockquote", "br", "code", "div", "em", "hr", "li", "ol", "p", "pre", "s", "small", "span", "strong"),
    *("table", "tbody", "td", "th", "thead", "tr", "ul"),
)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("tag", ["div", "p", "pre", "li"])
def test_no_style_hides_covers_or_fetches(tag: str, style: str) -> None:
    """Of a style only the listed properties stay, alone and beside one that is allowed."""
    for given in (style, f"text-align:center;{style}", f"{style.upper()};text-align:center"):
        fragment = sanitize_html(f'<{tag} style="{given}">x</{tag}>')
        name = style.partition(":")[0]
        assert name not in fragment.lower() and "url" not in fragment and "invalid" not in fragment
        assert "x" in fragment


@pytest.mark.parametrize(
    "style", ["background-color:#eee", "list-style-type:none", "margin:0", "padding:1em", "text-align:right"]
)
@pytest.mark.parametrize("tag", ["div", "li", "p", "pre"])
def test_a_style_that_only_places_text_stays(tag: str, style: str) -> None:
    """The control: what our own parser writes comes through."""
    assert style.partition(":")[2] in sanitize_html(f'<{tag} style="{style}">x</{tag}>')


@pytest.mark.parametrize("tag", ["a", "span", "blockquote", "strong", "table", "tr", "ul", "ol", "code", "em"])
def test_a_tag_that_needs_no_style_has_none(tag: str) -> None:
    """Not even an allowed property stands there."""
    assert "style" not in sanitize_html(f'<{tag} style="margin:0">x</{tag}>')


@pytest.mark.parametrize("target", SCHEMES)
def test_no_link_leads_anywhere_but_to_the_web_and_to_mail(target: str) -> None:
    """The words of the link stay, its target does not."""
    fragment = sanitize_html(f'<a href="{target}" title="t">word</a>')
    assert "href" not in fragment and "word" in fragment


@pytest.mark.parametrize("target", ["http://x.invalid/", "https://x.invalid/?a=1", "mailto:me@x.invalid"])
def test_a_link_to_the_web_opens_apart_and_tells_nothing_of_this_page(target: str) -> None:
    """The control: it stays, and whatever it said of itself, it opens another window without a way back."""
    fragment = sanitize_html(
        f'<a href="{target}" target="_top" rel="opener" ping="http://y.invalid" download>word</a>'
    )
    assert f'href="{target}"' in fragment and 'target="_blank"' in fragment
    assert 'rel="noopener noreferrer nofollow"' in fragment
    assert "_top" not in fragment and "ping" not in fragment and "download" not in fragment


@pytest.mark.parametrize("tag", TAGS)
def test_no_other_tag_comes_through(tag: str) -> None:
    """Opened, closed, in capitals, nested in one that is allowed."""
    for given in (f"<{tag} src=x>word</{tag}>", f"<{tag.upper()}>word", f"<p><{tag}>word</{tag}></p>"):
        assert f"<{tag}" not in sanitize_html(given).lower()


@pytest.mark.parametrize("tag", ["script", "style"])
def test_what_a_script_or_a_style_says_is_no_text_either(tag: str) -> None:
    """Its content goes with it."""
    assert sanitize_html(f"a<{tag}>body{{x}}</{tag}>b") == "ab"


@pytest.mark.parametrize("tag", KEPT_TAGS)
def test_no_tag_reacts_to_anything_or_has_a_name(tag: str) -> None:
    """No event, no id, no other class, nothing that loads or takes input; the tag itself stays."""
    attributes = " ".join(f'{name}="x1"' for name in (*EVENTS, *OTHER_ATTRIBUTES))
    inside = {"tr": "<table><tbody>{}</tbody></table>", "td": "<table><tbody><tr>{}</tr></tbody></table>"}
    around = inside.get(tag, inside["td"] if tag == "th" else "<table>{}</table>" if tag[0] == "t" else "{}")
    fragment = sanitize_html(around.format(f"<{tag} {attributes}>"))
    assert f"<{tag}" in fragment and "x1" not in fragment


def test_classes_are_those_of_highlighting_and_of_mathematics_alone() -> None:
    """A class of the page, such as one that hides or covers, would be obeyed."""
    fragment = sanitize_html(
        '<span class="k jp-Dialog mathjax_process"></span><div class="highlight modal lm-mod"></div>'
    )
    assert fragment == '<span class="k mathjax_process"></span><div class="highlight"></div>'
    assert "class" not in sanitize_html(
        '<p class="highlight">x</p><pre class="highlight">x</pre><a class="k">x</a>'
    )


def test_a_heading_is_a_paragraph_of_a_level_and_takes_no_other_role() -> None:
    """A role of the page, such as alert or button, would be read out."""
    assert sanitize_html('<p role="heading" aria-level="3">x</p>') == '<p role="heading" aria-level="3">x</p>'
    for given in ('role="alert"', 'aria-level="7"', 'aria-level="0"', 'aria-label="x"', 'aria-hidden="true"'):
        assert sanitize_html(f"<p {given}>x</p>") == "<p>x</p>"
    assert sanitize_html('<div role="heading">x</div>') == "<div>x</div>"


@pytest.mark.parametrize(
    "given", ["<b", "<p>a", "<div><p>a", "</div></div>a", "<ul><li>a", "<!--a", "a<!-- --!>b"]
)
def test_nothing_open_and_no_comment_is_left(given: str) -> None:
    """What follows the fragment in the page can't become a part of it."""
    fragment = sanitize_html(given)
    assert "<!--" not in fragment
    for tag in ("p", "div", "ul", "li", "b"):
        assert fragment.count(f"<{tag}>") == fragment.count(f"</{tag}>")


@pytest.mark.parametrize("command", ["href", "def", "require", "input", "style", "newcommand"])
def test_no_formula_has_a_command_that_was_put_together_of_pieces(command: str) -> None:
    """What is taken out leaves a blank, so that the letters round it do not join."""
    for at in range(1, len(command)):
        for inner in ("\\url*", "\\href*", "\\let*", "\\label{x}"):
            tex = remove_active_commands(f"\\{command[:at]}{inner}{command[at:]}{{a}}")
            assert f"\\{command}" not in tex and "{a}" in tex
            assert remove_active_commands(tex) == tex
