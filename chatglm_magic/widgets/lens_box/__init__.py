"""The lens as widgets: an answer's tokens, their candidates, and sliders that send nothing."""

from .box import LensBox

__all__ = ["LensBox"]
