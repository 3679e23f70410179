"""Render untrusted Markdown of a model as inert HTML.

Markdown is parsed without raw HTML, so the model's own HTML is never passed on; the parser's output also goes
through an allow-list. Images are named, not loaded; only formulas are typeset, without their active commands. Text
that can't be parsed in a reasonable time is shown as plain text.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any

from .cjk import add_cjk_emphasis
from .highlight import Highlighter, code_block
from .links import add_links
from .math import add_math, formula_html
from .outer import NO_TYPESETTING_CLASSES
from .sanitize import sanitize_html
from .text import escape_page_controls

logging.getLogger("markdown_it").setLevel(logging.INFO)  # at DEBUG it logs each rule that it tries


if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token
    from markdown_it.utils import EnvType

    _Rule = Callable[[Token, EnvType], str]

# In longer paragraphs inline marks aren't parsed, because some of the parser's rules are quadratic.
_MAX_PARAGRAPH_CHARS = 10_000
_MAX_BRACKETS = 300
_REFERENCE = re.compile(r"^ {0,3}\[[^\]\n]+\]:", re.MULTILINE)
_TASK = re.compile(r"\[([ xX])\][ \t]+")


def add_block_rules(md: MarkdownIt) -> None:
    """Add the rules of this module to ``md``; one of them replaces its inline step."""
    md.core.ruler.at("inline", _parse_inline)
    md.core.ruler.after("inline", "cells", _align_cells)
    md.core.ruler.after("inline", "task_lists", _task_lists)


def _parse_inline(state: StateCore) -> None:
    """Parse the inline marks of every paragraph that isn't too long (a core rule)."""
    from markdown_it.token import Token

    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = []
        if len(token.content) > _MAX_PARAGRAPH_CHARS or token.content.count("[") > _MAX_BRACKETS:
            token.children.append(Token("text", "", 0, content=token.content))
        else:
            state.md.inline.parse(token.content, state.md, state.env, token.children)


def _align_cells(state: StateCore) -> None:
    """Left-align columns without an alignment (a core rule); Jupyter right-aligns tables in outputs."""
    for token in state.tokens:
        if token.type in ("th_open", "td_open"):
            token.attrs.setdefault("style", "text-align:left")


def _task_lists(state: StateCore) -> None:
    """Render ``- [x] done`` with a character as its box (a core rule); a real checkbox would be a form."""
    for item, _, text in zip(state.tokens, state.tokens[1:], state.tokens[2:], strict=False):
        if item.type == "list_item_open" and text.type == "inline" and text.children:
            _add_checkbox(item, text.children[0])


def _add_checkbox(item: Token, first: Token) -> None:
    match = _TASK.match(first.content) if first.type == "text" else None
    if match:
        first.content = ("☐ " if match[1] == " " else "☑ ") + first.content[match.end() :]
        item.attrs["style"] = "list-style-type:none"


# Longer answers are shown as plain text. The parser takes a second or two for the worst text of this length.
_MAX_ANSWER_CHARS = 120_000
# Deeper than any intended nesting. The parser drops what is even deeper, so such text is shown as plain text.
_MAX_NESTING = 40

# The style of answers in cells, widgets and exported pages. It is inline, since some front ends remove the style
# sheets of outputs; pages without Jupyter's variables use the fallback values.
_STYLE = (
    "color:var(--jp-content-font-color1,inherit);font-size:var(--jp-content-font-size1,14px);line-height:var(--jp-content-line-height,1.6);"
    "max-width:44rem;overflow-wrap:break-word"
)
_OPEN = f'<div class="chatglm-answer {NO_TYPESETTING_CLASSES}" style="{_STYLE}">\n'
_CLOSE = "</div>\n"


def to_html(text: str, *, streaming: bool = False) -> str:
    """Render Markdown of a model as one safe HTML element; never raises, and never omits text.

    :param streaming: whether more may follow: a formula still open at the end is then shown as source; an open
        code block is rendered as a code block in any case.
    """
    if len(text) > _MAX_ANSWER_CHARS:
        return plain_html(text)
    try:
        return _render(text, streaming) or plain_html(text)
    except Exception:  # noqa: BLE001 - an answer must be shown even if the parser fails
        return plain_html(text)


def plain_html(text: str) -> str:
    """Return unparsed text as one safe HTML element, neither typeset nor coloured."""
    source = escape(escape_page_controls(_normalize_newlines(text)))
    return f'{_OPEN}<pre style="white-space:pre-wrap">{source}</pre>\n{_CLOSE}'


def render_fragment(
    text: str, *, streaming: bool, highlighter: Highlighter, references: Mapping[str, Any]
) -> str | None:
    """Return Markdown as safe HTML without an enclosing element, or None if it can't be rendered.

    The result belongs in an element with :data:`.outer.NO_TYPESETTING_CLASSES`.

    :param references: the link targets of the whole answer, as :func:`find_references` returns them.
    """
    env: EnvType = {"streaming": streaming, "highlighter": highlighter, "references": dict(references)}
    try:
        return _render_inner(text, env)
    except Exception:  # noqa: BLE001 - an answer must be shown even if the parser fails
        return None


