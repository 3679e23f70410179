"""A judge of rendered answers: parses HTML with the standard library and names what it may not hold."""

import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

_NAMES = "a blockquote br code div em hr li ol p pre s small span strong table tbody td th thead tr ul"
TAGS = frozenset(_NAMES.split())
ATTRIBUTES = {
    "a": {"href", "title", "rel", "target"},
    "ol": {"start"},
    "p": {"role", "aria-level", "style"},
    "div": {"class", "style", "tabindex"},
    "span": {"class"},
    "pre": {"style", "tabindex"},
    **{tag: {"style"} for tag in ("li", "td", "th")},
}
VOID = {"br", "hr"}
DECLARATION = re.compile(
    r"background-color:\s*rgba\(128,\s*128,\s*128,\s*0\.08\)|(padding|margin):\s*[0-9.em ]+"
    r"|list-style-type:\s*none"
    r"|text-align:\s*(left|right|center)|white-space:pre(-wrap)?|overflow-wrap:break-word|overflow-x:auto"
    r"|max-width:44rem|font-size:var\(--jp-content-font-size1,14px\)|line-height:var\(--jp-content-line-height,1\.6\)"
    r"|color:var\(--jp-content-font-color1,inherit\)"
)
COMMANDS = re.compile(
    r"\\(href|url|style|class|cssId|data|require|includegraphics|unicode|bbox|mmlToken|def|gdef|let|newcommand"
    r"|renewcommand|newenvironment|csname|toggle|texttip|mathtip|htmlStyle|htmlData|htmlId|htmlClass|input|write)"
    r"(?![A-Za-z])"
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Page(HTMLParser):
    """Tags, attributes, text and formulas of a fragment, and what is wrong with them."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.links: list[str] = []
        self.formulas: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self._formula = False
        self.feed(fragment)
        self.close()
        self.wrong += [f"unclosed <{tag}>" for tag in self._open]
        if CONTROLS.search(fragment):
            self.wrong.append("control character")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            self._attribute(tag, name, value or "")
        self._formula = "mathjax_process" in (dict(attrs).get("class") or "")
        if self._formula:
            self.formulas.append("")
        if tag not in VOID:
            self._open.append(tag)

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name not in ATTRIBUTES.get(tag, set()):
            self.wrong.append(f"<{tag} {name}>")
        if name == "style" and not all(DECLARATION.fullmatch(part) for part in value.split(";") if part):
            self.wrong.append(f"style {value}")
        if name == "tabindex" and value not in ("0", "-1"):  # in the page's own order, or by arrow keys alone
            self.wrong.append(f"tabindex {value}")
        if name == "href":
            self.links.append(value)
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https", "mailto") or (
                parts.scheme != "mailto" and "@" in parts.netloc
            ):
                self.wrong.append(f"link {value}")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.wrong.append(f"stray </{tag}>")
        self._formula = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._formula:
            self.formulas[-1] += data
            self.wrong += [f"formula with {found.group()}" for found in COMMANDS.finditer(data)]

    def handle_comment(self, data: str) -> None:
        self.wrong.append("comment")

    def handle_decl(self, decl: str) -> None:
        self.wrong.append("declaration")

    def handle_pi(self, data: str) -> None:
        self.wrong.append("processing instruction")

    def unknown_decl(self, data: str) -> None:
        self.wrong.append("declaration")


class _Typesetter(HTMLParser):
    """Reads what MathJax reads: nothing in an element of its ignoring class, unless one opens it again."""

    def __init__(self, fragment: str) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self._reads = [True]
        self.feed(fragment)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = (dict(attrs).get("class") or "").split()
        reads = False if "mathjax_ignore" in classes else self._reads[-1]
        if tag not in VOID | {"img", "input"}:
            self._reads.append(True if "mathjax_process" in classes else reads)

    def handle_endtag(self, tag: str) -> None:
        self._reads.pop()

    def handle_data(self, data: str) -> None:
        self.text += data if self._reads[-1] else ""


def read_typeset_text(fragment: str) -> str:
    """Return the text of a fragment in which a typesetter looks for formulas."""
    return _Typesetter(fragment).text
