"""Questions asked in a process of their own, whose memory can be measured and whose limits can be lowered.

The processes are forked from one that has already imported everything, so that each costs little.
"""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import resource
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import aiohttp  # noqa: F401  (an import on first use would count as memory)
import pytest
import requests  # noqa: F401

from .fault_requests import Outcome, asend, make_model, send
from .fault_scripts import good
from .servers import ScriptedServer

T = TypeVar("T")

PATIENCE = 20
"""Seconds."""

ROOM = 2**30
"""Bytes of address space that such a process may add: a fault must not take the machine with it."""


WAIT = 2.0
"""Seconds that each of many questions waits for a connection: those that have one must be heard in less."""


def run_isolated(work: Callable[..., T], *values: Any) -> T:
    """Run a function of a module in a process of its own; return what it returns, or fail with what it raises."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, work, values), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE):
            pytest.fail(f"{work.__name__} has not ended after {PATIENCE} s")
        done, found = ours.recv()
    except EOFError:
        pytest.fail(f"{work.__name__} has died")
    finally:
        process.kill()
        process.join()
    if not done:
        pytest.fail(found)
    return cast(T, found)


def _work(theirs: Connection, work: Callable[..., T], values: Sequence[Any]) -> None:
    signal.alarm(PATIENCE)  # also if nobody waits for it any more
    memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory + ROOM, memory + ROOM))
    try:
        theirs.send((True, work(*values)))
    except BaseException:
        theirs.send((False, traceback.format_exc()))


def measure_memory(urls: list[str], dialect: str, road: str, fields: dict[str, Any]) -> tuple[list[Outcome], int]:
    """Ask these servers, one after the other; return what came, and how many KiB the peak rose."""
    with ScriptedServer(good(dialect)) as warm:
        send(warm, dialect, road, **fields).ok("你好")
    before = _peak()
    outcomes = [send(url, dialect, road, **fields) for url in urls]
    return outcomes, _peak() - before


def crowd_files(url: str, dialect: str, questions: int, files: int, room: int) -> list[Outcome]:
    """Ask many questions at once where few files may be open.

    Once all for which there is no room have failed, or after 10 s, the server gets a GET: it may answer then.
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return asyncio.run(_crowd(url, dialect, questions, room))


async def _crowd(url: str, dialect: str, questions: int, room: int) -> list[Outcome]:
    llm = make_model(url, dialect, timeout={"first_byte": WAIT})
    tasks = [asyncio.create_task(asend(llm, str(number))) for number in range(questions)]
    for _ in range(questions - room):
        waiting = [task for task in tasks if not task.done()]
        if len(waiting) > room:
            await asyncio.wait(waiting, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(_look, url)
    return list(await asyncio.gather(*tasks))


def _look(url: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
