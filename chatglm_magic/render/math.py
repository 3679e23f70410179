"""Formulas: find where they begin and end in a text, and remove their active commands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .cjk import CJK
from .outer import TYPESETTING_CLASSES

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.utils import EnvType


_ACTIVE_NAMES = (
    # links, pictures, other files
    "href url ref eqref hyperref hyperlink includegraphics input include openin openout read write "
    "immediate special "
    # classes, ids, styles and data of the page (MathJax and KaTeX); mmlToken takes any attribute, bbox any CSS,
    # and the font of unicode reaches a style unescaped: in JupyterLab 4.6 it loaded a picture
    "style class cssId data mmlToken bbox unicode htmlClass htmlId htmlStyle htmlData texHTML "
    # things that react to the pointer
    "toggle mathtip texttip tooltip action endaction "
    # loading, and settings of the typesetter itself
    "require usepackage setOptions mathtoolsset newtagform renewtagform usetagform begingroupSandbox begingroup "
    # definitions, and what builds a command out of pieces
    "def edef gdef xdef let futurelet global newcommand renewcommand providecommand newcommandx newenvironment "
    "renewenvironment newextarrow Newextarrow DeclareMathOperator DeclarePairedDelimiter DeclarePairedDelimiters "
    "DeclarePairedDelimiterX DeclarePairedDelimitersX DeclarePairedDelimiterXPP DeclarePairedDelimitersXPP "
    "definecolor csname endcsname expandafter noexpand catcode lccode uccode lowercase uppercase string char "
    "scantokens"
)

# TeX reads a command's name as the longest run of ASCII letters. A backslash before the backslash makes no
# difference here: `\verb` with a backslash as its mark would shift the pairs.
_ACTIVE_COMMAND = re.compile(rf"\\(?:{'|'.join(_ACTIVE_NAMES.split())})(?![A-Za-z])\*?")
# Labels share one name space in the page: rendered again (as by each frame of a stream), they are an error.
_LABEL = re.compile(r"\\label *\{[^{}\\]*\}|\\label(?![A-Za-z])")
# No remaining command puts CSS into a style, but a colour still reaches an attribute unchanged.
_CSS_FETCH = re.compile(r"(url|image-set)(?=\()", re.IGNORECASE)


def remove_active_commands(tex: str) -> str:
    """Return ``tex`` without its active commands; their arguments stay, as plain mathematics.

    A space replaces each command, so the text on both sides can't form a new command: one pass is enough.
    """
    return _CSS_FETCH.sub(r"\1 ", _LABEL.sub(" ", _ACTIVE_COMMAND.sub(" ", tex)))


_MAX_INLINE_CHARS = 1_000
_MAX_DISPLAY_CHARS = 4_000
_MAX_BLOCK_LINES = 120
# Characters that may be searched for closing marks in one answer; the rest of the answer is text. Ordinary answers
# need a hundredth of it. The limit makes the work linear, and depends on the text alone, never on the clock.
_MAX_SEARCHED_CHARS = 10_000_000
_LINE_COST_CHARS = 100

_ENVIRONMENTS = (
    "equation|align|alignat|aligned|flalign|gather|gathered|multline|eqnarray|split|cases|array|"
    "matrix|pmatrix|bmatrix|Bmatrix|vmatrix|Vmatrix|smallmatrix"
)
_OPENER = re.compile(rf"\$\$|\\\[|\\\(|\\begin\{{(?P<name>(?:{_ENVIRONMENTS})\*?)\}}")
_CLOSERS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_TAILS = frozenset(["", *".,;:。，；："])

# Pandoc's rule and two more: no digit, dollar or letter of a name (`$HOME/$USER`) may follow the last dollar.
_LAST_DOLLAR = re.compile(r"(?<![\s\\$])\$(?![\d$])(?!(?<=[/:,.=+-]\$)\w)")
_IN_WORDS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mbox)\{[^{}]*\}")
_SUM_OF_MONEY = re.compile(r"\d[^\\^_=+*/<>{}]*? [A-Za-z]{2}")


def formula_html(tex: str) -> str:
    """Return ``tex`` with its delimiters as HTML for a typesetter, without active commands."""
    from markdown_it.common.utils import escapeHtml

    return f'<span class="{TYPESETTING_CLASSES}">{escapeHtml(remove_active_commands(tex))}</span>'


def add_math(md: MarkdownIt) -> None:
    """Make ``md`` parse formulas into tokens of type ``math``, ``math_block`` and ``math_unclosed``."""
    interrupted = ["paragraph", "reference", "blockquote", "list"]
    md.block.ruler.before("fence", "math_block", _parse_block_formula, {"alt": interrupted})
    md.inline.ruler.before("escape", "math", _parse_inline_formula)


def _parse_inline_formula(state: StateInline, silent: bool) -> bool:
    """Parse a formula that begins at the state's position (an inline rule)."""
    start, source = state.pos, state.src
    if source[start] not in "$\\":
        return False
    opener = _OPENER.match(source, start, state.posMax)
    if _is_exhausted(state.env) or not (opener or source[start] == "$"):
        return False
    if opener:
        end = _find_display_end(source, opener, state.posMax)
    else:
        end = _find_dollar_end(source, start, state.posMax)
    if end < 0:
        _spend(state.env, _MAX_DISPLAY_CHARS if opener else _MAX_INLINE_CHARS)
        return False
    if not silent:
        state.push("math", "", 0).content = source[start:end]
    state.pos = end
    return True


