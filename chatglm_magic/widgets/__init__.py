"""Views over the session, of ipywidgets: imported on use, since they are not needed to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..session import Session, get_session

if TYPE_CHECKING:
    from ..lenses import Lens
    from ..sweeps import Sweep
    from .explorer import Explorer
    from .lens_box import LensBox
    from .panel_box import Panel
    from .viewer import HistoryViewer


def panel(session: Session | None = None) -> Panel:
    """Return a panel over a session, the present one unless another is given: sliders, prompt, answer, turns."""
    from .panel_box import Panel

    return Panel(session or get_session())


def history_viewer(session: Session | None = None) -> HistoryViewer:
    """Return a viewer of all that a session, the present one unless another is given, has stored."""
    from .viewer import HistoryViewer

    return HistoryViewer(session or get_session())


def explorer(sweep: Sweep) -> Explorer:
    """Return a grid of a sweep's cells, which fills while answers come."""
    from .explorer import Explorer

    return Explorer(sweep)


def lens_box(lens: Lens) -> LensBox:
    """Return an answer with the candidates of each of its tokens, and sliders that re-shape them."""
    from .lens_box import LensBox

    return LensBox(lens)


__all__ = ["explorer", "history_viewer", "lens_box", "panel"]
