"""The HTML around answers: closed to typesetters, so that only an answer's own formulas become mathematics.

A page's MathJax typesets whatever looks like a formula in an output or an ``HTMLMath`` widget, and knows commands
that load pictures and make links. So all HTML that leaves this package goes through :func:`outer`; a formula of an
answer is opened again by itself (``mathjax_process``) once its active commands are gone.
"""

from __future__ import annotations

CLOSED = "mathjax_ignore tex2jax_ignore"
"""MathJax's classes from version 3 on, and those of version 2. KaTeX's auto-render has none by default."""

OPENED = "mathjax_process tex2jax_process"


def outer(html: str) -> str:
    """Return safe HTML in one element that is closed to typesetters; nothing stays nothing."""
    return f'<div class="{CLOSED}">{html}</div>' if html else ""


def output(text: str, html: str) -> dict[str, str]:
    """Return an output's data: plain text, and the same as HTML, closed to typesetters."""
    return {"text/plain": text, "text/html": outer(html)}
