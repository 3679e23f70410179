"""Handle the messages of a widget's parts in the order in which the page sent them."""

from __future__ import annotations

from typing import Any

import ipywidgets as w


def preserve_message_order(box: w.Box) -> None:
    """Handle the messages of all current and future widgets in a box in one thread.

    JupyterLab sends the messages of all widgets to one subshell. ipykernel 7.4 moves each to the thread in which
    the kernel last sent something to that widget, so a click may be handled before text that was typed earlier,
    or wait for a running cell. That serves code which waits for a page's reply; these widgets never do.
    """

    def pin_to_thread(widget: Any) -> None:
        comm: Any = getattr(widget, "comm", None)
        if hasattr(comm, "_reply_subshell_for"):
            comm._reply_subshell_for = None
        if isinstance(widget, w.Box):
            for child in widget.children:
                pin_to_thread(child)
            widget.observe(pin_new_children, names="children")

    def pin_new_children(change: dict[str, Any]) -> None:
        for child in set(change["new"]) - set(change["old"]):
            pin_to_thread(child)

    pin_to_thread(box)
