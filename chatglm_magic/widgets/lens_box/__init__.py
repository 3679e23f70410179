"""The lens as widgets: an answer's tokens, the candidates at each, and sliders that reshape them."""

from .box import LensBox

__all__ = ["LensBox"]
