"""The front and its engine: loading, turns, clients that leave, an engine that dies, bad files."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from chatglm_magic.errors import ServeError
from chatglm_magic.local import LocalServer
from chatglm_magic.server import models
from chatglm_magic.server.child import ManagedServer
from chatglm_magic.server.engine_process import Engine, EngineOptions
from chatglm_magic.server.models import ModelError, local_model

from .support.clock import assert_within
from .support.local_servers import ask_chat, auth_headers, find_engine, post_json, wait_for, write_model

pytestmark = pytest.mark.heavy

HI = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that takes some tenths of a second to load and about 20 ms for a token."""
    return str(write_model(tmp_path_factory.mktemp("models") / "slow.gguf", width=1024, layers=8))


@pytest.fixture(scope="module")
def slow(slow_model: str) -> Iterator[LocalServer]:
    """The local server with the slow model."""
    with LocalServer(slow_model) as running:
        yield running


def next_event(child: ManagedServer, name: str) -> dict[str, Any]:
    """Return the next event of that name."""
    while (event := child.events.get(timeout=20))["event"] != name:
        assert event["event"] != "failed", event
    return event


def test_answers_503_at_once_while_the_model_loads(slow_model: str) -> None:
    """While the engine loads (it is held still) each route answers at once; then the model answers."""
    child = ManagedServer(slow_model, "token")
    try:
        engine = find_engine(child.pid)
        os.kill(engine, signal.SIGSTOP)
        url = next_event(child, "listening")["url"]
        assert next_event(child, "loading")["seconds"] > 0
        key = {"Authorization": "Bearer token"}
        for method, path in (
            ("POST", "/"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/health"),
            ("GET", "/v1/models"),
        ):
            began = time.monotonic()
            reply = requests.request(method, url + path, json=HI | {"prompt": "hi"}, headers=key, timeout=30)
            assert_within(time.monotonic() - began, 0.5)
            assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
            error = reply.json()["error"]
            assert (error["type"], error["code"]) == ("unavailable_error", 503)
            assert "Loading model slow" in error["message"]
            assert error["seconds"] > 0 and (error["fraction"] is None or 0 <= error["fraction"] < 1)
        os.kill(engine, signal.SIGCONT)
        assert next_event(child, "ready")["model"] == "slow"
        assert requests.post(url + "/v1/chat/completions", json=HI, headers=key, timeout=20).status_code == 200
    finally:
        child.end()


def test_second_question_waits_for_its_turn(slow: LocalServer) -> None:
    """Two questions at once are both answered, one after the other: their pieces do not mix."""
    body = {"messages": HI["messages"], "max_tokens": 15, "temperature": 0, "stream": True}
    pieces: list[int] = []

    def ask(number: int) -> None:
        url, headers = f"{slow.url}/chat/completions", auth_headers(slow)
        with requests.post(url, json=body, headers=headers, stream=True, timeout=60) as reply:
            pieces.extend(number for line in reply.iter_lines() if b'"content": "!"' in line)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pieces) == 30
    assert sum(number != pieces[0] for number in pieces[:15]) <= 3  # the two threads that read may be late


def engine_seconds(server: LocalServer) -> float:
    """Return the processor time that a server's engine has used."""
    used = psutil.Process(find_engine(server.pid or 0)).cpu_times()
    return float(used.user + used.system)


def wait_working(server: LocalServer, before: float) -> None:
    """Wait until a server's engine has worked since it had used ``before`` seconds of processor time."""
    wait_for(lambda: engine_seconds(server) > before + 0.1, 20)


