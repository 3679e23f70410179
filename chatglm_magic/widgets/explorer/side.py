"""One cell with all its samples: the one that was opened, or the baseline beside it."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ...sweeps.cells import Cell
from .. import look
from ..viewer.calls import Calls
from .samples import sample_html, text_of
from .words import title

SHOWN = 20
"""Samples that are shown at once; a dropdown turns to the others."""


class Side(w.VBox):  # type: ignore[misc]
    """A cell's samples, hidden while there is no cell.

    :param name: what the cell is, as ``Baseline``.
    :param samples: how many each cell has.
    :param changed: is called when another sample is chosen to be compared.
    """

    def __init__(
        self, name: str, samples: int, calls: Calls, changed: Callable[[], object], *buttons: w.Button
    ) -> None:
        self.cell: Cell | None = None
        self._name, self._samples = name, samples
        self._keys: dict[int, object] = {}
        self.heading, self.marked = look.Html(), look.Html()
        numbers = [(f"sample {n + 1}", n) for n in range(samples)]
        self.sample = w.Dropdown(options=numbers, description=f"{name}: compared sample")
        pages = [(f"{n + 1} to {min(n + SHOWN, samples)}", n) for n in range(0, samples, SHOWN)]
        self.page = w.Dropdown(options=pages, description=f"{name}: samples shown")
        self.page.layout.display = None if samples > SHOWN else "none"
        self.sample.observe(calls.handler(changed), names="value")
        self.page.observe(calls.handler(self.show), names="value")
        self.panes = [look.Typeset() for _ in range(min(SHOWN, samples))]
        choices = look.row(look.above(self.sample), look.above(self.page))
        super().__init__([self.heading, look.row(*buttons), choices, self.marked, *self.panes])
        self.add_class("chatglm-card")
        self.add_class("chatglm-side")
        self.take(None, prompts=False)

    def take(self, cell: Cell | None, *, prompts: bool) -> None:
        """Show a cell, or nothing; ``prompts`` says that it takes the prompt to name it."""
        self.cell = cell
        self.layout.display = None if cell is not None else "none"
        if cell is not None:
            self.heading.value = look.heading(f"{self._name}: {title(cell, prompts=prompts)}", 4)
        self.show()

    def show(self) -> None:
        """Bring the samples up to the cell; each is drawn again only where it has changed."""
        first = self.page.value
        for place, pane in enumerate(self.panes):
            number = first + place
            if self.cell is None or number >= self._samples:
                key, html = None, ""
            else:
                draft = self.cell.drafts.get(number)
                length = len(draft.text) + len(draft.reasoning) + len(draft.notice) if draft else -1
                key = (self.cell, number, self.cell.turns[number], length)
                if self._keys.get(place) == key:
                    continue
                html = sample_html(self.cell, number)
            self._keys[place] = key
            pane.value = html

    @property
    def text(self) -> str:
        """The text of the sample that is compared."""
        return text_of(self.cell, self.sample.value) if self.cell is not None else ""

    def mark(self, html: str | None) -> None:
        """Show what differs in the compared sample, as safe HTML; None where nothing is compared."""
        self.sample.layout.display = None if html is not None and self._samples > 1 else "none"
        name = f'<div class="chatglm-label">Sample {self.sample.value + 1} (differences highlighted)</div>'
        self.marked.value = "" if html is None else f'{name}<div class="chatglm-marked">{html}</div>'
