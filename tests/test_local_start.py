"""The local server while it starts: what is told of it, how long it may take, and what an end leaves."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from chatglm_magic.errors import ServeError
from chatglm_magic.local import LocalServer

from .support.local_servers import ask_chat, write_model
from .support.stores import run_code

pytestmark = pytest.mark.heavy

pytestmark = pytest.mark.heavy


def test_a_start_is_told_of_until_it_is_ready(tmp_path: Path) -> None:
    """Each event before that is passed on, in its order; then all that a client needs is there."""
    told: list[dict[str, Any]] = []
    seen: list[tuple[str, str]] = []

    def progress(event: dict[str, Any]) -> None:
        told.append(event)
        seen.append((server.base_url, server.model))

    server = LocalServer(write_model(tmp_path / "tiny.gguf"), on_progress=progress)
    assert (server.url, server.base_url, server.model, server.pid, server.alive) == ("", "", "", None, False)
    assert repr(server) == "<LocalServer not running>" and server.reason == ""
    with server:
        names = [event["event"] for event in told]
        assert names[0] == "listening" and not {"ready", "failed"} & set(names)
        assert seen[0][0] == server.base_url == told[0]["url"] + "/" and server.url == server.base_url + "v1"
        assert not any(model for _, model in seen)
        assert server.alive and server.model == "tiny" and server.reason == ""
        assert repr(server) == f"<LocalServer tiny at {server.url}>"
        assert ask_chat(server, "hi", max_tokens=1)["usage"]["completion_tokens"] == 1
        pid, token = server.pid, server.token
        assert server.start() is server and (server.pid, server.token) == (pid, token), "it runs already"
    assert not server.alive and server.pid is None
    with server:
        assert server.token != token, "a new start has a token of its own"
    server.stop()


def test_what_can_not_be_loaded_is_an_error_with_the_reason(tmp_path: Path) -> None:
    """In one line, at once, and nothing is left of the try."""
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF")
    for model, reason in ((bad, "could not be started: .*failed to read"), (tmp_path / "no.gguf", "no.gguf")):
        server = LocalServer(model, ready_timeout=60)
        with pytest.raises(ServeError, match=reason) as raised:
            server.start()
        assert raised.value.kind == "serve_failed" and "\n" not in str(raised.value)
        assert not server.alive and server.pid is None


class Events:
    """Hands out events one by one, as a child does, and keeps how long each was waited for."""

    def __init__(self, *names: str) -> None:
        self.waits: list[float] = []
        self._events = [{"event": name, "url": "http://127.0.0.1:1", "model": "m"} for name in names]
        self._pause = threading.Event()

    def get(self, timeout: float) -> dict[str, Any]:
        self.waits.append(timeout)
        self._pause.wait(0.02)  # time goes by
        return self._events.pop(0)


class Child:
    """A child that says these things."""

    def __init__(self, *names: str) -> None:
        self.events = Events(*names)


def test_a_download_does_not_count_as_waiting() -> None:
    """Each piece of news of it begins the time anew; nothing else does."""
    child: Any = Child("listening", "loading", "downloading", "downloading", "loading", "ready")
    LocalServer(ready_timeout=5)._wait(child)
    listening, loading, first, second, after, last = child.events.waits
    assert 5 >= listening > loading > first
    assert second > first and after > first
    assert after > last


def test_a_start_may_take_no_time_at_all() -> None:
    """Then what is there counts, and the error says what to do."""
    with pytest.raises(ServeError, match=r"not ready within 0 s.*ready_timeout="):
        LocalServer(ready_timeout=0).start()


FORKED = """
import os, signal, sys, warnings
from chatglm_magic.local import LocalServer
warnings.simplefilter("ignore", DeprecationWarning)

with LocalServer(sys.argv[1]) as server:
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        server.stop()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print(server.alive, server.start() is server, server.pid is not None)
print(server.alive)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_end_its_parents_server(tmp_path: Path) -> None:
    """Neither by stop nor when it ends; the parent's own stop does."""
    assert run_code(FORKED, write_model(tmp_path / "tiny.gguf")) == "True True True\nFalse\n"
