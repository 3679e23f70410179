"""Code blocks with Pygments classes: Jupyter's own style sheets colour them, in light and in dark."""

import re
from functools import cache
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pygments.formatters.html import HtmlFormatter
    from pygments.lexer import Lexer

__all__ = ["Highlighter", "code_block"]

# Pygments has some 500 lexers, and regular expressions that a hostile text makes slow are a steady source
# of its advisories. These are the languages answers are written in, and those that the tests time.
_NAMES = (
    "python py python3 pycon bash sh shell zsh console powershell ps1 bat c cpp c++ csharp c# cs java kotlin "
    "scala go golang rust rs swift javascript js typescript ts php ruby rb perl lua r julia matlab octave "
    "fortran haskell sql json yaml yml toml ini xml html css scss latex tex diff udiff docker dockerfile "
    "make makefile cmake protobuf graphql"
)
LANGUAGES = frozenset(_NAMES.split())

# Coloured HTML is some fifteen times its code. The rest of a longer answer stays plain.
_MOST_COLOURED = 20_000
_LONGEST_LINE = 1_000

_PANE = "background-color:rgba(128,128,128,0.06);padding:0.6em 0.8em"

_LANGUAGE = re.compile(r"\W{0,2}([A-Za-z][A-Za-z0-9+#]*)")


class Highlighter:
    """Colours the code blocks of one answer, up to a total that depends on the text alone, never on the clock:
    the same answer must give the same HTML."""

    def __init__(self) -> None:
        self._left = _MOST_COLOURED

    def block(self, code: str, info: str = "") -> str:
        """One code block as HTML; `info` is what follows the opening fence, or empty."""
        lexer = _lexer(info)
        if lexer is None or len(code) > self._left or max(map(len, code.split("\n"))) > _LONGEST_LINE:
            return code_block(escape(code))
        self._left -= len(code)
        return code_block(_coloured(code, lexer))


def code_block(inner: str) -> str:
    """The frame of a code block round HTML that is already escaped."""
    # The tags and the class are those that Jupyter's style sheets colour. A translucent grey is right on any
    # background, where there is no such style sheet too.
    return f'<div class="highlight" style="margin:0 0 1em"><pre style="{_PANE}">{inner}</pre></div>\n'


def _lexer(info: str) -> "Lexer | None":
    match = _LANGUAGE.match(info.strip())
    name = match[1].lower() if match else ""
    return _known_lexer(name) if name in LANGUAGES else None


@cache
def _known_lexer(name: str) -> "Lexer":
    from pygments.lexers import get_lexer_by_name

    # Both options are about leaving the model's text as it is.
    return get_lexer_by_name(name, stripnl=False, ensurenl=False)


def _coloured(code: str, lexer: "Lexer") -> str:
    from pygments import highlight

    return str(highlight(code, lexer, _formatter()))


@cache
def _formatter() -> "HtmlFormatter[str]":
    from pygments.formatters.html import HtmlFormatter

    return HtmlFormatter(nowrap=True)
