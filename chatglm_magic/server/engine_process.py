"""The front's engine process: start, progress, log, end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import IO

from .models import ModelFile
from .process_env import child_command, child_env, usable_cores

_ERROR_LINE = re.compile(r"^[\d.]+ E (.*)\n", re.MULTILINE)
# A message begins with the C++ function that logged it.
_SOURCE_PREFIX = re.compile(r"^(?:\w+ +)?\w+(?:\(\))?: (?:error loading model: )?")


class EngineStartError(Exception):
    """The engine didn't start; the message is one line with the engine's reason."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run a model."""

    threads: int = 1
    ctx: int = 2048
    """Context in tokens."""


@dataclass
class Engine:
    """One engine process; call ``start`` from the main thread (see ``engine._exit_with_parent``)."""

    model: ModelFile
    options: EngineOptions
    key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    url: Future[str] = field(default_factory=Future)
    """Its address; EngineStartError if it can't start."""
    exit_reason: Future[str] = field(default_factory=Future)
    """Why it ended, as text, once it has."""

    def start(self) -> None:
        """Start the process and a thread that reads its events; return at once."""
        self._started_at = time.monotonic()
        # unnamed: private, and deleted when closed
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            child_command("chatglm_magic.server.engine"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            env=child_env(os.environ, network=False),
        )
        config: dict[str, object] = {"path": str(self.model.path), "name": self.model.name, "key": self.key}
        config |= {"threads": self.options.threads, "ctx": self.options.ctx}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended at once; the reader reports why
            self._process.stdin.write(json.dumps(config).encode() + b"\n")
            self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read_events, name="chatglm-engine", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    def progress(self) -> tuple[float, float | None]:
        """Return the seconds since the start, and the loaded fraction of the file (0 to 0.99, or None).

        llama.cpp reports no progress, so it is estimated from the memory of the process.
        """
        seconds = time.monotonic() - self._started_at
        try:
            with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
                pages = int(file.read().split()[1])
            size = self.model.path.stat().st_size
            return seconds, min(0.99, pages * os.sysconf("SC_PAGE_SIZE") / max(size, 1))
        except (OSError, ValueError, IndexError):
            return seconds, None

    def stop(self, grace: float = 0.3) -> None:
        """End the process and wait for it; kill it after ``grace`` seconds. Idempotent."""
        self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5.0)  # it may still be reading the log
        for file in (self._process.stdin, self._process.stdout, self._log):
            assert file is not None
            with contextlib.suppress(OSError):  # unread input can't be flushed
                file.close()

    def trim_log(self, limit: int = 4 << 20) -> None:
        """Empty the log if it is larger than ``limit`` bytes; both processes share its file position."""
        if not self._log.closed and os.fstat(self._log.fileno()).st_size > limit:
            self._log.truncate(0)
            self._log.seek(0)

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        event = json.loads(line) if line.endswith(b"\n") else {}
        if "url" in event:
            self.url.set_result(event["url"])
        if "failed" in event:
            self.url.set_exception(EngineStartError(self._failure_reason(event["failed"])))
            self._process.kill()
        code = self._process.wait()
        if not self.url.done():
            last = self._log_text().strip().splitlines()[-1:] or [""]
            text = f"the engine ended while it loaded the model ({_describe_exit(code)}) {last[0]}"
            self.url.set_exception(EngineStartError(text.strip()[:500]))
        self.exit_reason.set_result(_describe_exit(code))

    def _failure_reason(self, message: str, timeout: float = 2.0) -> str:
        """Return the first error in the log, which may appear a moment later, or else the engine's message."""
        if not message.startswith("Failed to init server"):
            return message[:500]
        deadline = time.monotonic() + timeout
        while not (errors := _ERROR_LINE.findall(self._log_text())) and time.monotonic() < deadline:
            time.sleep(0.01)
        return _SOURCE_PREFIX.sub("", errors[0] if errors else message, count=1).strip()[:500]

    def _log_text(self) -> str:
        # not read(): the engine shares the file position
        return os.pread(self._log.fileno(), 1 << 20, 0).decode("utf-8", "replace")


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    hint = ", perhaps for lack of memory" if code == -9 else ""
    return f"killed by signal {-code}{hint}"


def start_engine(model: ModelFile, threads: int | None, ctx: int | None) -> Engine:
    """Start the engine for ``model``; by default the built-in one gets one thread and a context of 2048 tokens.

    Other models leave one core free: threads of llama.cpp that share a core wait for each other and get very slow.
    """
    threads = threads or (1 if model.builtin else max(1, usable_cores() - 1))
    engine = Engine(model, EngineOptions(threads, ctx or (2048 if model.builtin else 8192)))
    engine.start()
    return engine
