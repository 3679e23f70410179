"""The server process that a kernel manages: start, events, end. See ``managed`` for the protocol."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from typing import IO, Any

from .process_env import child_command, child_env


class ManagedServer:
    """One server process and the thread that reads its events.

    :param model: as on the command line; None is the built-in model.
    :param token: what its clients must send; passed through a pipe, never on the command line.
    :raises OSError: if the process can't be started.
    """

    def __init__(self, model: str | None, token: str) -> None:
        self.events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        """Its events so far; the last one is always ``failed``, with or without a ``ready`` before."""
        self.stop_reason = ""
        """Why it can't be used any more, as text."""
        self._ready = False
        self._owner = os.getpid()
        self._end_lock = threading.RLock()
        # unnamed, and never blocks like a full pipe
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            [*child_command("chatglm_magic.server.cli"), "--managed", *(["--", model] if model else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=child_env(os.environ, network=True),
            start_new_session=True,  # an interrupt of a cell signals the kernel's whole process group
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once; the log has the reason
            self._process.stdin.write(json.dumps({"token": token}).encode() + b"\n")
            self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read_events, name="chatglm-local-server", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it was ready, and neither it nor its engine has ended."""
        return self._ready and not self.stop_reason and self._process.poll() is None

    def end(self) -> None:
        """End the process and wait for it; kill it after 1.5 s. Idempotent and thread-safe."""
        if os.getpid() != self._owner:  # a forked child must not end its parent's server
            return
        with self._end_lock:
            assert self._process.stdin is not None and self._process.stdout is not None
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            try:
                self._process.wait(1.5)
            except subprocess.TimeoutExpired:
                self._kill()
                self._process.wait()
            if threading.current_thread() is not self._reader:
                self._reader.join(1.0)
            self._process.stdout.close()
            self._log.close()

    def _kill(self) -> None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # its own process group; the engine notices and exits
        else:
            self._process.kill()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                self._ready = self._ready or event["event"] == "ready"
                if event["event"] == "gone":
                    self.stop_reason = f"the model's process has ended ({event['reason']})"
                self.events.put(event)
        code = self._process.wait()
        reason = f"its process ended with code {code}. {self._last_log_line()}".strip()
        self.stop_reason = self.stop_reason or reason
        self.events.put({"event": "failed", "reason": reason})

    def _last_log_line(self) -> str:
        try:
            self._log.seek(0, os.SEEK_END)
            self._log.seek(max(0, self._log.tell() - 4096))
            lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        except (OSError, ValueError):  # end() has closed it
            return ""
        return lines[-1][:300] if lines else ""