def lost_client(server: LocalServer, path: str, body: dict[str, Any]) -> socket.socket:
    """Send a question with much work and return its connection."""
    data = json.dumps(body).encode()
    host, port = server.base_url.removeprefix("http://").rstrip("/").split(":")
    connection = socket.create_connection((host, int(port)))
    lines = [f"POST /{path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in auth_headers(server, Content_Type="application/json").items()]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
    return connection


@pytest.mark.parametrize("path", ["", "v1/chat/completions", "stream"])
def test_lost_client_frees_the_turn_within_a_second(slow: LocalServer, path: str) -> None:
    """A client that leaves ends its work of half a minute; while it stays (the control) the next one waits."""
    body: dict[str, Any] = {"prompt": "hi", "messages": HI["messages"], "max_tokens": 1500, "temperature": 0}
    body["stream"] = path == "stream"
    before = engine_seconds(slow)
    connection = lost_client(slow, path.replace("stream", "v1/chat/completions"), body)
    answered = threading.Event()

    def ask() -> None:
        ask_chat(slow, "hi", max_tokens=1)
        answered.set()

    asking = threading.Thread(target=ask)
    wait_working(slow, before)
    asking.start()
    assert not answered.wait(1.0)
    began = time.monotonic()
    connection.close()
    assert answered.wait(20)
    assert_within(time.monotonic() - began, 1.0)
    asking.join()


def test_waiting_client_that_leaves_is_never_asked_for(slow: LocalServer) -> None:
    """A client that leaves while it waits costs nothing: the next one is answered at once."""
    body = {"messages": HI["messages"], "max_tokens": 1500, "temperature": 0}
    before = engine_seconds(slow)
    connections = [lost_client(slow, "v1/chat/completions", body) for _ in range(5)]
    wait_working(slow, before)
    for connection in reversed(connections):
        connection.close()
    began = time.monotonic()
    ask_chat(slow, "hi", max_tokens=1)
    assert_within(time.monotonic() - began, 1.0)


@pytest.mark.row("E7")
def test_engine_that_dies_while_it_answers(slow_model: str) -> None:
    """A stream that breaks ends with an error event and no [DONE]; a whole answer becomes a 502."""
    with LocalServer(slow_model) as server:
        body = {"messages": HI["messages"], "stream": True, "temperature": 0}
        with requests.post(
            f"{server.url}/chat/completions", json=body, headers=auth_headers(server), stream=True, timeout=20
        ) as reply:
            lines = (line for line in reply.iter_lines() if line)
            assert b'"choices"' in next(lines)
            os.kill(find_engine(server.pid or 0), signal.SIGKILL)
            last = list(lines)[-1]
        error = json.loads(last.removeprefix(b"data: "))["error"]
        assert error["type"] == "engine_gone" and "Start the server again" in error["message"]
        assert post_json(server, "v1/chat/completions", HI).status_code == 502


@pytest.mark.row("E7")
def test_whole_answer_of_an_engine_that_dies(slow_model: str) -> None:
    """A question whose engine dies underneath it gets a 502 that says so."""
    with LocalServer(slow_model) as server:
        before = engine_seconds(server)

        def kill() -> None:
            wait_working(server, before)
            os.kill(find_engine(server.pid or 0), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        reply = post_json(server, "", {"prompt": "hi", "temperature": 0})
        assert reply.status_code == 502
        assert "killed by signal 9" in reply.json()["error"]["message"]
        killer.join()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small sound model."""
    return write_model(tmp_path_factory.mktemp("models") / "good.gguf").read_bytes()


def damaged(good: bytes, seed: int) -> bytes:
    """Return the model with forty bytes of its head changed."""
    data, chance = bytearray(good), random.Random(seed)
    for _ in range(40):
        data[chance.randrange(4, 3000)] = chance.randrange(256)
    return bytes(data)


BAD_FILES: dict[str, Any] = {
    "empty": (lambda good: b"", "is empty"),
    "text": (lambda good: b"hello, this is no model\n" * 9, "isn't a GGUF file"),
    "zip": (lambda good: b"PK\x03\x04" + good, "isn't a GGUF file"),
    "magic alone": (lambda good: b"GGUF", "failed to read"),
    "half a head": (lambda good: good[:1500], "failed to read"),
    "half": (lambda good: good[: len(good) // 2], "corrupted or incomplete"),
    "last byte cut": (lambda good: good[:-40], "corrupted or incomplete"),
    "other architecture": (
        lambda good: good.replace(b"\x07\0\0\0\0\0\0\0chatglm", b"\x07\0\0\0\0\0\0\0chatxyz"),
        "chatxyz",
    ),
    "version 99": (lambda good: good[:4] + b"\x63" + good[5:], "version"),
    "missing tensor": (lambda good: good.replace(b"output_norm.weight", b"output_nxxx.weight"), "output_norm"),
    **{f"damaged {seed}": (lambda good, seed=seed: damaged(good, seed), "") for seed in range(4)},
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_file_is_one_line_with_the_engines_reason(good: bytes, tmp_path: Path, kind: str) -> None:
    """A file that is no sound model is an error in one line, and the process that asked goes on."""
    make, reason = BAD_FILES[kind]
    path = tmp_path / "bad.gguf"
    path.write_bytes(make(good))
    with pytest.raises(ServeError) as caught:
        LocalServer(path, ready_timeout=20).start()
    assert "\n" not in str(caught.value) and reason in str(caught.value)
    assert len(str(caught.value)) < 700


def test_long_log_is_emptied(slow_model: str) -> None:
    """The engine's log is cut when it has grown too long, and grows again from its beginning."""
    engine = Engine(local_model(Path(slow_model)), EngineOptions())
    engine.start()
    try:
        engine.url.result(20)
        size = os.fstat(engine._log.fileno()).st_size
        assert size > 0
        engine.trim_log(limit=size)
        assert os.fstat(engine._log.fileno()).st_size == size
        engine.trim_log(limit=size - 1)
        assert os.fstat(engine._log.fileno()).st_size == 0
        wrong = requests.post(engine.url.result() + "/tokenize", json={}, timeout=5)
        assert wrong.status_code == 401  # which it warns of
        wait_for(lambda: engine._log_text(), 5)
        assert "\0" not in engine._log_text()
    finally:
        engine.stop()


def test_missing_directory_and_fifo_are_named(tmp_path: Path) -> None:
    """A path that is no file says what it is instead."""
    os.mkfifo(tmp_path / "pipe.gguf")
    for name, reason in (
        ("gone.gguf", "There is no file"),
        ("", "is a directory"),
        ("pipe.gguf", "ordinary file"),
    ):
        with pytest.raises(ServeError, match=reason):
            LocalServer(tmp_path / name).start()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_named(good: bytes, tmp_path: Path) -> None:
    """A file this user may not read says so."""
    path = tmp_path / "secret.gguf"
    path.write_bytes(good)
    path.chmod(0)
    with pytest.raises(ServeError, match="Permission denied"):
        LocalServer(path).start()


def test_damaged_builtin_model_is_not_loaded(tmp_path: Path) -> None:
    """One changed byte inside the weights, which llama.cpp would not notice, is found by the checksum."""
    home = Path(models.__file__).parent / "model"
    for name in ("glm-tiny.json", "glm-tiny.gguf"):
        (tmp_path / name).write_bytes((home / name).read_bytes())
    assert models.builtin_model(tmp_path).builtin
    data = bytearray((tmp_path / "glm-tiny.gguf").read_bytes())
    data[-1000] ^= 1
    (tmp_path / "glm-tiny.gguf").write_bytes(data)
    with pytest.raises(ModelError, match="is damaged"):
        models.builtin_model(tmp_path)
    (tmp_path / "glm-tiny.gguf").unlink()
    with pytest.raises(ModelError, match="is missing"):
        models.builtin_model(tmp_path)


def test_a_users_module_beside_the_notebook_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files named like the modules we import, in the working directory, are not imported."""
    for name in ("random", "json", "aiohttp", "secrets"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    with LocalServer() as server:
        assert wait_for(lambda: server.alive, 1)
