"""What ``%chatglm?`` shows: the help that ``--help`` prints, made when somebody asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Magic = TypeVar("Magic", bound=Callable[..., object])


def helped(text: Callable[[], str]) -> Callable[[Magic], Magic]:
    """Give a magic its help: IPython asks an object's ``getdoc`` before it looks at the docstring."""

    def give(magic: Magic) -> Magic:
        magic.getdoc = text  # type: ignore[attr-defined]
        return magic

    return give
