"""Sliders for the sampling parameters, each with a number box, a reset button, and a way to leave it unset."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ipywidgets as w

from ...parameters import PARAMETERS, Group, Parameter, names
from ...session import Session
from ..look import button
from ..trouble import Trouble
from .handle import Handle

UNSET_CLASS = "chatglm-unset"

MOST = 1_000_000
"""What a number box takes of a parameter without a maximum."""

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
.chatglm-box .chatglm-more>.jupyter-button{align-self:flex-start;width:auto;max-width:100%}
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
            widget.min, widget.max = min(widget.min, shown), max(widget.max, shown)
            if widget.value != shown:
                widget.value = shown
        unset = not self.is_sent(value)
        row.unset.value = unset
        (row.add_class if unset else row.remove_class)(UNSET_CLASS)

    def narrow(self) -> None:
        """Give the slider the server's range, as far as its value allows."""
        slider = self._row.slider
        low, high = (type(slider.value)(limit) for limit in self._limits)
        slider.min, slider.max = min(low, slider.value), max(high, slider.value)

    def is_sent(self, value: Any) -> bool:
        """Tell whether the value goes over the wire: an untouched default goes to ChatGLM's own protocol only."""
        settings = self.session.settings
        return value is not None and (settings.dialect_in_force == "chatglm" or self.name in settings.chosen)


class MoreSampling(w.VBox):  # type: ignore[misc]
    """The rows of the rarer sampling parameters, behind a button that names those that are set.

    They are made when they are first shown: most panels never need them.
    """

    def __init__(self, session: Session, trouble: Trouble, moved: Callable[[], None]) -> None:
        self._session, self._trouble, self._moved = session, trouble, moved
        self.rows: list[ParameterRow] = []
        self._is_open = False
        self.toggle = button("")
        super().__init__([self.toggle])
        self.add_class("chatglm-column")
        self.add_class("chatglm-more")
        self._observer = trouble.guarded(lambda change: self._update_title())
        session.settings.observe(self._observer, names=list(names("more")))
        self.toggle.on_click(trouble.guarded(lambda clicked: self._fold()))
        self._update_title()

    def forget(self) -> None:
        """Stop following the settings."""
        with suppress(ValueError):  # forgotten already
            self._session.settings.unobserve(self._observer, names=list(names("more")))
        for row in self.rows:
            row.forget()

    def _fold(self) -> None:
        self.rows = self.rows or parameter_rows("more", self._session, self._trouble, self._moved)
        self._is_open = not self._is_open
        self.children = (self.toggle, *self.rows) if self._is_open else (self.toggle,)
        self._update_title()

    def _update_title(self) -> None:
        settings = self._session.settings
        values = [(name, getattr(settings, name)) for name in names("more")]
        told = ", ".join(f"{name} {value:g}" for name, value in values if value is not None)
        title = "Hide more sampling" if self._is_open else "More sampling"
        self.toggle.description = title + (f": {told}" if told else "")


def parameter_rows(
    group: Group, session: Session, trouble: Trouble, moved: Callable[[], None]
) -> list[ParameterRow]:
    """Return a row for each number of a group of the table.

    :param moved: is called after each change that a person makes here.
    """
    return [
        ParameterRow(session, name, trouble, *_number_and_slider(PARAMETERS[name]), moved) for name in names(group)
    ]


def _number_and_slider(row: Parameter) -> tuple[Any, Any]:
    assert row.slider is not None, "a parameter with a row has a slider"
    low, high, step = row.slider
    start = row.neutral if row.default is None else row.default
    box, line = (w.BoundedFloatText, w.FloatSlider) if row.type is float else (w.BoundedIntText, w.IntSlider)
    most = MOST if row.maximum is None else row.maximum
    number = box(start, min=row.minimum, max=most, step=step, description=row.name)
    return number, line(
        start, min=low, max=high, step=step, tooltip=row.name, readout=False, continuous_update=False
    )
