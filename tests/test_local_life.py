"""The life of the local server: started, watched and ended from a kernel (FAULTS.md, table E)."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import requests

from chatglm_magic.errors import ServeError
from chatglm_magic.local import LocalServer
from chatglm_magic.server.child import ManagedServer
from chatglm_magic.server.process_env import child_env

from .support.clock import assert_within
from .support.local_servers import (
    ask_chat,
    find_engine,
    is_running,
    post_json,
    run_kernel_process,
    wait_for,
    wait_gone,
    write_model,
)

pytestmark = pytest.mark.heavy

ROUNDS = int(os.environ.get("CHATGLM_SOAK_ROUNDS", "10"))


OTHERS: set[int] = set()
"""Processes that other tests of this run keep, such as multiprocessing's fork server."""


@pytest.fixture(autouse=True)
def others() -> None:
    """Note what is there before a test."""
    OTHERS.clear()
    OTHERS.update(child.pid for child in psutil.Process().children(recursive=True))


def children() -> list[psutil.Process]:
    """Return the processes a test has started and not ended."""
    return [child for child in psutil.Process().children(recursive=True) if child.pid not in OTHERS]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that loads at once."""
    return str(write_model(tmp_path_factory.mktemp("models") / "zero.gguf"))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that takes some tenths of a second to load and 20 ms for a token."""
    return str(write_model(tmp_path_factory.mktemp("models") / "slow.gguf", width=1024, layers=8))


@pytest.mark.row("E1")
def test_two_servers_never_share_a_port(model: str) -> None:
    """Two servers started together listen on ports of their own, and each knows only its own token."""
    with LocalServer(model) as one, LocalServer(model) as two:
        assert one.base_url != two.base_url
        stranger = requests.get(f"{two.url}/models", headers={"Authorization": f"Bearer {one.token}"}, timeout=5)
        assert stranger.status_code == 401
        assert ask_chat(one, "hi", max_tokens=1, temperature=0)["choices"][0]["message"]["content"] == "!"


