"""The explorer: a sweep's cells as a grid that fills, their samples, and a comparison of two cells."""

from .box import Explorer

__all__ = ["Explorer"]
