"""The server as a kernel's child: no terminal, no signals, one JSON line per event.

It reads one JSON line from standard input, `{"token": …}`, writes its events to standard output, and ends when
standard input does, or when its parent is another: then the kernel is gone, however it went.

Events: `listening` (`url`), `downloading` (`file`, `bytes`, `total` or null), `loading` (`seconds`, `fraction`
or null), `ready` (`model`, `seconds`), `failed` (`reason`), and later perhaps `gone` (`reason`).
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
    """Write one event."""
    with contextlib.suppress(OSError):  # nobody reads any more: the end of input will tell
        sys.stdout.write(json.dumps({"event": event, **more}) + "\n")
        sys.stdout.flush()


async def run_managed(
    model: ModelFile | HubModel, engine: Engine | None, args: argparse.Namespace, parent: int
) -> None:
    """Serve until the kernel, process number `parent`, is gone. Ends the process itself."""
    launch = Launch(model, engine, args)
    try:
        token = str(json.loads(sys.stdin.buffer.readline())["token"])
    except (ValueError, KeyError, TypeError):
        write_event("failed", reason='the first line of input should be {"token": "…"}')
        launch.end(1)
    for watch in (_exit_at_end_of_input, _exit_with_parent):
        threading.Thread(target=watch, args=(launch, parent), daemon=True).start()
    bound = bind("127.0.0.1", 0)
    await listen(make_app(launch.client, Guard(token)), bound)
    write_event("listening", url=url_of(bound))
    reporting = asyncio.ensure_future(_report_loading(launch))
    try:
        seconds = await launch.ready(_DownloadReporter())
    except (ModelError, EngineStartError) as error:
        write_event("failed", reason=str(error))
        launch.end(1)
    reporting.cancel()
    write_event("ready", model=launch.client.name, seconds=round(seconds, 3))
    assert launch.engine is not None
    write_event("gone", reason=await asyncio.wrap_future(launch.engine.exit_reason))
    await asyncio.Event().wait()  # goes on to answer, with an error that says so


class _DownloadReporter:
    """Tells of a download four times a second, and of its last byte."""

    def __init__(self) -> None:
        self._reported_at = 0.0

    def __call__(self, name: str, there: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._reported_at >= 0.25 or there == total:
            self._reported_at = now
            write_event("downloading", file=name, bytes=there, total=total)


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
    launch.end(0)


def _exit_with_parent(launch: Launch, parent: int) -> None:
    """The second watch: a forked sibling of ours may hold our input open after the kernel's end."""
    while os.getppid() == parent:
        time.sleep(0.5)
    launch.end(0)
