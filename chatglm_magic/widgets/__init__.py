"""Views over the session, of ipywidgets: imported on use, since they are not needed to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..session import Session, get_session

if TYPE_CHECKING:
    from .panel_box import Panel


def panel(session: Session | None = None) -> Panel:
    """Return a panel over a session, the present one unless another is given: sliders, prompt, answer, turns."""
    from .panel_box import Panel

    return Panel(session or get_session())


__all__ = ["panel"]
