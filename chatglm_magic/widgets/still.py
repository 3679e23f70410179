"""A static copy of a widget for readers without a kernel: a separate output below it.

A widget's own fallback isn't enough: in a trusted notebook, JupyterLab displays an error in place of a widget
whose kernel is gone. While the widget is alive, its style sheet hides this output.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..render.answers import answer_html, answer_text, escape_html, escape_json_surrogates
from ..render.front_ends import in_notebook, is_final
from ..render.outer import html_output

if TYPE_CHECKING:
    from ..values import Turn

CSS = "".join(
    f"{place}:has(.chatglm-box) .chatglm-still{{display:none}}"
    for place in (".jp-OutputArea", ".output_container", "#output-area")  # JupyterLab, VS Code, Colab
)
NOTE_STYLE = "color:var(--jp-ui-font-color2,#767676);font-size:.85em"


class StaticFallback:
    """One static output, such as a panel's conversation, a sweep's heat map or a lens."""

    def __init__(self) -> None:
        self._publisher: Any = None
        self._id = os.urandom(16).hex()  # random, since any cell can update a display by its id

    def publish_below(self, widget: Any, text: str = "", page: str = "") -> None:
        """Display a widget in the running cell, and this output below it: plain text and the same as safe HTML."""
        from IPython.core.getipython import get_ipython
        from IPython.core.interactiveshell import InteractiveShell

        shell: Any = get_ipython() or InteractiveShell.instance()
        shell.display_pub.publish(data=widget._repr_mimebundle_())
        if in_notebook(shell):
            self._publisher = shell.display_pub
            self._send(_bundle(text, page), update=False)

    def update(self, text: str, page: str) -> None:
        """Replace the content, except where every run must give the same outputs."""
        if self._publisher is not None and not is_final():
            with suppress(OSError, RuntimeError):  # the kernel is shutting down
                self._send(_bundle(text, page), update=True)

    def _send(self, data: dict[str, str], *, update: bool) -> None:
        self._publisher.publish(data=data, transient={"display_id": self._id}, update=update)


PROMPT_STYLE = "white-space:pre-wrap;font-weight:600;margin:.8em 0 .3em"
MAX_CHARACTERS = 20_000
"""Size limit of the copy below a panel; the history has everything."""


def render_transcript(turns: Sequence[Turn]) -> tuple[str, str]:
    """Return a conversation, or only the end of a long one, as plain text and as safe HTML."""
    remaining, texts, pages = MAX_CHARACTERS, list[str](), list[str]()
    for turn in reversed(turns):
        remaining -= len(turn.prompt) + len(turn.answer)
        if remaining < 0 and texts:
            break
        if len(turn.answer) > MAX_CHARACTERS:
            cut = f"{turn.answer[:MAX_CHARACTERS]}\n\n… The rest is in the history."
            turn = replace(turn, answer=cut, reasoning="")
        prompt = f'<div style="{PROMPT_STYLE}">{escape_html(turn.prompt)}</div>'
        texts.insert(0, f"{turn.prompt}\n\n{answer_text(turn)}")
        pages.insert(0, f"{prompt}{answer_html(turn)}")
    note = "From the panel, which itself needs a kernel: run its cell again."
    page = f'<div style="{NOTE_STYLE}">{note}</div>{"".join(pages)}' if pages else ""
    return "\n\n".join(texts), page


def _bundle(text: str, page: str) -> dict[str, str]:
    data: dict[str, str] = escape_json_surrogates(html_output(text, f'<div class="chatglm-still">{page}</div>'))
    return data
