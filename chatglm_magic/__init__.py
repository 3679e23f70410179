"""GLM models in notebooks: ``%load_ext chatglm_magic``, then ``%chatglm PROMPT``.

Names are imported on use, so that loading the extension takes a few hundredths of a second.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import errors
    from .exploring import lens, sweep
    from .lenses import Lens
    from .llm import ChatGLM
    from .llm.chat_model import GLMChatModel
    from .local import LocalServer
    from .session import Session, get_session
    from .sweeps import Sweep
    from .values import Answer, Turn
    from .widgets import history_viewer, panel

__all__ = [
    "Answer",
    "ChatGLM",
    "GLMChatModel",
    "Lens",
    "LocalServer",
    "Session",
    "Sweep",
    "Turn",
    "__version__",
    "errors",
    "get_session",
    "history_viewer",
    "lens",
    "load_ipython_extension",
    "panel",
    "sweep",
    "unload_ipython_extension",
]

_MODULES = {
    "Answer": ".values",
    "ChatGLM": ".llm",
    "GLMChatModel": ".llm.chat_model",
    "Lens": ".lenses",
    "LocalServer": ".local",
    "Session": ".session",
    "Sweep": ".sweeps",
    "Turn": ".values",
    "get_session": ".session",
    "history_viewer": ".widgets",
    "lens": ".exploring",
    "panel": ".widgets",
    "sweep": ".exploring",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name], __name__), name)
    if name == "errors":
        return importlib.import_module(".errors", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(shell: Any) -> None:
    """Register the magics; called by ``%load_ext chatglm_magic``."""
    from .magics.extension import load_extension

    load_extension(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Undo everything that loading did; called by ``%unload_ext`` and ``%reload_ext``."""
    from .magics.extension import unload_extension

    unload_extension(shell)
