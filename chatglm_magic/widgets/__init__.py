"""Views over the session, of ipywidgets: imported on use, since they are not needed to ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ..errors import ChatGLMError
from ..session import Session, session_of

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
def _of_ipywidgets() -> Iterator[None]:
    """Say what to install where it is missing: it can be taken out, and notebooks' kernels often lack it."""
    try:
        yield
    except ImportError as error:
        if error.name != "ipywidgets":
            raise
        raise ChatGLMError("This needs ipywidgets: %pip install ipywidgets", kind="missing") from None


def _in_order(box: B) -> B:
    from .order import keep_order

    keep_order(box)
    return box


@_of_ipywidgets()
def panel(session: Session | None = None) -> Panel:
    """Return a panel over a session, the present one unless another is given: sliders, prompt, answer, turns.

    :raises ChatGLMError: where ipywidgets is missing, or for anything but a session.
    """
    from .panel_box import Panel

    return _in_order(Panel(session_of(session)))


@_of_ipywidgets()
def history_viewer(session: Session | None = None) -> HistoryViewer:
    """Return a viewer of all that a session, the present one unless another is given, has stored.

    :raises ChatGLMError: where ipywidgets is missing, or for anything but a session.
    """
    from .viewer import HistoryViewer

    return _in_order(HistoryViewer(session_of(session)))


@_of_ipywidgets()
def sweep_explorer(sweep: Sweep) -> Explorer:
    """Return a grid of a sweep's cells, which fills while answers come."""
    from .explorer import Explorer

    return _in_order(Explorer(sweep))


@_of_ipywidgets()
def lens_explorer(lens: Lens) -> LensBox:
    """Return an answer with the candidates of each of its tokens, and sliders that re-shape them."""
    from .lens_box import LensBox

    return _in_order(LensBox(lens))


__all__ = ["history_viewer", "lens_explorer", "panel", "sweep_explorer"]
