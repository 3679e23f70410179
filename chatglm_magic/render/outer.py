"""Wrap HTML so that MathJax typesets only the formulas of an answer.

A page's MathJax typesets whatever looks like a formula in an output or an ``HTMLMath`` widget, and knows commands
that load pictures and make links. So all HTML that leaves this package goes through :func:`disable_typesetting`.
Each formula of an answer enables typesetting again (``mathjax_process``), after its active commands are removed.
"""

from __future__ import annotations

NO_TYPESETTING_CLASSES = "mathjax_ignore tex2jax_ignore"
"""The classes of MathJax 3 and later, and of MathJax 2. KaTeX's auto-render has none by default."""

TYPESETTING_CLASSES = "mathjax_process tex2jax_process"


def disable_typesetting(html: str) -> str:
    """Return safe HTML in one element that typesetters ignore; an empty string stays empty."""
    return f'<div class="{NO_TYPESETTING_CLASSES}">{html}</div>' if html else ""


def html_output(text: str, html: str) -> dict[str, str]:
    """Return the data of a Jupyter output: plain text, and HTML that typesetters ignore."""
    return {"text/plain": text, "text/html": disable_typesetting(html)}
