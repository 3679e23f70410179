"""The lens: the answer's tokens, two sliders, and the candidates of one position; no request is sent."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from ...lenses import Lens
from ...lenses.lens import UNKNOWN
from ...lenses.report import candidates, caption, heading, html, legend, prose, text
from ...render.outer import html_output
from ...render.text import one_line
from ...session import get_session
from .. import look
from ..still import CSS as STILL
from ..still import StaticFallback
from ..trouble import ErrorReporter, StatusWidget
from .view import CSS as VIEW
from .view import View

TEXT = "chatglm lens: run its cell in a notebook to move the sliders."

CSS = f"""
.chatglm-lens{{width:100%;min-width:0;padding:3px}}
.chatglm-lens .chatglm-position{{justify-content:space-between;max-width:52em}}
.chatglm-lens .chatglm-candidates{{min-height:22em}}
.chatglm-lens .chatglm-candidates table{{border-collapse:separate;border-spacing:2px;font-size:13px;
 font-variant-numeric:tabular-nums}}
.chatglm-lens .chatglm-candidates :is(th,td){{padding:1px 8px;font-weight:400}}
.chatglm-lens .chatglm-candidates th[scope=row]{{overflow:hidden;text-overflow:ellipsis}}
{look.FALLBACK}{STILL}{VIEW}"""


class LensBox(w.VBox):  # type: ignore[misc]
    """An answer seen through its probabilities.

    ``view`` has the tokens and the sliders; ``where`` and ``candidates`` show the position that is looked at: the
    one under the pointer, else the one that was chosen.
    """

    def __init__(self, lens: Lens) -> None:
        self._lens, self._draws = lens, 0
        self.status = StatusWidget()
        reporter = ErrorReporter(get_session(), self.status)
        fixed = lens.logprobs_kind == "unknown"
        self.view = View(lens, fixed=fixed)
        self.earlier, self.later = look.button("Previous token"), look.button("Next token")
        self.earlier.on_click(reporter.guard(lambda clicked: self.look_at(self.index - 1)))
        self.later.on_click(reporter.guard(lambda clicked: self.look_at(self.index + 1)))
        self.where, self.candidates = look.Html(), look.with_class(look.Html(), "chatglm-candidates")
        self._reshape()
        self.view.index = self._widest()
        self._draw()
        self.view.observe(reporter.guard(lambda change: self._move()), names=["temperature", "top_p"])
        self.view.observe(reporter.guard(lambda change: self._choose()), names="index")
        self.view.observe(reporter.guard(lambda change: self._draw()), names="pointed")
        self._plain = w.VBox([look.Html(prose(lens)), *self._plain_sliders(reporter)])
        self._body = look.column(self.view, look.with_class(self._plain, "chatglm-fallback"))
        self.view.observe(reporter.guard(lambda change: self._drop()), names="ready")
        hint = f"The sliders are off: {UNKNOWN}" if fixed else "The sliders send nothing."
        head = look.heading_html(one_line(lens.turn.prompt, 300)) + look.small_html(f"{caption(lens)}. {hint}")
        super().__init__(
            [
                look.style_sheet(CSS, "chatglm-lens", "chatglm-view"),
                look.Html(head),
                self._body,
                look.Html(legend()),
                look.with_class(look.row(self.where, look.row(self.earlier, self.later)), "chatglm-position"),
                self.candidates,
                self.status,
            ]
        )
        self.add_class("chatglm-box")
        self.add_class("chatglm-lens")

    @property
    def index(self) -> int:
        """The position that is chosen, from 0."""
        return int(self.view.index)

    def look_at(self, index: int) -> None:
        """Choose a position, from 0."""
        self.view.index = index

    def close(self) -> None:
        """Close every part; their states would else be saved as long as the kernel lives."""
        for child in self.children:
            look.close_all(child)
        self.layout.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Stand for the box where widgets can't be shown."""
        return {**(super()._repr_mimebundle_(**kwargs) or {}), **html_output(TEXT, f"<p>{TEXT}</p>")}

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Show the box, and beneath it an output that stays where there is no kernel."""
        StaticFallback().publish_below(self, text(self._lens), html(self._lens))

    def _move(self) -> None:
        self._reshape()
        self._draw()

    def _choose(self) -> None:
        if self.view.pointed >= 0:
            self.view.pointed = -1  # which draws what was chosen last, wherever the pointer rests
        else:
            self._draw()

    def _reshape(self) -> None:
        settings = () if self.view.fixed else (self.view.temperature, self.view.top_p)
        self._found = self._lens.reshape(*settings)
        self.view.mark(self._found)

    def _draw(self) -> None:
        """Show the position that is looked at; if an observer moves to another one, only that is drawn."""
        self._draws += 1
        number = self._draws
        shown = self.view.pointed if self.view.pointed >= 0 else self.index
        pair = self._lens.at(shown), self._found[shown]
        for widget, name, value in (
            (self.earlier, "disabled", self.index == 0),
            (self.later, "disabled", self.index == len(self._lens) - 1),
            (self.where, "value", heading(*pair)),
            (self.candidates, "value", candidates(*pair)),
        ):
            if number == self._draws:
                setattr(widget, name, value)

    def _plain_sliders(self, reporter: ErrorReporter) -> list[w.FloatSlider]:
        """Return sliders for pages that can't show the view."""
        made = []
        for slider in self.view.sliders:
            limits = {"min": 0.0, "max": slider["usual"], "step": slider["step"], "disabled": self.view.fixed}
            made.append(w.FloatSlider(getattr(self.view, slider["name"]), description=slider["name"], **limits))
            move = reporter.guard(lambda change: self.view.set_trait(change["owner"].description, change["new"]))
            made[-1].observe(move, names="value")
        return made

    def _drop(self) -> None:
        """Close what stands in for the view, now that a page shows it."""
        self._body.children = (self.view,)
        look.close_all(self._plain)

    def _widest(self) -> int:
        """Return the position where there was most to choose from."""
        places = range(min(self._lens.answer_start, len(self._lens) - 1), len(self._lens))
        return max(places, key=lambda n: self._found[n].entropy.high)
