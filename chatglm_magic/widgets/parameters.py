"""Sliders for the sampling parameters, each with a number box, both handles on the session's settings."""

from __future__ import annotations

import threading
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
        self._lock = threading.RLock()
        self._note = w.Label("", layout=w.Layout(width="12em"))
        super().__init__([box, slider, self._note], layout=w.Layout(align_items="center"))
        self._show()
        session.settings.observe(self._from_settings, names=[name, "endpoint_url", "dialect"])
        box.observe(self._from_widget, names="value")
        slider.observe(self._from_widget, names="value")

    def forget(self) -> None:
        """Stop following the settings."""
        self._session.settings.unobserve(self._from_settings, names=[self._name, "endpoint_url", "dialect"])

    def _from_widget(self, change: Any) -> None:
        with self._lock:
            if getattr(self._session.settings, self._name) != change["new"]:
                setattr(self._session.settings, self._name, change["new"])

    def _from_settings(self, change: Any) -> None:
        with self._lock:
            self._show()

    def _show(self) -> None:
        value = getattr(self._session.settings, self._name)
        if value is not None:
            if value > self._slider.max:  # a slider would clamp the value, and say nothing
                self._slider.max = value
            for widget in (self._box, self._slider):
                if widget.value != value:
                    widget.value = value
        self._note.value = "" if self._is_sent(value) else "not set: server's default"

    def _is_sent(self, value: Any) -> bool:
        """Tell whether the value goes over the wire: an untouched default goes to ChatGLM's own protocol only."""
        own_protocol = self._session.llm.plan("").dialect == "chatglm"
        return value is not None and (own_protocol or self._name in self._session.settings.chosen)


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
