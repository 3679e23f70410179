"""Sliders for the sampling parameters, each with a number box, both handles on the session's settings."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import ipywidgets as w

from ..session import Session

BOX = {"description_width": "6.5em"}


class ParameterRow(w.HBox):  # type: ignore[misc]
    """One parameter: a number box, named as the parameter is, and a slider beside it.

    The box comes first and carries the name, because a slider's handle has none for a screen reader. Values
    are set by observers of our own: ``traitlets.link`` breaks across threads, and clamps in silence.
    """

    def __init__(self, session: Session, name: str, box: Any, slider: Any) -> None:
        self._session, self._name, self._box, self._slider = session, name, box, slider
        self._lock = threading.Lock()
        self._shower = 0
        self._note = w.Label("", layout=w.Layout(width="13em", margin="0 0 0 1em"))
        super().__init__([box, slider, self._note], layout=w.Layout(align_items="center"))
        self._show()
        session.settings.observe(self._from_settings, names=[name, "endpoint_url", "dialect"])
        box.observe(self._from_widget, names="value")
        slider.observe(self._from_widget, names="value")

    def forget(self) -> None:
        """Stop following the settings."""
        with suppress(ValueError):  # closed a second time
            self._session.settings.unobserve(self._from_settings, names=[self._name, "endpoint_url", "dialect"])

    def _from_widget(self, change: Any) -> None:
        # No lock is held while the settings change: another panel's row, in another thread, follows them too.
        if self._shower == threading.get_ident():
            return
        if getattr(self._session.settings, self._name) != change["new"]:
            setattr(self._session.settings, self._name, change["new"])

    def _from_settings(self, change: Any) -> None:
        self._show()

    def _show(self) -> None:
        value = getattr(self._session.settings, self._name)
        note = "" if self._is_sent(value) else "not set: server's default"
        with self._lock:
            self._shower = threading.get_ident()
            try:
                self._set(value)
            finally:
                self._shower = 0
            self._note.value = note

    def _set(self, value: Any) -> None:
        if value is None:
            return
        for widget in (self._box, self._slider):  # a widget would clamp the value, and say nothing
            widget.max = max(widget.max, value)
            if widget.value != value:
                widget.value = value

    def _is_sent(self, value: Any) -> bool:
        """Tell whether the value goes over the wire: an untouched default goes to ChatGLM's own protocol only."""
        settings = self._session.settings
        return value is not None and (settings.dialect_in_force == "chatglm" or self._name in settings.chosen)


def sampling_rows(session: Session) -> list[ParameterRow]:
    """Return the rows of temperature, top_p and max_token."""
    box = {"style": BOX, "layout": w.Layout(width="12em")}
    slider = {"readout": False, "continuous_update": False, "layout": w.Layout(flex="1 1 auto", min_width="8em")}
    return [
        ParameterRow(
            session,
            "temperature",
            w.BoundedFloatText(0.1, min=0, max=10, step=0.05, description="temperature", **box),
            w.FloatSlider(0.1, min=0, max=2, step=0.05, tooltip="temperature", **slider),
        ),
        ParameterRow(
            session,
            "top_p",
            w.BoundedFloatText(0.7, min=0, max=1, step=0.05, description="top_p", **box),
            w.FloatSlider(0.7, min=0, max=1, step=0.05, tooltip="top_p", **slider),
        ),
        ParameterRow(
            session,
            "max_token",
            w.BoundedIntText(20000, min=1, max=1_000_000, description="max_token", **box),
            w.IntSlider(20000, min=1, max=20000, tooltip="max_token", **slider),
        ),
    ]
