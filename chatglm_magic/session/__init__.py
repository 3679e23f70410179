"""The session: one ``ChatGLM``, its parameters and its conversation; every prompt goes through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .session import Session, get_session, resolve_session

if TYPE_CHECKING:
    from ..client.probe import ProbeResult as ProbeResult  # not at run time: its module imports requests

__all__ = ["Session", "get_session", "resolve_session"]
