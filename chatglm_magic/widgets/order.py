"""Messages of a box's widgets are handled in the order in which the page sent them."""

from __future__ import annotations

from typing import Any

import ipywidgets as w


def keep_order(box: w.Box) -> None:
    """Have the messages of all widgets in a box, now and later, handled in one thread.

    JupyterLab sends the messages of all widgets to one subshell. ipykernel 7.4 moves each to the thread in which
    the kernel last sent something to that widget, so that a click may be handled before the text that was typed
    before it, or wait for a running cell. Nothing here waits for a page's reply, for which it does that.
    """

    def settle(widget: Any) -> None:
        comm: Any = getattr(widget, "comm", None)
        if hasattr(comm, "_reply_subshell_for"):
            comm._reply_subshell_for = None
        if isinstance(widget, w.Box):
            for child in widget.children:
                settle(child)
            widget.observe(settle_new, names="children")

    def settle_new(change: dict[str, Any]) -> None:
        for child in set(change["new"]) - set(change["old"]):
            settle(child)

    settle(box)
