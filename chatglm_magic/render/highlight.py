"""Code blocks with Pygments classes, which Jupyter's style sheets colour in light and dark themes."""

import re
from functools import cache
from html import escape
from io import StringIO
from time import thread_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexer import Lexer
    from pygments.token import _TokenType

__all__ = ["Highlighter", "code_block"]

# Pygments has some 500 lexers, and many of its advisories are about regular expressions that hostile text makes
# slow. These are the languages that answers are written in, and that the tests time.
_LANGUAGE_NAMES = (
    "python py python3 pycon bash sh shell zsh console powershell ps1 bat c cpp c++ csharp c# cs java kotlin "
    "scala go golang rust rs swift javascript js typescript ts php ruby rb perl lua r julia matlab octave "
    "fortran haskell sql json yaml yml toml ini xml html css scss latex tex diff udiff docker dockerfile "
    "make makefile cmake protobuf graphql"
)
LANGUAGES = frozenset(_LANGUAGE_NAMES.split())

# Coloured HTML is some fifteen times as long as its code. The rest of a longer answer stays plain.
_MAX_COLOURED_CHARS = 20_000
_MAX_LINE_CHARS = 1_000
# CPU time of this thread for the code of one answer. Ordinary code of that length takes a tenth of it; in many
# lexers an expression is quadratic on crafted text (20 kB of newlines in C took 20 s).
_BUDGET_SECONDS = 0.5

_PANE_STYLE = "background-color:rgba(128,128,128,0.08);padding:0.6em 0.8em;white-space:pre;overflow-x:auto"

_LANGUAGE = re.compile(r"\W{0,2}([A-Za-z][A-Za-z0-9+#]*)")


class Highlighter:
    """Colours the code blocks of one answer, up to a number of characters and of seconds.

    The same answer must give the same HTML, so the time limit is far above what ordinary text needs.
    """

    def __init__(self) -> None:
        self._chars_left = _MAX_COLOURED_CHARS
        self._seconds_left = _BUDGET_SECONDS

    def render_block(self, code: str, info: str = "") -> str:
        """Return a code block as HTML; ``info`` is the text after the opening fence, or empty."""
        lexer = _find_lexer(info)
        if lexer is None or len(code) > self._chars_left or max(map(len, code.split("\n"))) > _MAX_LINE_CHARS:
            return code_block(escape(code))
        self._chars_left -= len(code)
        began = thread_time()
        tokens = _tokenize(code, lexer, began + self._seconds_left)
        self._seconds_left -= thread_time() - began
        return code_block(escape(code) if tokens is None else _render_tokens(tokens))


def code_block(inner: str) -> str:
    """Wrap escaped HTML in the frame of a code block."""
    # Jupyter's style sheets colour these tags and this class. The grey suits any background without them.
    # Long lines scroll, also by keyboard: a broken word can't be read or copied.
    pane = f'<pre style="{_PANE_STYLE}" tabindex="0">{inner}</pre>'
    return f'<div class="highlight" style="margin:0 0 0.8em">{pane}</div>\n'


def _find_lexer(info: str) -> "Lexer | None":
    match = _LANGUAGE.match(info.strip())
    name = match[1].lower() if match else ""
    return _load_lexer(name) if name in LANGUAGES else None


@cache
def _load_lexer(name: str) -> "Lexer":
    from pygments.lexers import get_lexer_by_name

    # Both options leave the model's text unchanged.
    return get_lexer_by_name(name, stripnl=False, ensurenl=False)


def _tokenize(code: str, lexer: "Lexer", end: float) -> "list[tuple[_TokenType, str]] | None":
    """Return the tokens of ``code``, or None if that takes longer than until ``end``."""
    tokens = []
    for token in lexer.get_tokens(code):
        if thread_time() > end:
            return None
        tokens.append(token)
    return tokens


def _render_tokens(tokens: "list[tuple[_TokenType, str]]") -> str:
    page = StringIO()
    _formatter().format(tokens, page)
    return page.getvalue()


@cache
def _formatter() -> "HtmlFormatter[str]":
    from pygments.formatters.html import HtmlFormatter

    return HtmlFormatter(nowrap=True)
