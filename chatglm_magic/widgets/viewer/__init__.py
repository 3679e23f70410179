"""The history viewer: conversations and their turns a page at a time."""

from .box import HistoryViewer

__all__ = ["HistoryViewer"]
