"""What the benchmarks share: rounds in which rivals take turns, medians, and lines of a table."""

from __future__ import annotations

import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any


def medians(rounds: int, runs: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """Run each once in every round, in turn, after one round that does not count; return the medians.

    The order is turned round every other time, so that nobody always runs after the same one.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        order = list(runs) if number % 2 else list(reversed(runs))
        for name in order:
            figure = runs[name]()
            if number:
                found[name].append(figure)
    return {name: statistics.median(figures) for name, figures in found.items()}


def seconds(run: Callable[[], object]) -> float:
    """Return the wall time of a run."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def cpu(run: Callable[[], object]) -> float:
    """Return the CPU time that this process spends on a run, in all its threads."""
    began = time.process_time()
    run()
    return time.process_time() - began


def line(
    what: str, figure: str = "", ratio: float | None = None, promise: float | None = None, unit: str = "×"
) -> None:
    """Print a figure, what it comes to, and whether the promise about that holds."""
    parts = [f"{what:<40}", f"{figure:>9}"]
    if ratio is not None:
        parts.append(f"{ratio:8.2f} {unit:<11}")
    if ratio is not None and promise is not None:
        parts.append(f"promised ≤ {promise:g}: {'holds' if ratio <= promise else 'FALLS SHORT'}")
    print("  ".join(parts).rstrip(), flush=True)


def header() -> None:
    """Print what the figures depend on besides the code: a busy machine makes worse ones."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("requests", "aiohttp", "langchain-core"))
    load = f"load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores, {load} before the first run")


def original() -> Any:
    """Return ``langchain_community.llms.ChatGLM``, whose import warns that it is sunset; None if not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            from langchain_community.llms import ChatGLM
        except ImportError:
            return None
    return ChatGLM
