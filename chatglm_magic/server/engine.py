"""The engine process: llama.cpp's own HTTP server, on a loopback port, ended with its parent.

It reads one JSON line from standard input (`path`, `name`, `key`, `threads`, `ctx`), answers on
standard output with one JSON line, `{"url": …}` or `{"failed": …}`, and lives until standard input ends.
Standard error is llama.cpp's log.
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
    """Load the model, say where it is served, and wait for the end. Never returns."""
    try:
        _run(os.getppid())
    except BaseException:  # noqa: BLE001 - whatever it is, its trace belongs in the log
        traceback.print_exc()
    finally:
        # Never through ~Server: right after the start it can wait for its main loop for ever.
        os._exit(1)


def _run(parent: int) -> None:
    _exit_with_parent(parent)
    config = json.loads(sys.stdin.buffer.readline() or b"null")
    if config is None:  # the front has gone already
        return
    try:
        server = _load_server(config)
    except (RuntimeError, ValueError, TypeError, ImportError) as error:
        _write_event(
            {"failed": str(error)}
        )  # and stay until the front has read the log, which a thread still writes
    else:
        _write_event({"url": server.listening_address})
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()
    while os.read(0, 4096):
        pass
    os._exit(0)


def _load_server(config: dict[str, Any]) -> Any:
    """Return llama.cpp's server with the model loaded. Raises RuntimeError; the reason is in the log."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["path"]
    params.model_alias = {config["name"]}
    params.api_keys = [config["key"]]
    params.ui = False
    params.verbosity = 2  # errors and warnings; what is said of each request would fill the log
    params.n_ctx = config["ctx"]
    params.n_parallel = 1  # with more, a fixed seed no longer fixes the answer
    params.n_threads_http = 4
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    # The order of Hugging Face. All but temperature and top_p are off unless a request sets them.
    sampling = params.sampling
    sampling.samplers = "penalties;temperature;top_k;top_p;min_p"
    sampling.top_k, sampling.min_p = 0, 0.0
    sampling.penalty_last_n = config["ctx"]  # all of it; -1 is taken for 0 here
    sampling.temp, sampling.top_p = 0.95, 0.7  # as in THUDM's api.py
    return xllamacpp.Server(params)


def _write_event(event: dict[str, str]) -> None:
    with contextlib.suppress(OSError):  # a front that is gone doesn't hear it; the end of input follows
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def _exit_with_parent(parent: int) -> None:
    """Have Linux end this process with its parent, also while the constructor holds the lock.

    The signal is tied to the *thread* that started us: the front starts its engine from its main thread,
    which lives as long as the front does.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(0)


def _watch_parent(parent: int) -> None:
    """End when the parent is gone although a forked sibling of it still holds our input open."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(0)
