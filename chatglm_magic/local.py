"""The local server, started, watched and ended from a kernel.

The server is a process of its own session, so that an interrupted cell leaves it alone. It ends when its
standard input does: that pipe closes with the kernel, however the kernel ends. See `server/managed.py` for
the lines it writes.
"""

from __future__ import annotations

import os
import queue
import secrets
import threading
import time
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from .errors import ServeError
from .server.child import ManagedServer

Progress = Callable[[dict[str, Any]], object]
_EXTRA = 'The local server needs xllamacpp. Install the extra: pip install "chatglm-magic[local]"'


class LocalServer:
    """The local server of one kernel: a context manager, or `start()` and `stop()`.

    :param model: a GGUF file, a Hugging Face repository with one (`owner/name`, `owner/name:Q8_0`), or None
        for the built-in model.
    :param ready_timeout: seconds a start may take; a download doesn't count.
    :param on_progress: called in the thread that starts, with each event before `ready`: a dict with `event`
        (`listening`, `loading`, `downloading`) and what belongs to it.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        ready_timeout: float = 600.0,
        on_progress: Progress | None = None,
    ) -> None:
        self.token = ""
        """What clients send as `Authorization: Bearer TOKEN`; a new one at every start."""
        self.base_url = ""
        """`http://127.0.0.1:PORT/`, where `POST /` is; empty until started."""
        self.model = ""
        """The model's name; empty until started."""
        self._asked = os.fspath(model) if model is not None else None
        self._timeout, self._on_progress = ready_timeout, on_progress
        self._child: ManagedServer | None = None
        self._starting = threading.Lock()

    def start(self) -> LocalServer:
        """Start the server and wait until the model answers; at once if it does already.

        Raises ServeError with the reason in one line. An interrupt stops the server and goes on.
        """
        with self._starting:
            if not self.alive:
                self.stop()
                self._start()
        return self

    def stop(self) -> None:
        """End the server and wait until it is gone, at most about 3 s. May be called by any thread, and again."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    @property
    def url(self) -> str:
        """The base of OpenAI's protocol, `http://127.0.0.1:PORT/v1`; empty until started."""
        return f"{self.base_url}v1" if self.base_url else ""

    @property
    def alive(self) -> bool:
        """Whether server and model are there."""
        child = self._child
        return child is not None and child.alive

    @property
    def reason(self) -> str:
        """Why it is no longer alive, if it ended by itself; else empty."""
        child = self._child
        return child.stop_reason if child is not None else ""

    @property
    def pid(self) -> int | None:
        """The server's process number; None when there is none."""
        child = self._child
        return child.pid if child is not None else None

    def __enter__(self) -> LocalServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = f"{self.model} at {self.url}" if self.alive else "not running"
        return f"<LocalServer {state}>"

    def _start(self) -> None:
        if find_spec("xllamacpp") is None:
            raise ServeError(_EXTRA, kind="missing_extra")
        self.token, self.base_url, self.model = secrets.token_urlsafe(32), "", ""
        try:
            child = ManagedServer(self._asked, self.token)
        except OSError as error:
            raise ServeError(f"The local server could not be started: {error}", kind="serve_failed") from error
        self._child = child
        weakref.finalize(self, child.end)  # also when the interpreter ends
        try:
            self._wait(child)
        except BaseException:  # an interrupt, too, must leave nothing behind
            self.stop()
            raise

    def _wait(self, child: ManagedServer) -> None:
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                event = child.events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise ServeError(
                    f"The local server was not ready within {self._timeout:g} s. "
                    "Give it longer with ready_timeout=, or take a smaller model.",
                    kind="serve_failed",
                ) from None
            if event["event"] == "failed":
                raise ServeError(f"The local server could not be started: {event['reason']}", kind="serve_failed")
            if event["event"] == "listening":
                self.base_url = event["url"] + "/"
            if event["event"] == "downloading":
                deadline = time.monotonic() + self._timeout
            if event["event"] == "ready":
                self.model = event["model"]
                return
            if self._on_progress is not None:
                self._on_progress(event)