def block_starts(text: str) -> list[int]:
    """Return the offsets of the outermost blocks of ``text``; the first one is 0."""
    md = _parser()
    tokens: list[Token] = []
    try:
        md.block.parse(text, md, {"streaming": True}, tokens)
    except Exception:  # noqa: BLE001 - then it is one block of plain text
        return [0]
    lines = {token.map[0] for token in tokens if token.level == 0 and token.map}
    offsets, position = [], 0
    for number, line in enumerate(text.split("\n")):
        if number in lines:
            offsets.append(position)
        position += len(line) + 1
    return [0, *offsets[1:]]


def find_references(text: str) -> Mapping[str, Any]:
    """Return the link reference definitions (``[name]: address``) in ``text``."""
    if len(text) > _MAX_ANSWER_CHARS or not _REFERENCE.search(text):
        return {}
    env: EnvType = {"streaming": False, "highlighter": Highlighter()}
    try:
        _parser().parse(escape_page_controls(_normalize_newlines(text)), env)
    except Exception:  # noqa: BLE001 - then no link has a target
        return {}
    references: Mapping[str, Any] = env.get("references", {})
    return references


def _render(text: str, streaming: bool) -> str | None:
    """Return ``text`` as HTML, or None if it is nested too deep."""
    html = _render_inner(text, {"streaming": streaming, "highlighter": Highlighter()})
    return None if html is None else _OPEN + html + _CLOSE


def _render_inner(text: str, env: EnvType) -> str | None:
    md = _parser()
    tokens = md.parse(escape_page_controls(_normalize_newlines(text)), env)
    if any(token.level >= _MAX_NESTING - 1 for token in tokens):
        return None
    # Escape again: entities such as `&#x202e;` have become characters.
    return sanitize_html(escape_page_controls(md.renderer.render(tokens, md.options, env)))


def _normalize_newlines(text: str) -> str:
    return re.sub("\r\n|[\r\u2028\u2029]", "\n", text)


@cache
def _parser() -> MarkdownIt:
    """Return the parser, built at the first use because markdown-it is slow to import."""
    from markdown_it import MarkdownIt

    # A model's single newlines are intended: verses, addresses, steps.
    md = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": _MAX_NESTING})
    md.enable(["table", "strikethrough"])
    add_math(md)
    add_cjk_emphasis(md)
    add_block_rules(md)
    add_links(md)
    for kind, rule in _RULES.items():
        md.add_render_rule(kind, _adapt_rule(rule))
    return md


def _adapt_rule(rule: _Rule) -> Callable[[object, Sequence[Token], int, object, EnvType], str]:
    """Return a rule with the signature that the renderer expects."""
    return lambda renderer, tokens, index, options, env: rule(tokens[index], env)


def _render_code(token: Token, env: EnvType) -> str:
    highlighter: Highlighter = env["highlighter"]
    return highlighter.render_block(token.content, token.info)


_RULES: dict[str, _Rule] = {
    "fence": _render_code,
    "code_block": _render_code,
    "math": lambda token, env: formula_html(token.content),
    "math_block": lambda token, env: f"<p>{formula_html(token.content)}</p>\n",
    "math_unclosed": lambda token, env: code_block(escape(token.content)),
    # A real heading would enter the notebook's table of contents.
    "heading_open": lambda token, env: (
        f'<p role="heading" aria-level="{token.tag[1:]}" style="margin:0 0 0.4em"><strong>'
    ),
    "heading_close": lambda token, env: "</strong></p>\n",
    # Wide tables scroll, and a keyboard can scroll them too.
    "table_open": lambda token, env: '<div style="overflow-x:auto" tabindex="0"><table>\n',
    "table_close": lambda token, env: "</table></div>\n",
}


_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})(?P<info>.*)\Z")


def fenced_code(text: str) -> str:
    """Return the code of all fenced blocks, separated by blank lines; ``text`` itself if there is none.

    The indentation of the opening fence, as in lists, is removed from the code.
    """
    blocks: list[list[str]] = []
    mark, indent = "", 0
    for line in _normalize_newlines(text).split("\n"):
        fence = _FENCE.match(line)
        if mark and fence and fence["mark"].startswith(mark) and not fence["info"].strip():
            mark = ""
        elif mark:
            blocks[-1].append(re.sub(rf"\A[ \t]{{0,{indent}}}", "", line))
        elif fence and not ("`" in fence["mark"] and "`" in fence["info"]):
            mark, indent = fence["mark"], len(fence["indent"])
            blocks.append([])
    return "\n\n".join("\n".join(block) for block in blocks) if blocks else text
