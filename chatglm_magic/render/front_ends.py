"""What displays a cell's output (terminal, notebook or program), and whether updates reach a reader."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

CONSOLE_COMMANDS = ("jupyter-console", "jupyter_console", "jupyter console", "qtconsole")
"""Commands of front ends that start their own kernel and ignore ``update_display_data``."""


def current_shell() -> Any:
    """Return the running IPython shell; None if there is none, or IPython was never imported."""
    core = sys.modules.get("IPython.core.getipython")
    return core.get_ipython() if core else None


def in_notebook(shell: Any) -> bool:
    """Return whether a shell is a kernel's; in a terminal each update would print another copy."""
    return hasattr(shell, "kernel")


def has_front_end(shell: Any) -> bool:
    """Return whether a front end shows the cells of a kernel, so that widgets can be used after the cell.

    nbclient, and with it nbconvert, papermill and Voilà, and nbval send cells that may not ask for input.
    """
    if not in_notebook(shell):
        return False
    content = (shell.get_parent() or {}).get("content", {})
    return bool(content.get("allow_stdin", True))


def can_update_display(shell: Any) -> bool:
    """Return whether an output of the running cell can be updated later.

    It can't if outputs are captured (``%%capture``), inside an ``ipywidgets.Output`` (``interact`` has one), or in
    a console: only the first frame is shown.
    """
    return not (captured_outputs(shell) is not None or _in_output_widget(shell) or in_console())


def captured_outputs(shell: Any) -> list[dict[str, Any]] | None:
    """Return the outputs captured so far; None if outputs aren't captured."""
    capturing = getattr(sys.modules.get("IPython.core.displaypub"), "CapturingDisplayPublisher", ())
    return shell.display_pub.outputs if isinstance(shell.display_pub, capturing) else None


def _in_output_widget(shell: Any) -> bool:
    """Return whether a widget captures what the running cell displays: it has the cell's message id."""
    widgets = sys.modules.get("ipywidgets.widgets.widget")
    running = (shell.get_parent() or {}).get("header", {}).get("msg_id")
    if widgets is None or not running:
        return False
    return any(getattr(widget, "msg_id", None) == running for widget in tuple(widgets._instances.values()))


def in_console() -> bool:
    """Return whether the kernel belongs to ``jupyter console`` or QtConsole, which ignore updates."""
    return _is_console(os.getppid())


@cache
def _is_console(parent: int) -> bool:
    """Return whether the kernel's parent process is a console; the protocol doesn't name the front end."""
    psutil = sys.modules.get("psutil")  # ipykernel has imported it
    if psutil is None:
        return False
    try:
        words = " ".join(psutil.Process(parent).cmdline()[:3])
    except (psutil.Error, OSError):
        return False
    return any(name in words for name in CONSOLE_COMMANDS)


def is_final() -> bool:
    """Return whether outputs are only displayed when complete (``CHATGLM_MAGIC_RENDER=final``, for nbval)."""
    return os.environ.get("CHATGLM_MAGIC_RENDER") == "final"
