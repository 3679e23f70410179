"""The two sliders of a lens: they re-shape what is there, and send nothing."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ..look import button
from ..panel_box.parameters import CSS as CSS  # a parameter looks alike wherever it stands
from ..trouble import Trouble

Moved = Callable[[], None]


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
