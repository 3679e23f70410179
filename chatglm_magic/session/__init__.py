"""The session: one ``ChatGLM``, its parameters, its conversation, and the one path of a question."""

from .session import Session, get_session

__all__ = ["Session", "get_session"]
