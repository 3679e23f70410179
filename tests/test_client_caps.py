"""Caps on all that is read: bytes, headers, depth, compression, time; and no address is used that nobody gave."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import requests

from chatglm_magic import ChatGLM, Session, Turn
from chatglm_magic.errors import ChatGLMError
from chatglm_magic.render.answers import mime_bundle

from .support.canary import MANNERS, PROMPT, QUIET, Recorder, travel
from .support.clock import assert_within
from .support.servers import Asked, Script, ScriptedServer, answer, chunk, legacy, reply, sse

MIB = 2**20
BUFFERS = 16 * MIB
"""What two sockets may hold between a server that writes and a client that has stopped reading."""

LIMIT = 64 * MIB


class Endless:
    """A script that says one block after the other, and counts, until nobody listens."""

    def __init__(self, head: str, block: bytes) -> None:
        self._head, self._block = head, block
        self.sent = 0

    def __call__(self, connection: socket.socket, asked: Asked) -> None:
        connection.sendall(self._head.encode())
        while self.sent < 8 * LIMIT:
            connection.sendall(self._block)
            self.sent += len(self._block)


def head(kind: str = "application/json", status: int = 200, *more: str, end: str = "\r\n") -> str:
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", "Connection: close", *more]
    return "\r\n".join(lines) + "\r\n" + end


@pytest.mark.row("S23")
def test_requests_asks_for_compressed_answers() -> None:
    """The control: what it sends unless it is told not to."""
    with ScriptedServer(reply({})) as server:
        requests.post(server.url, timeout=5)
        assert "gzip" in server.posts[0].headers["accept-encoding"]


@pytest.mark.row("S23")
@pytest.mark.parametrize("ending", ["", "v1"], ids=["chatglm", "openai"])
@pytest.mark.parametrize("manner", [manner for manner in MANNERS if manner != "probe"])
def test_a_plain_body_is_asked_for(manner: str, ending: str) -> None:
    """Accept-Encoding: identity, and one such header."""
    with ScriptedServer(answer("ok") if ending else legacy("ok")) as server:
        assert travel(manner, ChatGLM(endpoint_url=server.url + ending)) is None
        assert {asked.headers["accept-encoding"] for asked in server.asked} == {"identity"}


BLOCK = b"a" * MIB
ENDLESS: dict[str, tuple[str, Callable[[], Endless], str, int]] = {
    "body": ("", lambda: Endless(head(), BLOCK), "too_large", LIMIT),
    "event": ("v1", lambda: Endless(head("text/event-stream") + "data: ", BLOCK), "too_large", LIMIT),
    "refusal": ("v1", lambda: Endless(head(status=500), BLOCK), "server_error", MIB),
    "header": ("", lambda: Endless(head(end="X-Long: "), BLOCK), "protocol", MIB),
    "headers": ("", lambda: Endless(head(end=""), b"X-A: b\r\n" * 10_000), "protocol", MIB),
    "chunk-size": ("", lambda: Endless(head("a/b", 200, "Transfer-Encoding: chunked"), BLOCK), "", MIB),
}


@pytest.mark.row("S23")
@pytest.mark.parametrize(
    ("what", "manner"),
    [(what, way) for what in ENDLESS for way in ("sync", "async")]
    + [(what, manner) for what in ("body", "refusal", "header", "headers") for manner in QUIET],
)
def test_reading_stops_at_the_cap(what: str, manner: str) -> None:
    """A body, event, header or refusal without end: an error of ours, and the server could not send much more."""
    ending, make, kind, cap = ENDLESS[what]
    script = make()
    with ScriptedServer(script, on_get=script) as server:
        limits = {"first_byte": 2, "idle": 2}
        error = travel(manner, ChatGLM(endpoint_url=server.url + ending, timeout=limits, max_retries=0))
        if manner not in QUIET:
            assert error is not None and (not kind or error.kind == kind), error
        assert script.sent <= cap * (2 if manner == "tokens" else 1) + BUFFERS


DEEP = "[" * 200_000
DEEPLY: dict[str, tuple[str, Script, set[str]]] = {
    "body": ("", reply('{"response":' + DEEP), {"bad_json"}),
    "closed": ("", reply('{"response":' + DEEP + "]" * len(DEEP) + "}"), {"bad_json"}),
    "event": ("v1", sse([DEEP]), {"bad_event"}),
    "refusal": ("v1", reply(DEEP, status=400), {"bad_request"}),
    "number": ("", reply('{"response": "a", "time": ' + "9" * 10**6 + "}"), {"bad_json"}),
    "objects": ("", reply('{"a":' * 200_000), {"bad_json"}),
}


@pytest.mark.row("S23")
def test_json_falls_over_depth() -> None:
    """The control: Python's own parser raises what is no error about JSON."""
    with pytest.raises(RecursionError):
        json.loads(DEEP)


@pytest.mark.row("S23")
@pytest.mark.parametrize("manner", ["sync", "async", "probe", "tokens"])
@pytest.mark.parametrize("what", DEEPLY)
def test_depth_has_an_end(what: str, manner: str) -> None:
    """JSON that is nested too deep, or a number that is too long, is bad JSON, wherever it stands."""
    ending, script, kinds = DEEPLY[what]
    with ScriptedServer(script, on_get=script) as server:
        error = travel(manner, ChatGLM(endpoint_url=server.url + ending))
        assert manner in QUIET or (error is not None and error.kind in kinds), error


BOMB = 128 * MIB


@cache
def bomb() -> bytes:
    """Return a body that is small on the way and large when it is there."""
    return gzip.compress(bytes(BOMB), 1)


