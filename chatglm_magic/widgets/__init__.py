"""Views over the session, of ipywidgets: imported on use, since they are not needed to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..session import Session, get_session

if TYPE_CHECKING:
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


__all__ = ["history_viewer", "panel"]
