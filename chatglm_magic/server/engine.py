"""The engine process: llama.cpp's HTTP server on a loopback port, which ends with its parent.

It reads one JSON line from standard input (``path``, ``name``, ``key``, ``threads``, ``ctx``), writes one JSON
line to standard output, ``{"url": …}`` or ``{"failed": …}``, and runs until standard input ends. Standard error is
llama.cpp's log.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
import traceback
from typing import Any


def main() -> None:
    """Load the model, write its URL, and wait for the end of input. Never returns."""
    try:
        _run(os.getppid())
    except BaseException:  # noqa: BLE001 - whatever it is, its trace belongs in the log
        traceback.print_exc()
    finally:
        # Without ~Server, which right after the start can wait for its main loop forever.
        os._exit(1)


def _run(parent: int) -> None:
    _exit_with_parent(parent)
    config = json.loads(sys.stdin.buffer.readline() or b"null")
    if config is None:  # the front has exited already
        return
    try:
        server = _load_server(config)
    except (RuntimeError, ValueError, TypeError, ImportError) as error:
        # The process runs on until the front has read the log, which a thread still writes.
        _write_event({"failed": str(error)})
    else:
        _write_event({"url": server.listening_address})
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    while os.read(0, 4096):
        pass
    os._exit(0)


def _load_server(config: dict[str, Any]) -> Any:
    """Return llama.cpp's server with the model loaded; if that fails, the log has the reason."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["path"]
    params.model_alias = {config["name"]}
    params.api_keys = [config["key"]]
    params.ui = False
    params.verbosity = 2  # errors and warnings; messages about each request would fill the log
    params.n_ctx = config["ctx"]
    params.n_parallel = 1  # with more, answers aren't reproducible with a fixed seed
    params.n_threads_http = 4
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    # The order of Hugging Face transformers. All but temperature and top_p are off unless a request sets them.
    sampling = params.sampling
    sampling.samplers = "penalties;temperature;top_k;top_p;min_p"
    sampling.top_k, sampling.min_p = 0, 0.0
    sampling.penalty_last_n = config["ctx"]  # the whole context; -1 would count as 0 here
    sampling.temp, sampling.top_p = 0.95, 0.7  # as in THUDM's api.py
    return xllamacpp.Server(params)


def _write_event(event: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # the front has exited; the end of input follows
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def _exit_with_parent(parent: int) -> None:
    """Let Linux kill this process when its parent ends, also while the constructor holds the GIL.

    The signal follows the *thread* that started the process, so the front starts its engine from its main
    thread.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)


def _watch_parent(parent: int) -> None:
    """Exit when the parent has ended, even if a forked child of it still holds our input open."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)
