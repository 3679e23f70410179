"""``ChatGLM`` and ``GLMChatModel``: LangChain models over the clients."""

from .chatglm import ChatGLM

__all__ = ["ChatGLM"]
