"""The two sliders of a lens: they re-shape what is there, and send nothing."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ..look import button
from ..trouble import Trouble

Moved = Callable[[], None]

CSS = """
.chatglm-box .chatglm-parameter{display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:2px 10px;
 align-items:center;overflow:visible}
.chatglm-box .chatglm-parameter .widget-text{display:flex;width:auto;margin:0;height:28px}
.chatglm-box .chatglm-parameter .widget-text>.widget-label{flex:1 1 auto;width:auto;margin:0;text-align:left;
 line-height:28px;font-size:13px}
.chatglm-box .chatglm-parameter .widget-text>input{flex:0 0 6em;width:6em;height:28px;margin:0;
 box-sizing:border-box}
.chatglm-box .chatglm-parameter .widget-hslider{grid-column:1/-1;width:auto;height:24px;margin:0}
.chatglm-box .chatglm-parameter .chatglm-reset{font-size:0;min-width:28px;width:28px;padding:0}
.chatglm-box .chatglm-parameter .chatglm-reset::before{content:"\\21BA" / "";font-size:15px;vertical-align:middle}
.chatglm-box .chatglm-parameter .noUi-handle{background:var(--jp-brand-color1,#1976d2);border-color:transparent}
"""


class Shape(w.Box):  # type: ignore[misc]
    """One parameter: a number box that carries its name, a button back to what was asked, a slider.

    :param asked: the value that the answer was drawn with.
    :param most: the highest that can be typed; the slider ends at ``usual`` unless more is typed.
    """

    def __init__(self, name: str, asked: float, usual: float, most: float, trouble: Trouble, moved: Moved) -> None:
        most = max(most, asked)
        self._asked = asked
        self.number = w.BoundedFloatText(asked, min=0, max=most, step=0.05, description=name)
        self.slider = w.FloatSlider(asked, min=0, max=max(usual, asked), step=0.05, tooltip=name, readout=False)
        self.reset = button(f"Reset {name}", tooltip=f"Back to {asked:g}, what was asked")
        super().__init__([self.number, self.reset, self.slider])
        self.add_class("chatglm-parameter")
        self.reset.add_class("chatglm-reset")
        self._moved = moved
        for widget in (self.number, self.slider):
            widget.observe(trouble.guarded(lambda change: self.put(change["new"])), names="value")
        self.reset.on_click(trouble.guarded(lambda clicked: self.put(self._asked)))

    def switch_off(self) -> None:
        """Let nothing be changed."""
        for widget in (self.number, self.slider, self.reset):
            widget.disabled = True

    @property
    def value(self) -> float:
        """What is chosen."""
        return float(self.number.value)

    def put(self, value: float) -> None:
        """Show a value in both, and tell of it once."""
        told = self.number.value == value and self.slider.value == value
        self.slider.max = max(self.slider.max, value)  # a slider would clamp it, and say nothing
        for widget in (self.number, self.slider):
            if widget.value != value:
                widget.value = value
                return  # its own change comes here again, and goes on with the other
        if told:
            self._moved()
