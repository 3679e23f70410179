"""The local server as a child process: start, status and stop.

The server runs in its own process session, so that interrupting a cell doesn't affect it. It exits when its
standard input is closed, which happens when the kernel ends for whatever reason. See ``server/managed.py`` for the
lines it writes.
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

ProgressCallback = Callable[[dict[str, Any]], object]
_MISSING_EXTRA = 'The local server needs xllamacpp. Install the extra: pip install "chatglm-magic[local]"'


class LocalServer:
    """The local server of a kernel: a context manager, or ``start()`` and ``stop()``.

    :param model: a GGUF file, a Hugging Face repository with one (``owner/name``, ``owner/name:Q8_0``), or None
        for the built-in model.
    :param ready_timeout: seconds in which the server must be ready, not counting a download.
    :param on_progress: called in the starting thread with each event before ``ready``: a dict with ``event``
        (``listening``, ``loading``, ``downloading``) and its details.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        ready_timeout: float = 600.0,
        on_progress: ProgressCallback | None = None,
    ) -> None:
        self.token = ""
        """Sent by clients as ``Authorization: Bearer TOKEN``; a new one at every start."""
        self.base_url = ""
        """``http://127.0.0.1:PORT/``, for ``POST /``; empty until started."""
        self.model = ""
        """The model's name; empty until started."""
        self._model_argument = os.fspath(model) if model is not None else None
        self._ready_timeout, self._on_progress = ready_timeout, on_progress
        self._child: ManagedServer | None = None
        self._start_lock = threading.Lock()

    def start(self) -> LocalServer:
        """Start the server and wait until the model is ready; return at once if it is running.

        :raises ServeError: if it can't be started, with the reason in one line.
        :raises KeyboardInterrupt: after an interrupt, which stops the server.
        """
        with self._start_lock:
            if not self.alive:
                self.stop()
                self._start()
        return self

    def stop(self) -> None:
        """Stop the server and wait, at most about 3 s, until it has exited. Any thread can call it, repeatedly."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    @property
    def url(self) -> str:
        """The base URL of the OpenAI protocol, ``http://127.0.0.1:PORT/v1``; empty until started."""
        return f"{self.base_url}v1" if self.base_url else ""

    @property
    def alive(self) -> bool:
        """Whether the server is running and the model loaded."""
        child = self._child
        return child is not None and child.alive

    @property
    def reason(self) -> str:
        """Why the server exited by itself; empty if it didn't."""
        child = self._child
        return child.stop_reason if child is not None else ""

    @property
    def pid(self) -> int | None:
        """The process id of the server; None if it isn't running."""
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
            raise ServeError(_MISSING_EXTRA, kind="missing_extra")
        self.token, self.base_url, self.model = secrets.token_urlsafe(32), "", ""
        try:
            child = ManagedServer(self._model_argument, self.token)
        except OSError as error:
            raise ServeError(f"The local server could not be started: {error}", kind="serve_failed") from error
        self._child = child
        weakref.finalize(self, child.end)  # also when the interpreter exits
        try:
            self._wait(child)
        except BaseException:  # an interrupt, too, must not leave a process behind
            self.stop()
            raise

    def _wait(self, child: ManagedServer) -> None:
        deadline = time.monotonic() + self._ready_timeout
        while True:
            try:
                event = child.events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise ServeError(
                    f"The local server was not ready within {self._ready_timeout:g} s. "
                    "Raise ready_timeout= or use a smaller model.",
                    kind="serve_failed",
                ) from None
            if event["event"] == "failed":
                raise ServeError(f"The local server could not be started: {event['reason']}", kind="serve_failed")
            if event["event"] == "listening":
                self.base_url = event["url"] + "/"
            if event["event"] == "downloading":
                deadline = time.monotonic() + self._ready_timeout
            if event["event"] == "ready":
                self.model = event["model"]
                return
            if self._on_progress is not None:
                self._on_progress(event)
