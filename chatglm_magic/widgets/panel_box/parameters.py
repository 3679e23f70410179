"""Sliders for the sampling parameters, each with a number box, a reset button, and a way to leave it unset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ...session import Session
from ..look import button
from ..trouble import Trouble
from .handle import Handle

UNSET_CLASS = "chatglm-unset"

CSS = """
.chatglm-box .chatglm-parameter{display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:2px 10px;
 align-items:center;overflow:visible}
.chatglm-box .chatglm-parameter .widget-text{display:flex;width:auto;margin:0;height:28px}
.chatglm-box .chatglm-parameter .widget-text>.widget-label{flex:1 1 auto;width:auto;margin:0;text-align:left;
 line-height:28px;font-size:13px}
.chatglm-box .chatglm-parameter .widget-text>input{flex:0 0 6em;width:6em;height:28px;margin:0;
 box-sizing:border-box}
.chatglm-box .chatglm-parameter .widget-hslider{grid-column:1/-1;width:auto;height:24px;margin:0}
.chatglm-box .chatglm-parameter .chatglm-leave span{font-size:0;margin:0}
.chatglm-box .chatglm-parameter .chatglm-leave span::after{content:"unset" / "";font-size:12px;
 vertical-align:middle}
.chatglm-box .chatglm-parameter .chatglm-reset{font-size:0;min-width:28px;width:28px;padding:0}
.chatglm-box .chatglm-parameter .chatglm-reset::before{content:"\\21BA" / "";font-size:15px;vertical-align:middle}
.chatglm-box .chatglm-parameter .noUi-handle{background:var(--jp-brand-color1,#1976d2);border-color:transparent}
.chatglm-box .chatglm-parameter.chatglm-unset .widget-hslider,
.chatglm-box .chatglm-parameter.chatglm-unset input[type=number]{opacity:.45}
"""
"""A button and a box say in full what they are for; where this is in force, a sign and a word are seen of that."""


class ParameterRow(w.Box):  # type: ignore[misc]
    """One parameter: a number box named as the parameter is, a box to leave it unset, a reset button, a slider.

    The number box carries the name, because a slider's handle has none for a screen reader.
    """

    def __init__(
        self, session: Session, name: str, trouble: Trouble, number: Any, slider: Any, moved: Callable[[], None]
    ) -> None:
        self.unset = w.Checkbox(description=f"unset {name}", indent=False, tooltip="Leave it to the server")
        self.reset = button(f"Reset {name}", tooltip=f"Reset {name}")
        self.number, self.slider, self._moved = number, slider, moved
        self._handle = _Parameter(self, session, name, trouble)
        super().__init__([number, self.unset, self.reset, slider])
        self.add_class("chatglm-parameter")
        self.unset.add_class("chatglm-leave")
        self.reset.add_class("chatglm-reset")
        self._handle.follow()
        for widget in (number, slider):
            self._handle.hear(widget, self._wish)
        self._handle.hear(self.unset, lambda left: self._wish(None if left else self.number.value))
        self.reset.on_click(trouble.guarded(self._on_reset))

    def forget(self) -> None:
        """Stop following the settings."""
        self._handle.forget()

    def _wish(self, value: Any) -> None:
        self._handle.choose(value)
        self._moved()

    def _on_reset(self, clicked: Any) -> None:
        self._handle.session.default(self._handle.name)
        self._handle.narrow()
        self._moved()


class _Parameter(Handle):
    """What a row shows of its setting."""

    def __init__(self, row: ParameterRow, session: Session, name: str, trouble: Trouble) -> None:
        super().__init__(session, name, trouble, also=("endpoint_url", "dialect"))
        self._row, self._limits = row, (0.0, 0.0)

    def put(self, value: Any) -> None:
        """Show a value; the slider's range follows the server's, and widens for what lies beyond it."""
        row, limits = self._row, self.session.limits(self.name)
        shown = row.number.value if value is None else value
        if limits != self._limits:
            self._limits = limits
            self.narrow()
        for widget in (row.number, row.slider):  # a widget would clamp the value, and say nothing
            widget.max = max(widget.max, shown)
            if widget.value != shown:
                widget.value = shown
        unset = not self.is_sent(value)
        row.unset.value = unset
        (row.add_class if unset else row.remove_class)(UNSET_CLASS)

    def narrow(self) -> None:
        """Give the slider the server's range, as far as its value allows."""
        low, high = (type(self._row.slider.value)(limit) for limit in self._limits)
        self._row.slider.min, self._row.slider.max = low, max(high, self._row.slider.value)

    def is_sent(self, value: Any) -> bool:
        """Tell whether the value goes over the wire: an untouched default goes to ChatGLM's own protocol only."""
        settings = self.session.settings
        return value is not None and (settings.dialect_in_force == "chatglm" or self.name in settings.chosen)


def sampling_rows(session: Session, trouble: Trouble, moved: Callable[[], None]) -> list[ParameterRow]:
    """Return the rows of temperature (0 to 10), top_p (0 to 1) and max_token (tokens, from 1 on).

    :param moved: is called after each change that a person makes here.
    """
    slider = {"readout": False, "continuous_update": False}

    def made(name: str, number: Any, line: Any) -> ParameterRow:
        return ParameterRow(session, name, trouble, number, line, moved)

    return [
        made(
            "temperature",
            w.BoundedFloatText(0.1, min=0, max=10, step=0.05, description="temperature"),
            w.FloatSlider(0.1, min=0, max=2, step=0.05, tooltip="temperature", **slider),
        ),
        made(
            "top_p",
            w.BoundedFloatText(0.7, min=0, max=1, step=0.05, description="top_p"),
            w.FloatSlider(0.7, min=0, max=1, step=0.05, tooltip="top_p", **slider),
        ),
        made(
            "max_token",
            w.BoundedIntText(20000, min=1, max=1_000_000, description="max_token"),
            w.IntSlider(20000, min=1, max=20000, tooltip="max_token", **slider),
        ),
    ]
