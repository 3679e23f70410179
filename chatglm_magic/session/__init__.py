"""The session: one ``ChatGLM``, its parameters, its conversation, and the one path of a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .session import Session, get_session, resolve_session

if TYPE_CHECKING:
    from ..client.probe import Finding as Finding  # what Session.probe returns; its module imports requests

__all__ = ["Session", "get_session", "resolve_session"]
