"""The lens: an answer's tokens, two sliders, and the candidates at one position. It never sends a request."""

from __future__ import annotations

from typing import Any

import ipywidgets as w

from ...lenses import Lens
from ...lenses.lens import UNKNOWN_KIND
from ...lenses.report import (
    answer_prose_html,
    candidates_html,
    caption,
    legend_html,
    lens_html,
    lens_text,
    position_heading,
)
from ...render.outer import html_output
from ...render.text import one_line
from ...session import get_session
from .. import look
from ..still import CSS as STILL
from ..still import StaticFallback
from ..trouble import ErrorReporter, StatusWidget
from .view import CSS as VIEW
from .view import LensView

FALLBACK_TEXT = "chatglm lens: run its cell in a notebook to move the sliders."

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
    """An answer with the probabilities of its tokens.

    ``view`` has the tokens and the sliders. ``heading`` and ``candidates`` describe the position under the
    pointer, or else the selected one.
    """

    def __init__(self, lens: Lens) -> None:
        self._lens, self._draw_number = lens, 0
        self.status = StatusWidget()
        reporter = ErrorReporter(get_session(), self.status)
        fixed = lens.logprobs_kind == "unknown"
        self.view = LensView(lens, fixed=fixed)
        self.previous, self.next = look.button("Previous token"), look.button("Next token")
        self.previous.on_click(reporter.guard(lambda clicked: self.select_position(self.index - 1)))
        self.next.on_click(reporter.guard(lambda clicked: self.select_position(self.index + 1)))
        self.heading, self.candidates = look.Html(), look.with_class(look.Html(), "chatglm-candidates")
        self._reshape()
        self.view.index = self._most_open_position()
        self._draw()
        self.view.observe(reporter.guard(lambda change: self._on_slider()), names=["temperature", "top_p"])
        self.view.observe(reporter.guard(lambda change: self._on_selection()), names="index")
        self.view.observe(reporter.guard(lambda change: self._draw()), names="pointed")
        self._fallback = w.VBox([look.Html(answer_prose_html(lens)), *self._fallback_sliders(reporter)])
        self._body = look.column(self.view, look.with_class(self._fallback, "chatglm-fallback"))
        self.view.observe(reporter.guard(lambda change: self._remove_fallback()), names="ready")
        hint = f"The sliders are off: {UNKNOWN_KIND}" if fixed else "The sliders send nothing."
        head = look.heading_html(one_line(lens.turn.prompt, 300)) + look.small_html(f"{caption(lens)}. {hint}")
        super().__init__(
            [
                look.style_sheet(CSS, "chatglm-lens", "chatglm-view"),
                look.Html(head),
                self._body,
                look.Html(legend_html()),
                look.with_class(look.row(self.heading, look.row(self.previous, self.next)), "chatglm-position"),
                self.candidates,
                self.status,
            ]
        )
        self.add_class("chatglm-box")
        self.add_class("chatglm-lens")

    @property
    def index(self) -> int:
        """The selected position, from 0."""
        return int(self.view.index)

    def select_position(self, index: int) -> None:
        """Select a position, from 0."""
        self.view.index = index

    def close(self) -> None:
        """Close every part, whose state would otherwise be saved as long as the kernel lives."""
        for child in self.children:
            look.close_all(child)
        self.layout.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Return the MIME bundle, with a text for front ends that can't display widgets."""
        return {
            **(super()._repr_mimebundle_(**kwargs) or {}),
            **html_output(FALLBACK_TEXT, f"<p>{FALLBACK_TEXT}</p>"),
        }

    def _ipython_display_(self, **kwargs: Any) -> None:
        """Display the box, and below it a static copy for readers without a kernel."""
        StaticFallback().publish_below(self, lens_text(self._lens), lens_html(self._lens))

    def _on_slider(self) -> None:
        self._reshape()
        self._draw()

    def _on_selection(self) -> None:
        if self.view.pointed >= 0:
            self.view.pointed = -1  # draws the selected position, wherever the pointer is
        else:
            self._draw()

    def _reshape(self) -> None:
        values = () if self.view.fixed else (self.view.temperature, self.view.top_p)
        self._distributions = self._lens.reshape(*values)
        self.view.mark(self._distributions)

    def _draw(self) -> None:
        """Draw the displayed position; if an observer selects another one meanwhile, draw only that."""
        self._draw_number += 1
        number = self._draw_number
        index = self.view.pointed if self.view.pointed >= 0 else self.index
        pair = self._lens.at(index), self._distributions[index]
        for widget, name, value in (
            (self.previous, "disabled", self.index == 0),
            (self.next, "disabled", self.index == len(self._lens) - 1),
            (self.heading, "value", position_heading(*pair)),
            (self.candidates, "value", candidates_html(*pair)),
        ):
            if number == self._draw_number:
                setattr(widget, name, value)

    def _fallback_sliders(self, reporter: ErrorReporter) -> list[w.FloatSlider]:
        """Return sliders for pages that can't display the view."""
        sliders = []
        for slider in self.view.sliders:
            limits = {"min": 0.0, "max": slider["usual"], "step": slider["step"], "disabled": self.view.fixed}
            widget = w.FloatSlider(getattr(self.view, slider["name"]), description=slider["name"], **limits)
            move = reporter.guard(lambda change: self.view.set_trait(change["owner"].description, change["new"]))
            widget.observe(move, names="value")
            sliders.append(widget)
        return sliders

    def _remove_fallback(self) -> None:
        """Close the fallback, now that a page displays the view."""
        self._body.children = (self.view,)
        look.close_all(self._fallback)

    def _most_open_position(self) -> int:
        """Return the position with the highest entropy."""
        positions = range(min(self._lens.answer_start, len(self._lens) - 1), len(self._lens))
        return max(positions, key=lambda n: self._distributions[n].entropy.high)
