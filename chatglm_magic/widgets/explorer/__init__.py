"""The explorer: a sweep's cells as a grid that fills, its samples, and one cell beside another."""

from .box import Explorer

__all__ = ["Explorer"]
