"""The server as a child process of a kernel: no terminal, no signals, one JSON line per event.

It reads one JSON line from standard input, ``{"token": …}``, writes its events to standard output, and exits at
the end of input or when its parent process changes: both mean that the kernel has ended.

Events: ``listening`` (``url``), ``downloading`` (``file``, ``bytes``, ``total`` or null), ``loading``
(``seconds``, ``fraction`` or null), ``ready`` (``model``, ``seconds``), ``failed`` (``reason``), and later perhaps
``gone`` (``reason``).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from typing import Any

from .app import Launch, bind, listen, make_app, url_of
from .engine_process import Engine, EngineStartError
from .guard import Guard
from .models import HubModel, ModelError, ModelFile


def write_event(event: str, **more: Any) -> None:
    """Write one event to standard output."""
    with contextlib.suppress(OSError):  # the kernel has ended; the end of input follows
        sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
        sys.stdout.flush()


async def run_managed(
    model: ModelFile | HubModel, engine: Engine | None, args: argparse.Namespace, parent: int
) -> None:
    """Serve until the kernel, the process ``parent``, has ended; then exit the process."""
    launch = Launch(model, engine, args)
    try:
        token = str(json.loads(sys.stdin.buffer.readline())["token"])
    except (ValueError, KeyError, TypeError):
        write_event("failed", reason='the first line of input should be {"token": "…"}')
        launch.exit(1)
    for watch in (_exit_at_end_of_input, _exit_with_parent):
        threading.Thread(target=watch, args=(launch, parent), daemon=True).start()
    sock = bind("127.0.0.1", 0)
    await listen(make_app(launch.client, Guard(token)), sock)
    write_event("listening", url=url_of(sock))
    reporting = asyncio.ensure_future(_report_loading(launch))
    try:
        seconds = await launch.wait_until_ready(_DownloadReporter())
    except (ModelError, EngineStartError) as error:
        write_event("failed", reason=str(error))
        launch.exit(1)
    reporting.cancel()
    write_event("ready", model=launch.client.name, seconds=round(seconds, 3))
    assert launch.engine is not None
    write_event("gone", reason=await asyncio.wrap_future(launch.engine.exit_reason))
    await asyncio.Event().wait()  # keep responding, with an error that says so


class _DownloadReporter:
    """Writes the progress of a download four times a second, and its end."""

    def __init__(self) -> None:
        self._reported_at = 0.0

    def __call__(self, name: str, received: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._reported_at >= 0.25 or received == total:
            self._reported_at = now
            write_event("downloading", file=name, bytes=received, total=total)


async def _report_loading(launch: Launch) -> None:
    while True:
        await asyncio.sleep(0.25)
        if not launch.client.waiting_for:
            seconds, fraction = launch.client.progress()
            write_event("loading", seconds=round(seconds, 2), fraction=fraction)


def _exit_at_end_of_input(launch: Launch, _parent: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    launch.exit(0)


def _exit_with_parent(launch: Launch, parent: int) -> None:
    """Exit when the kernel has ended although a forked child of it still holds our input open."""
    while os.getppid() == parent:
        time.sleep(0.5)
    launch.exit(0)
