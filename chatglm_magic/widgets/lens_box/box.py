"""The lens: the answer's tokens, two sliders, and the candidates of one token; nothing is asked again."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from ...lenses import Lens
from ...lenses.lens import UNKNOWN
from ...lenses.report import bars, caption, html, text
from ...render.outer import output
from ...render.text import one_line
from ...session import get_session
from .. import look
from ..still import CSS as STILL
from ..still import Still
from ..trouble import Status, Trouble
from . import shape
from .shape import Shape
from .strip import Strip
from .style import CSS

HINT = "The higher the mark under a token, the more there was to choose from. The sliders send nothing."
TEXT = "chatglm lens: run its cell in a notebook to move the sliders."


class LensBox(w.VBox):  # type: ignore[misc]
    """An answer seen through its probabilities."""

    def __init__(self, lens: Lens) -> None:
        self._lens, self._index = lens, -1
        self.status = Status()
        trouble = Trouble(get_session(), self.status)
        asked = 1.0 if lens.temperature is None else lens.temperature
        top_p = 1.0 if lens.top_p is None else lens.top_p
        self.temperature = Shape("temperature", asked, 2.0, 10.0, trouble, self._reshape)
        self.top_p = Shape("top_p", top_p, 1.0, 1.0, trouble, self._reshape)
        self.fixed = lens.logprobs_kind == "unknown"
        if self.fixed:
            for row in (self.temperature, self.top_p):
                row.switch_off()
        self.strip = Strip(lens, trouble, self.look_at)
        self.earlier, self.later = look.button("Previous token"), look.button("Next token")
        self.earlier.on_click(trouble.guarded(lambda clicked: self.look_at(self._index - 1)))
        self.later.on_click(trouble.guarded(lambda clicked: self.look_at(self._index + 1)))
        self.bars = look.Html()
        self.bars.add_class("chatglm-bars")
        hint = f"The sliders are off: {UNKNOWN}" if self.fixed else HINT
        head = look.heading(one_line(lens.turn.prompt, 300)) + look.small(f"{caption(lens)}. {hint}")
        super().__init__(
            [
                look.style_sheet(shape.CSS + STILL + CSS),
                look.Html(head),
                look.classed(w.Box([self.temperature, self.top_p]), "chatglm-shape"),
                self.strip,
                look.row(self.earlier, self.later),
                self.bars,
                self.status,
            ]
        )
        self.add_class("chatglm-box")
        self.add_class("chatglm-lens")
        self._reshape()
        self.look_at(self._widest())

    @property
    def index(self) -> int:
        """The place that is looked at."""
        return self._index

    def look_at(self, index: int) -> None:
        """Look at the token of a place."""
        self._index = max(0, min(index, len(self._lens) - 1))
        self.strip.reveal(self._index)
        self.strip.look_at(self._index)
        self.earlier.disabled, self.later.disabled = self._index == 0, self._index == len(self._lens) - 1
        self._draw()

    def close(self) -> None:
        """Close every part; their states would else be saved as long as the kernel lives."""
        for child in self.children:
            look.close_all(child)
        self.layout.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Stand for the box where widgets can't be shown."""
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **output(TEXT, f"<p>{TEXT}</p>")}

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Show the box, and beneath it an output that stays where there is no kernel."""
        Still().publish_beneath(self, text(self._lens), html(self._lens))

    def _reshape(self) -> None:
        settings = () if self.fixed else (self.temperature.value, self.top_p.value)
        self._found = self._lens.reshape(*settings)
        self.strip.mark(self._found)
        if self._index >= 0:
            self._draw()

    def _draw(self) -> None:
        self.bars.value = bars(self._lens.at(self._index), self._found[self._index])

    def _widest(self) -> int:
        """Return the place where there was most to choose from."""
        places = range(min(self._lens.answer_start, len(self._lens) - 1), len(self._lens))
        return max(places, key=lambda n: self._found[n].entropy.high)
