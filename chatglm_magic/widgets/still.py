"""What is left of our widgets where there is no kernel: an output of its own beneath them.

A widget's own fallback is not enough: JupyterLab, with a notebook it trusts, shows an error in the place of a
widget whose kernel is gone. While the widget is alive its style sheet hides this output.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..render.answers import encodable, escape, html, plain
from ..render.front_ends import in_notebook, is_final
from ..render.outer import output

if TYPE_CHECKING:
    from ..values import Turn

CSS = "".join(
    f"{place}:has(.chatglm-box) .chatglm-still{{display:none}}"
    for place in (".jp-OutputArea", ".output_container", "#output-area")  # JupyterLab, VS Code, Colab
)
SMALL = "color:var(--jp-ui-font-color2,#767676);font-size:.85em"


class Still:
    """One output: a panel's conversation, a sweep's heat map, a lens."""

    def __init__(self) -> None:
        self._publisher: Any = None
        self._id = os.urandom(16).hex()  # a display's id can be used by any cell to change it

    def publish_beneath(self, widget: Any, text: str = "", page: str = "") -> None:
        """Show a widget in the running cell, and this beneath it: a text, and the same as safe HTML."""
        from IPython.core.getipython import get_ipython
        from IPython.core.interactiveshell import InteractiveShell

        shell: Any = get_ipython() or InteractiveShell.instance()
        shell.display_pub.publish(data=widget._repr_mimebundle_())
        if in_notebook(shell):
            self._publisher = shell.display_pub
            self._send(_bundle(text, page), update=False)

    def put(self, text: str, page: str) -> None:
        """Change what it holds; not where each output is to be the same in every run."""
        if self._publisher is not None and not is_final():
            with suppress(OSError, RuntimeError):  # the kernel is going
                self._send(_bundle(text, page), update=True)

    def _send(self, data: dict[str, str], *, update: bool) -> None:
        self._publisher.publish(data=data, transient={"display_id": self._id}, update=update)


PROMPT = "white-space:pre-wrap;font-weight:600;margin:.8em 0 .3em"
LARGEST = 20_000
"""Characters of answers that are kept beneath a panel; the history has all."""


def transcript_page(turns: Sequence[Turn]) -> tuple[str, str]:
    """Return a conversation, or its end where it is long, as plain text and as safe HTML."""
    room, texts, pages = LARGEST, list[str](), list[str]()
    for turn in reversed(turns):
        room -= len(turn.prompt) + len(turn.answer)
        if room < 0 and texts:
            break
        if len(turn.answer) > LARGEST:
            cut = f"{turn.answer[:LARGEST]}\n\n… The rest is in the history."
            turn = replace(turn, answer=cut, reasoning="")
        prompt = f'<div style="{PROMPT}">{escape(turn.prompt)}</div>'
        texts.insert(0, f"{turn.prompt}\n\n{plain(turn)}")
        pages.insert(0, f"{prompt}{html(turn)}")
    note = "From the panel, which itself needs a kernel: run its cell again."
    page = f'<div style="{SMALL}">{note}</div>{"".join(pages)}' if pages else ""
    return "\n\n".join(texts), page


def _bundle(text: str, page: str) -> dict[str, str]:
    data: dict[str, str] = encodable(output(text, f'<div class="chatglm-still">{page}</div>'))
    return data
