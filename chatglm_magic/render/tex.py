"""What is taken out of a formula before a typesetter sees it.

MathJax obeys commands that make links, load extensions, set classes and ids, and write CSS, whose
``url()`` is a request. Its definitions are worse: they hold for the whole page, so one answer could
redefine ``\\frac`` in every other, or give a forbidden command a new name.
"""

import re

__all__ = ["defused"]

_ACTIVE = (
    # links, pictures, other files
    "href url ref eqref hyperref hyperlink includegraphics input include openin openout read write "
    "immediate special "
    # classes, ids, styles and data of the page (MathJax and KaTeX); mmlToken takes any attribute, bbox any CSS,
    # and the font of unicode reaches a style unescaped: it was seen to load a picture in JupyterLab 4.6
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
_ACTIVE_COMMAND = re.compile(rf"\\(?:{'|'.join(_ACTIVE.split())})(?![A-Za-z])\*?")
# Labels share one name space in the page: shown a second time (each frame of a stream is), they are an error.
_LABEL = re.compile(r"\\label *\{[^{}\\]*\}|\\label(?![A-Za-z])")
# No command left puts CSS into a style; a colour still reaches an attribute as it is written.
_CSS_FETCH = re.compile(r"(url|image-set)(?=\()", re.IGNORECASE)


def defused(tex: str) -> str:
    """`tex` without its active commands; their arguments stay, as plain mathematics.

    A space takes a command's place, so the pieces left and right of it can't join to a new command:
    one pass reaches the fixpoint.
    """
    return _CSS_FETCH.sub(r"\1 ", _LABEL.sub(" ", _ACTIVE_COMMAND.sub(" ", tex)))
