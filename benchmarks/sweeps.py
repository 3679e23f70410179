"""A sweep of 5 × 5 × 4 questions, 16 at once, to a server that takes 50 ms for each; and how fast it is stopped.

``python benchmarks/sweeps.py``. The floor is what the server takes by itself: 7 rounds of 16, 0.35 s. Bare aiohttp
asks the same, so that a busy machine shows.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any

import aiohttp
from fast_server import serving
from timing import header, line, medians, seconds

from chatglm_magic import Session, sweep

TEMPERATURES, TOP_PS, SAMPLES = [0.1, 0.4, 0.7, 1.0, 1.5], "0.5:0.9:5", 4
REQUESTS, JOBS, WAIT = 100, 16, 0.05
ROUNDS = 7
BODY = {"prompt": "hi", "temperature": 0.1, "history": [], "max_length": 20000, "top_p": 0.7}


def session_at(url: str, store: str) -> Session:
    """Return a session that asks there."""
    session = Session()
    session.settings.endpoint_url = url
    session.settings.store = store
    return session


def run(session: Session) -> None:
    """Sweep once."""
    grid: dict[str, Any] = {"temperature": TEMPERATURES, "top_p": TOP_PS}
    result = sweep("hi", samples=SAMPLES, jobs=JOBS, session=session, show=False, **grid)
    assert result.complete and len(result) == REQUESTS


async def bare(url: str) -> None:
    """Ask as often, as many at once, with nothing round it."""
    todo = iter(range(REQUESTS))

    async def work(http: aiohttp.ClientSession) -> None:
        for _ in todo:
            async with http.post(url, json=BODY) as response:
                assert (await response.json())["response"]

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(work(http) for _ in range(JOBS)))


def speed(url: str) -> None:
    """Print the sweep's time beside the floor and bare aiohttp."""
    url = f"{url}/wait/{WAIT * 1e3:.0f}"
    session, unkept = session_at(url, "bench-history.sqlite"), session_at(url, "off")
    found = medians(
        ROUNDS,
        {
            "sweep": lambda: seconds(lambda: run(session)),
            "sweep, store=off": lambda: seconds(lambda: run(unkept)),
            "bare aiohttp": lambda: seconds(lambda: asyncio.run(bare(url))),
        },
    )
    floor = -(-REQUESTS // JOBS) * WAIT
    print(f"\n{REQUESTS} requests to a {WAIT * 1e3:.0f} ms server, {JOBS} at once, median of {ROUNDS}")
    line("floor", f"{floor:.3f} s")
    for name in ("bare aiohttp", "sweep, store=off"):
        line(name, f"{found[name]:.3f} s", found[name] / floor, unit="× floor")
    line("sweep", f"{found['sweep']:.3f} s", found["sweep"] / floor, 1.3, "× floor")
    session.close()


def stopping(url: str) -> None:
    """Print how long ``stop()`` takes while 16 answers are awaited."""
    took = []
    session = session_at(f"{url}/wait/20000", "off")
    for _ in range(5):
        result = begun(session)
        while result.progress.running < JOBS:
            time.sleep(0.005)
        took.append(seconds(result.stop))
        assert not result.running
    line("stop with 16 under way", f"{median(took) * 1e3:.1f} ms", median(took) / 0.5, 1, "× 0.5 s")


def begun(session: Session) -> Any:
    """Return a sweep that is under way."""
    from chatglm_magic.sweeps.prepare import prepare_sweep

    axes = {"temperature": TEMPERATURES, "top_p": TOP_PS}
    result = prepare_sweep("hi", axes, samples=SAMPLES, jobs=JOBS, session=session, resume=None)
    result.resume(wait=False)
    return result


def main() -> None:
    """Print everything."""
    import os
    import tempfile

    header()
    with tempfile.TemporaryDirectory() as folder, serving() as url:
        os.chdir(folder)
        speed(url)
        stopping(url)


if __name__ == "__main__":
    main()
