"""``ChatGLM``, the LangChain face."""

from .chatglm import ChatGLM

__all__ = ["ChatGLM"]
