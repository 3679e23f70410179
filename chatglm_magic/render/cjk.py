"""Chinese, Japanese and Korean in Markdown: their characters, and emphasis next to them."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline

__all__ = ["CJK", "add_cjk_emphasis"]

# Radicals, punctuation, kana, hangul, ideographs with all extensions, and the full-width forms.
CJK = re.compile(
    r"[\u1100-\u11ff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef"
    r"\U00020000-\U0003ffff]"
)


def add_cjk_emphasis(md: "MarkdownIt") -> None:
    """Make ``**注意：**请看`` bold.

    CommonMark opens and closes emphasis at spaces and punctuation, and Chinese has no spaces: by the standard the
    stars above are text. GLM models write this form often.
    """
    md.inline.ruler.at("emphasis", _emphasis)


def _emphasis(state: "StateInline", silent: bool) -> bool:
    """Replace markdown-it's inline rule: the same delimiters, but other flanking rules next to CJK text."""
    from markdown_it.rules_inline.state_inline import Delimiter

    marker = state.src[state.pos]
    if silent or marker not in "*_":
        return False
    scanned = state.scanDelims(state.pos, marker == "*")
    can_open, can_close = scanned.can_open, scanned.can_close
    if marker == "*":
        before = state.src[state.pos - 1] if state.pos else " "
        end = state.pos + scanned.length
        after = state.src[end] if end < state.posMax else " "
        if CJK.match(before) or CJK.match(after):
            can_open, can_close = _is_flanking(before, after), _is_flanking(after, before)
    for _ in range(scanned.length):
        state.push("text", "", 0).content = marker
        last = len(state.tokens) - 1
        state.delimiters.append(Delimiter(ord(marker), scanned.length, last, -1, can_open, can_close))
    state.pos += scanned.length
    return True


def _is_flanking(outside: str, inside: str) -> bool:
    """Return whether stars between ``outside`` and ``inside`` may enclose what is inside."""
    from markdown_it.common.utils import isMdAsciiPunct, isPunctChar

    def punctuation(character: str) -> bool:
        return isMdAsciiPunct(ord(character)) or isPunctChar(character)

    if inside.isspace():
        return False
    free = outside.isspace() or punctuation(outside) or bool(CJK.match(outside))
    return free or not punctuation(inside) or bool(CJK.match(inside))
