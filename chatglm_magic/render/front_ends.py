"""What shows a cell's outputs: a terminal, a notebook's page, or a program, and what reaches a reader there."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

CONSOLE_COMMANDS = ("jupyter-console", "jupyter_console", "jupyter console", "qtconsole")
"""Front ends that start a kernel of their own and ignore ``update_display_data``, as their commands name them."""


def current_shell() -> Any:
    """Return the running IPython shell; None where there is none, or IPython was never imported."""
    core = sys.modules.get("IPython.core.getipython")
    return core.get_ipython() if core else None


def in_notebook(shell: Any) -> bool:
    """Tell whether a shell is a kernel's; in a terminal each update would print another copy."""
    return hasattr(shell, "kernel")


def has_front_end(shell: Any) -> bool:
    """Tell whether somebody watches the cells of a kernel, so that widgets can be used after the cell has ended.

    nbclient, and with it nbconvert, papermill and Voilà, and nbval send cells that may not ask for input.
    """
    if not in_notebook(shell):
        return False
    content = (shell.get_parent() or {}).get("content", {})
    return bool(content.get("allow_stdin", True))


def can_update_display(shell: Any) -> bool:
    """Tell whether what a cell of this kernel displays can be replaced later.

    Not where outputs are captured (``%%capture``), inside an ``ipywidgets.Output`` (``interact`` has one), or in a
    console: they show the first frame alone.
    """
    return not (captured_outputs(shell) is not None or _in_output_widget(shell) or in_console())


def captured_outputs(shell: Any) -> list[dict[str, Any]] | None:
    """Return the outputs that are being captured, as far as they have come; None where none are."""
    capturing = getattr(sys.modules.get("IPython.core.displaypub"), "CapturingDisplayPublisher", ())
    return shell.display_pub.outputs if isinstance(shell.display_pub, capturing) else None


def _in_output_widget(shell: Any) -> bool:
    """Tell whether a widget takes what the running cell displays: it names that cell's message."""
    widgets = sys.modules.get("ipywidgets.widgets.widget")
    running = (shell.get_parent() or {}).get("header", {}).get("msg_id")
    if widgets is None or not running:
        return False
    return any(getattr(one, "msg_id", None) == running for one in tuple(widgets._instances.values()))


def in_console() -> bool:
    """Tell whether a kernel is ``jupyter console``'s or QtConsole's: they ignore updates, and show a stream."""
    return _is_console(os.getppid())


@cache
def _is_console(parent: int) -> bool:
    """Tell whether a kernel's parent process is a console; the protocol doesn't tell which front end it is."""
    psutil = sys.modules.get("psutil")  # ipykernel has imported it
    if psutil is None:
        return False
    try:
        words = " ".join(psutil.Process(parent).cmdline()[:3])
    except (psutil.Error, OSError):
        return False
    return any(name in words for name in CONSOLE_COMMANDS)


def is_final() -> bool:
    """Tell whether each output must be complete in its first frame (``CHATGLM_MAGIC_RENDER=final``, for nbval)."""
    return os.environ.get("CHATGLM_MAGIC_RENDER") == "final"
