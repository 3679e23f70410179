"""A real kernel, driven over its real messages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from jupyter_client.manager import KernelManager


@dataclass
class Ran:
    """What one run of a cell said: the messages in order, and the reply."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    reply: dict[str, Any] = field(default_factory=dict)

    def of(self, *kinds: str) -> list[dict[str, Any]]:
        return [m["content"] for m in self.messages if m["msg_type"] in kinds]

    @property
    def displays(self) -> list[str]:
        """The plain text of each display as a reader sees it: an update takes the place of its first frame.

        An update of what another cell shows is none of this cell's.
        """
        shown: dict[str, str] = {}
        for number, message in enumerate(self.messages):
            content = message["content"]
            key = content.get("transient", {}).get("display_id") or str(number)
            again = message["msg_type"] == "update_display_data"
            if message["msg_type"] in ("display_data", "execute_result") or (again and key in shown):
                shown[key] = content["data"]["text/plain"]
        return list(shown.values())

    @property
    def text(self) -> str:
        return "".join(content["text"] for content in self.of("stream"))

    @property
    def error(self) -> dict[str, Any] | None:
        return next(iter(self.of("error")), None)


class Kernel:
    """One kernel; ``run`` waits until it is idle again."""

    def __init__(self, **environment: str) -> None:
        import os

        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(env={**os.environ, **environment})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self._passed: list[dict[str, Any]] = []
        """What :meth:`until` heard on its way: a cell's first displays, for :meth:`wait`."""

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def send(self, code: str, cell_id: str | None = None, **options: Any) -> str:
        """Start a cell; return its message's id."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": True,  # as a front end that somebody watches
            "stop_on_error": True,
        }
        message = self.client.session.msg("execute_request", content | options)
        if cell_id:
            message["metadata"]["cellId"] = cell_id
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def wait_arrived(self) -> None:
        """Wait until what was sent has come to the kernel, by a round trip that the same I/O threads serve."""
        self.client.control_channel.send(self.client.session.msg("kernel_info_request", {}))
        self.client.control_channel.get_msg(timeout=30)

    def wait(self, message_id: str, seconds: float = 60.0) -> Ran:
        """Collect what a cell says until the kernel is idle again."""
        ran, end = Ran(), time.monotonic() + seconds
        while True:
            message = self._passed.pop(0) if self._passed else self._next(end)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            ran.messages.append(message)
        while ran.reply.get("parent_header", {}).get("msg_id") != message_id:
            ran.reply = self.client.get_shell_msg(timeout=max(0.1, end - time.monotonic()))
        return ran

    def run(self, code: str, cell_id: str | None = None, **options: Any) -> Ran:
        return self.wait(self.send(code, cell_id, **options))

    def until(self, kind: str, seconds: float = 30.0) -> dict[str, Any]:
        """Wait for a message of a kind; return its content."""
        end = time.monotonic() + seconds
        while True:
            message = self._next(end)
            self._passed.append(message)
            if message["msg_type"] == kind:
                content: dict[str, Any] = message["content"]
                return content

    def _next(self, end: float) -> dict[str, Any]:
        message: dict[str, Any] = self.client.get_iopub_msg(timeout=max(0.1, end - time.monotonic()))
        return message