@pytest.mark.row("E2")
def test_missing_engine_names_the_extra(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without xllamacpp the error is the command that installs it."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ServeError, match=r'pip install "chatglm-magic\[local\]"'):
        LocalServer(model).start()


@pytest.mark.row("E2")
def test_engine_that_dies_while_loading_is_one_line(slow: str) -> None:
    """An engine killed while it loads becomes an error that names the signal, and leaves no process."""
    server = LocalServer(slow)

    def kill_the_engine() -> None:
        pid = wait_for(lambda: server.pid, 10)
        os.kill(find_engine(pid), signal.SIGKILL)

    killer = threading.Thread(target=kill_the_engine)
    killer.start()
    with pytest.raises(ServeError, match="killed by signal 9") as caught:
        server.start()
    killer.join()
    assert "\n" not in str(caught.value)
    assert not children()


@pytest.mark.row("E2")
def test_never_ready_ends_in_time(slow: str) -> None:
    """A server that is not ready in the time given is ended, and the error says how to give it more."""
    began = time.monotonic()
    with pytest.raises(ServeError, match="ready_timeout="):
        LocalServer(slow, ready_timeout=0.2).start()
    assert_within(time.monotonic() - began, 3)
    assert not children()


@pytest.mark.row("E3")
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_long_log_blocks_nothing(model: str) -> None:
    """The engine writes more than a pipe holds, and goes on answering."""
    with LocalServer(model) as server:
        log = Path(f"/proc/{find_engine(server.pid or 0)}/fd/2")
        while log.stat().st_size < 80_000:  # it warns at each question that repeats the last
            ask_chat(server, "hi", max_tokens=1)
        assert ask_chat(server, "hi", max_tokens=1)["usage"]["completion_tokens"] == 1


@pytest.mark.row("E4")
def test_interrupts_of_the_kernel_leave_the_server_alone(model: str) -> None:
    """A hundred interrupts to the kernel's process group end an ordinary child (the control), not the server."""
    then = "other = subprocess.Popen(['sleep', '60']).pid"
    with run_kernel_process(model, then) as (process, pid, engine, other, url, token):
        for _ in range(100):
            os.killpg(process.pid, signal.SIGINT)
        wait_gone([other], 2)
        reply = requests.post(url, json={"prompt": "hi"}, headers={"Authorization": f"Bearer {token}"}, timeout=10)
        assert reply.status_code == 200
        assert is_running(pid) and is_running(engine)


@pytest.mark.row("E5")
def test_kernel_that_ends_takes_the_server_along(model: str) -> None:
    """A kernel that ends in the ordinary way without a word to the server leaves nothing behind."""
    with run_kernel_process(model, last="time.sleep(0.5)") as (process, pid, engine, *_):
        process.wait(10)
        wait_gone([pid, engine], 2)


@pytest.mark.row("E6")
def test_kill_9_of_the_kernel_ends_server_and_engine(model: str) -> None:
    """When the kernel is killed, server and engine are gone within two seconds."""
    with run_kernel_process(model) as (process, pid, engine, *_):
        process.kill()
        wait_gone([pid, engine], 2)


@pytest.mark.row("E6")
def test_kill_9_with_a_forked_sibling_that_holds_the_pipe(model: str) -> None:
    """The same when a fork of the kernel lives on and keeps the server's input open."""
    then = "other = os.fork()\nif other == 0: time.sleep(20); os._exit(0)"
    with run_kernel_process(model, then) as (process, pid, engine, other, *_):
        process.kill()
        wait_gone([pid, engine], 2)
        assert is_running(other)
        os.kill(other, signal.SIGKILL)


@pytest.mark.row("E6")
def test_kill_9_of_the_front_ends_the_engine(model: str) -> None:
    """When the front is killed, the engine is gone within two seconds and the kernel knows."""
    with LocalServer(model) as server:
        engine = find_engine(server.pid or 0)
        os.kill(server.pid or 0, signal.SIGKILL)
        wait_gone([engine], 2)
        wait_for(lambda: not server.alive, 2)


@pytest.mark.row("E6")
@pytest.mark.skipif(sys.platform != "linux", reason="the engine can only be ended from outside on Linux")
def test_kill_9_of_the_front_ends_an_engine_that_is_stuck(slow: str) -> None:
    """An engine that can't run a line of Python, as while it loads, ends with its front too."""
    child = ManagedServer(slow, "token")
    engine = find_engine(child.pid)
    wait_for(lambda: "xllamacpp" in Path(f"/proc/{engine}/maps").read_text(), 10)
    os.kill(engine, signal.SIGSTOP)
    os.kill(child.pid, signal.SIGKILL)
    wait_gone([engine], 2)
    child.end()


@pytest.mark.row("E7")
def test_engine_killed_from_outside_is_said(model: str) -> None:
    """After the engine's death questions get a 502 that says so, and nothing is started silently."""
    with LocalServer(model) as server:
        os.kill(find_engine(server.pid or 0), signal.SIGKILL)
        wait_for(lambda: not server.alive, 2)
        for path, body in (("", {"prompt": "hi"}), ("v1/chat/completions", {"messages": []})):
            reply = post_json(server, path, body)
            assert reply.status_code == 502
            assert reply.json()["error"]["type"] == "engine_gone"
            assert "killed by signal 9" in reply.json()["error"]["message"]
        assert "killed by signal 9" in server.reason
        assert not psutil.Process(server.pid).children()
        assert server.start().alive  # asked to, it starts again


@pytest.mark.row("E8")
def test_second_start_is_no_second_server(model: str) -> None:
    """Starting twice, also from several threads at once, is one server."""
    server = LocalServer(model)
    starts = [threading.Thread(target=server.start) for _ in range(4)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    pid = server.pid
    assert server.start().pid == pid
    assert [child.pid for child in children() if child.ppid() == os.getpid()] == [pid]
    server.stop()


@pytest.mark.row("E9")
def test_no_zombies_threads_or_files_left(model: str) -> None:
    """After start and stop again and again there are as many processes, threads and open files as before."""
    me = psutil.Process()
    with LocalServer(model):
        pass
    gc.collect()
    threads, files = me.num_threads(), me.num_fds()
    for _ in range(ROUNDS):
        server = LocalServer(model).start()
        server.stop()
        server.stop()
    gc.collect()
    assert children() == []
    assert me.num_threads() <= threads and me.num_fds() <= files


@pytest.mark.row("E9")
def test_forgotten_server_ends(model: str) -> None:
    """A server nobody holds any more is ended when it is collected."""
    server = LocalServer(model).start()
    pid = server.pid or 0
    pids = [pid, find_engine(pid)]
    del server
    gc.collect()
    wait_gone(pids, 2)


@pytest.mark.row("E10")
def test_stop_ends_the_engine_of_a_frozen_front(model: str) -> None:
    """A front that no longer runs is ended by force, and its engine with it."""
    server = LocalServer(model).start()
    pids = [server.pid or 0, find_engine(server.pid or 0)]
    os.kill(pids[0], signal.SIGSTOP)
    began = time.monotonic()
    server.stop()
    assert_within(time.monotonic() - began, 3)
    wait_gone(pids, 2)


def test_interrupt_during_start_stops_and_goes_on(slow: str) -> None:
    """An interrupt while the model loads is raised again, with no process left."""
    code = f"""
import psutil, sys
from chatglm_magic.local import LocalServer
server = LocalServer({slow!r}, on_progress=lambda event: print(event["event"], flush=True))
try:
    server.start()
except KeyboardInterrupt:
    print("interrupted", len(psutil.Process().children(recursive=True)), server.alive, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().splitlines()[-1] == "interrupted 0 False"


@pytest.mark.row("S34")
def test_child_sees_an_allow_list_of_the_environment(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither process gets keys or LD_PRELOAD; the front, which downloads, gets HF_TOKEN."""
    secret = {"ZAI_API_KEY": "s1", "CHATGLM_API_KEY": "s2", "AWS_SECRET_ACCESS_KEY": "s3", "LD_PRELOAD": ""}
    for name, value in (secret | {"HF_TOKEN": "s4", "HF_HUB_OFFLINE": "1", "OTHER": "s5"}).items():
        monkeypatch.setenv(name, value)
    with LocalServer(model) as server:
        front = psutil.Process(server.pid)
        engine = front.children()[0]
        assert front.environ()["HF_TOKEN"] == "s4"
        for process in (front, engine):
            assert not {*secret, "OTHER"} & process.environ().keys()
            assert server.token not in " ".join(process.cmdline()) + str(process.environ())
        assert "HF_TOKEN" not in engine.environ()


@pytest.mark.row("S34")
def test_allow_list_by_name() -> None:
    """What looks like a secret stays out even where its prefix is allowed."""
    asked = {"PATH": "p", "LC_ALL": "C", "XDG_TOKEN": "x", "HF_TOKEN": "h", "HF_SOME_KEY": "k", "https_proxy": "q"}
    assert child_env(asked, network=True) == {"PATH": "p", "LC_ALL": "C", "HF_TOKEN": "h", "https_proxy": "q"}
    assert child_env(asked, network=False) == {"PATH": "p", "LC_ALL": "C"}


def test_built_in_model_is_small() -> None:
    """Front and engine of the built-in model hold at most 150 MB together, after answers too."""
    with LocalServer() as server:
        for _ in range(20):
            ask_chat(server, "what is temperature?", max_tokens=100)
        front = psutil.Process(server.pid)
        assert sum(process.memory_info().rss for process in (front, *front.children())) <= 150e6


def test_token_is_new_and_not_shown(model: str) -> None:
    """Each start has a token of its own, which no repr shows."""
    server = LocalServer(model).start()
    first = server.token
    assert len(first) >= 40 and first not in repr(server) and server.url in repr(server)
    server.stop()
    assert repr(server) == "<LocalServer not running>"
    with server:
        assert server.token != first
