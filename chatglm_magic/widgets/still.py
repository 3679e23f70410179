"""The last answer as an output of its own beneath a panel: what is left of it where there is no kernel.

A widget's own fallback is not enough: JupyterLab, with a notebook it trusts, shows an error in the place of a
widget whose kernel is gone. While the panel is alive its style sheet hides this output.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..render.bundle import encodable, escape, html, plain

if TYPE_CHECKING:
    from ..values import Turn

CSS = "".join(
    f"{place}:has(.chatglm-panel) .chatglm-still{{display:none}}"
    for place in (".jp-OutputArea", ".output_container", "#output-area")  # JupyterLab, VS Code, Colab
)
SMALL = "color:var(--jp-ui-font-color2,#767676);font-size:.85em"


class Still:
    """One output that holds a panel's last answer."""

    def __init__(self) -> None:
        self._publisher: Any = None
        self._id = os.urandom(16).hex()  # a display's id can be used by any cell to change it

    def publish(self, publisher: Any) -> None:
        """Add the output to the cell that is running, empty so far."""
        self._publisher = publisher
        self._send({"text/plain": "", "text/html": '<div class="chatglm-still"></div>'}, update=False)

    def put(self, turn: Turn) -> None:
        """Put an answer into it; not where each output is to be the same in every run."""
        if self._publisher is not None and os.environ.get("CHATGLM_MAGIC_RENDER") != "final":
            with suppress(OSError, RuntimeError):  # the kernel is going
                self._send(bundle(turn), update=True)

    def _send(self, data: dict[str, str], *, update: bool) -> None:
        self._publisher.publish(data=data, transient={"display_id": self._id}, update=update)


def bundle(turn: Turn) -> dict[str, str]:
    """Return a question with its answer as plain text and as safe HTML."""
    note = "From the panel, which itself needs a kernel: run its cell again."
    question = f'<div style="white-space:pre-wrap;font-weight:600;margin:.3em 0">{escape(turn.prompt)}</div>'
    page = f'<div class="chatglm-still"><div style="{SMALL}">{note}</div>{question}{html(turn)}</div>'
    text = f"{turn.prompt}\n\n{plain(turn)}"
    data: dict[str, str] = encodable({"text/plain": text, "text/html": page})
    return data