def _is_exhausted(env: EnvType) -> bool:
    return bool(env.get("math_searched", 0) > _MAX_SEARCHED_CHARS)


def _spend(env: EnvType, characters: int) -> None:
    env["math_searched"] = env.get("math_searched", 0) + characters


def _closer(opener: re.Match[str]) -> str:
    return _CLOSERS.get(opener.group()) or f"\\end{{{opener['name']}}}"


def _find_display_end(source: str, opener: re.Match[str], limit: int) -> int:
    """Return where the formula that ``opener`` begins ends, or -1."""
    closer = _closer(opener)
    end = source.find(closer, opener.end(), min(limit, opener.end() + _MAX_DISPLAY_CHARS))
    inside = source[opener.end() : end]
    return -1 if end < 0 or not inside.strip() or "`" in inside else end + len(closer)


def _find_dollar_end(source: str, start: int, limit: int) -> int:
    """Return where the formula after the dollar at ``start`` ends, or -1 for money and shell variables."""
    before = source[start - 1 : start]
    if before == "$" or (before.isascii() and before.isalnum()) or source[start + 1 : start + 2].isspace():
        return -1
    newline = source.find("\n", start, start + _MAX_INLINE_CHARS)
    stop = min(limit, start + _MAX_INLINE_CHARS, newline if newline >= 0 else limit)
    match = _LAST_DOLLAR.search(source, start + 2, stop)
    if not match:
        return -1
    inside = source[start + 1 : match.start()]
    prose = "`" in inside or CJK.search(_IN_WORDS.sub("", inside)) or _SUM_OF_MONEY.match(inside)
    return -1 if prose else match.end()


def _parse_block_formula(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a formula of several lines (a block rule), so that its ``=``, ``-`` and ``+`` aren't Markdown."""
    if state.is_code_block(start) or _is_exhausted(state.env):
        return False
    first = _line(state, start)
    opener = _OPENER.match(first)
    if not opener or opener.group() == "\\(" or _closer(opener) in first[opener.end() :]:
        return False
    after, closed = _find_block_end(state, start, end, _closer(opener))
    _spend(state.env, _LINE_COST_CHARS * (after - start))
    if not closed and not (after == end and state.env.get("streaming")):
        return False
    if not silent:
        state.line = after
        token = state.push("math_block" if closed else "math_unclosed", "", 0)
        token.content = state.getLines(start, after, state.blkIndent, False).strip()
        token.map = [start, after]
    return True


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]


def _find_block_end(state: StateBlock, start: int, end: int, closer: str) -> tuple[int, bool]:
    """Return the line after the formula that begins in line ``start``, and whether its end was found."""
    for number in range(start + 1, min(end, start + _MAX_BLOCK_LINES)):
        text = _line(state, number)
        if not text or state.sCount[number] < state.blkIndent or text.startswith(("```", "~~~")):
            return number, False
        head, separator, tail = text.partition(closer)
        if separator:
            closed = "`" not in head and tail.strip() in _TAILS
            return (number + 1, True) if closed else (number, False)
    return min(end, start + _MAX_BLOCK_LINES), False