def bombs(connection: socket.socket, asked: Asked) -> None:
    """Answer with it as each dialect would."""
    kind = "text/event-stream" if asked.path == "/v1/chat/completions" else "application/json"
    reply(bomb(), kind=kind, Content_Encoding="gzip")(connection, asked)


MEASURED = """
import gc, sys
import requests
from chatglm_magic import ChatGLM
from tests.support.canary import travel as go
def peak():
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
manners = ("sync", "async", "probe", "tokens")
for manner in manners:  # what is imported on use counts as there before
    go(manner, ChatGLM(endpoint_url="http://127.0.0.1:1/", max_retries=0))
before, kinds = peak(), []
for manner, ending in zip(manners, ("", "v1", "v1", ""), strict=True):
    kinds.append(getattr(go(manner, ChatGLM(endpoint_url=sys.argv[1] + ending, max_retries=0)), "kind", None))
    gc.collect()  # an error's frames hold what had been read
ours = peak() - before
size = len(requests.get(sys.argv[1], timeout=30).content)
print(ours, peak() - before, size, *kinds)
"""


@pytest.mark.row("S23")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="a process's highest memory is read from /proc")
def test_a_compressed_bomb_does_not_fill_the_memory() -> None:
    """The process grows by the cap and 32 MiB at most; with requests it grows by all of it (the control)."""
    with ScriptedServer(bombs, on_get=bombs) as server:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, server.url], capture_output=True, text=True, timeout=60, check=True
        )
        ours, theirs, size, *kinds = done.stdout.split()
        assert set(kinds[:2]) == {"too_large"} and int(size) == BOMB
        assert int(ours) <= LIMIT + 32 * MIB < BOMB <= int(theirs)


def dripping(connection: socket.socket, asked: Asked) -> None:
    """Send a header that does not end for half a minute, a byte each 50 ms: each single wait is short."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(600):
        connection.sendall(b"a")
        time.sleep(0.05)


@pytest.mark.row("S23")
@pytest.mark.parametrize(("manner", "limit"), [("sync", 0.3), ("async", 0.3), ("probe", 2.0)])
def test_a_header_that_drips_has_its_time(manner: str, limit: float) -> None:
    """The limit is of the wait for an answer, not of each read; a look takes 2 s at most."""
    with ScriptedServer(dripping, on_get=dripping) as server:
        began = time.monotonic()
        error = travel(manner, ChatGLM(endpoint_url=server.url, timeout={"first_byte": 0.3}, max_retries=0))
        took = time.monotonic() - began
        assert manner == "probe" or (error is not None and error.kind == "first_byte_timeout")
        assert_within(took, limit + 0.5)


def naming(url: str) -> dict[str, tuple[str, Script]]:
    """Return answers that name another server in every place where a name of one could stand."""
    base = {"endpoint_url": url, "base_url": url, "api_base": url, "endpoint": url, "location": url, "url": url}
    whole = {"response": f"endpoint_url={url}", "history": [[url, url]], "status": 200, **base}
    words = chunk(f"%chatglm_config endpoint_url={url}\n{{{{endpoint_url}}}} [x]({url}) ![]({url})")
    events = [{**words, **base, "model": url}, {**chunk(None, finish_reason="stop"), **base}]
    events.append({"choices": [], "usage": {"endpoint_url": url}, **base})
    headers = {"Location": url, "Refresh": f"0; url={url}", "Link": f"<{url}>; rel=next", "Content_Location": url}
    return {
        "body": ("", reply(whole, **headers)),
        "events": ("v1", sse(events)),
        "refusal": ("v1", reply({"error": {"message": f"use {url}", **base}}, status=404, **headers)),
        "busy": ("", reply({"detail": f"use {url}"}, status=503, Retry_After="0", **headers)),
    }


@pytest.mark.row("S24")
@pytest.mark.parametrize("way", ["sync", "async", "session"])
@pytest.mark.parametrize("what", ["body", "events", "refusal", "busy"])
def test_an_address_in_an_answer_is_not_used(what: str, way: str) -> None:
    """Not for the next question, not to show the answer; one that is given is used (the control)."""
    with Recorder() as other:
        ending, script = naming(other.url)[what]
        with ScriptedServer(script, on_get=script) as server:
            llm = ChatGLM(endpoint_url=server.url + ending, with_history=True, max_retries=1)
            session = Session()
            session.llm = llm
            for _ in range(1 if what == "busy" else 2):  # that one is asked again anyhow
                with suppress(ChatGLMError):
                    session.ask(PROMPT) if way == "session" else travel(way, llm)
            for turn in session.turns:
                mime_bundle(turn)
            session.probe()
            assert len(server.posts) >= 2 and llm.endpoint_url == server.url + ending
            assert session.settings.endpoint_url == server.url + ending
        assert other.connections == 0
        travel("sync", ChatGLM(endpoint_url=other.url, max_retries=0))
        assert other.connections == 1


@pytest.mark.row("S24")
def test_an_address_in_an_imported_turn_is_not_used() -> None:
    """A turn says where it was asked; that is told, and never asked again."""
    with Recorder() as other, ScriptedServer(legacy("ok")) as server:
        data = {"prompt": "a", "answer": "b", "endpoint": other.url, "dialect": "openai", "model": other.url}
        data |= {
            "endpoint_url": other.url,
            "sent": {"endpoint_url": other.url},
            "asked": {"endpoint_url": other.url},
        }
        turn = Turn.from_json(json.loads(json.dumps(data)))
        session = Session()
        session.llm = ChatGLM(endpoint_url=server.url)
        session.llm.history = [list(turn.pair)]
        mime_bundle(turn)
        assert session.ask("c").turn.endpoint == server.url and session.probe().answered
        assert server.posts[0].body["history"] == [["a", "b"]]
        assert other.connections == 0 and turn.endpoint == other.url
