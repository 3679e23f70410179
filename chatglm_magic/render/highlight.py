"""Code blocks with Pygments classes: Jupyter's own style sheets colour them, in light and in dark."""

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

# Pygments has some 500 lexers, and regular expressions that a hostile text makes slow are a steady source
# of its advisories. These are the languages answers are written in, and those that the tests time.
_LANGUAGE_NAMES = (
    "python py python3 pycon bash sh shell zsh console powershell ps1 bat c cpp c++ csharp c# cs java kotlin "
    "scala go golang rust rs swift javascript js typescript ts php ruby rb perl lua r julia matlab octave "
    "fortran haskell sql json yaml yml toml ini xml html css scss latex tex diff udiff docker dockerfile "
    "make makefile cmake protobuf graphql"
)
LANGUAGES = frozenset(_LANGUAGE_NAMES.split())

# Coloured HTML is some fifteen times its code. The rest of a longer answer stays plain.
_MAX_COLOURED_CHARS = 20_000
_MAX_LINE_CHARS = 1_000
# Seconds of this thread's computing for the code of one answer. Honest code of that length takes a tenth; in many
# lexers an expression is quadratic on text made for it (20 kB of newlines in C took 20 s).
_BUDGET_SECONDS = 0.5

_PANE_STYLE = "background-color:rgba(128,128,128,0.08);padding:0.6em 0.8em;white-space:pre;overflow-x:auto"

_LANGUAGE = re.compile(r"\W{0,2}([A-Za-z][A-Za-z0-9+#]*)")


class Highlighter:
    """Colours the code blocks of one answer, up to a number of characters and of seconds.

    The same answer must give the same HTML, so only a text that was made to be slow comes near the clock's limit.
    """

    def __init__(self) -> None:
        self._left = _MAX_COLOURED_CHARS
        self._seconds = _BUDGET_SECONDS

    def render_block(self, code: str, info: str = "") -> str:
        """One code block as HTML; `info` is what follows the opening fence, or empty."""
        lexer = _find_lexer(info)
        if lexer is None or len(code) > self._left or max(map(len, code.split("\n"))) > _MAX_LINE_CHARS:
            return code_block(escape(code))
        self._left -= len(code)
        began = thread_time()
        tokens = _tokenize(code, lexer, began + self._seconds)
        self._seconds -= thread_time() - began
        return code_block(escape(code) if tokens is None else _render_tokens(tokens))


def code_block(inner: str) -> str:
    """The frame of a code block round HTML that is already escaped."""
    # The tags and the class are those that Jupyter's style sheets colour. A translucent grey is right on any
    # background, where there is no such style sheet too.
    # Long lines scroll, also by keyboard: a word that is broken can't be read, nor copied.
    pane = f'<pre style="{_PANE_STYLE}" tabindex="0">{inner}</pre>'
    return f'<div class="highlight" style="margin:0 0 0.8em">{pane}</div>\n'


def _find_lexer(info: str) -> "Lexer | None":
    match = _LANGUAGE.match(info.strip())
    name = match[1].lower() if match else ""
    return _load_lexer(name) if name in LANGUAGES else None


@cache
def _load_lexer(name: str) -> "Lexer":
    from pygments.lexers import get_lexer_by_name

    # Both options are about leaving the model's text as it is.
    return get_lexer_by_name(name, stripnl=False, ensurenl=False)


def _tokenize(code: str, lexer: "Lexer", end: float) -> "list[tuple[_TokenType, str]] | None":
    """The tokens of `code`, or None if they are not found by `end`."""
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
