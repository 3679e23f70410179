"""Widgets for a session, a sweep and a lens. They need ipywidgets, so each is imported on first use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ..errors import ChatGLMError
from ..session import Session, resolve_session

if TYPE_CHECKING:
    from ipywidgets import Box

    from ..lenses import Lens
    from ..sweeps import Sweep
    from .explorer import Explorer
    from .lens_box import LensBox
    from .panel_box import Panel
    from .viewer import HistoryViewer

B = TypeVar("B", bound="Box")


@contextmanager
def _explain_missing_ipywidgets() -> Iterator[None]:
    """Raise an error that says what to install if ipywidgets is missing, as it is from many notebooks' kernels."""
    try:
        yield
    except ImportError as error:
        if error.name != "ipywidgets":
            raise
        raise ChatGLMError("This needs ipywidgets: %pip install ipywidgets", kind="missing") from None


def _with_ordered_messages(box: B) -> B:
    from .order import preserve_message_order

    preserve_message_order(box)
    return box


@_explain_missing_ipywidgets()
def panel(session: Session | None = None) -> Panel:
    """Return a panel with sliders, a prompt and the conversation of a session, by default the current one.

    :raises ChatGLMError: if ipywidgets is missing, or ``session`` isn't a session.
    """
    from .panel_box import Panel

    return _with_ordered_messages(Panel(resolve_session(session)))


@_explain_missing_ipywidgets()
def history_viewer(session: Session | None = None) -> HistoryViewer:
    """Return a viewer of everything that a session, by default the current one, has stored.

    :raises ChatGLMError: if ipywidgets is missing, or ``session`` isn't a session.
    """
    from .viewer import HistoryViewer

    return _with_ordered_messages(HistoryViewer(resolve_session(session)))


@_explain_missing_ipywidgets()
def sweep_explorer(sweep: Sweep) -> Explorer:
    """Return a grid of a sweep's cells that fills as answers arrive."""
    from .explorer import Explorer

    return _with_ordered_messages(Explorer(sweep))


@_explain_missing_ipywidgets()
def lens_explorer(lens: Lens) -> LensBox:
    """Return an answer with the candidates at each of its tokens, and sliders that reshape them."""
    from .lens_box import LensBox

    return _with_ordered_messages(LensBox(lens))


__all__ = ["history_viewer", "lens_explorer", "panel", "sweep_explorer"]
