"""`python -m chatglm_magic.server` in a terminal, and models from a hub."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from chatglm_magic.errors import ServeError
from chatglm_magic.local import LocalServer
from chatglm_magic.server.models import HubModel, ModelError, ModelFile, choose_files, find_model

from .support.clock import assert_within
from .support.local_servers import find_engine, read_until, run_standalone, serve_hub, wait_gone, write_model

pytestmark = pytest.mark.heavy

TOKEN = {"CHATGLM_SERVER_TOKEN": "my-own-token"}


def url_in(text: str) -> str:
    """Return the URL for POST / in what the server printed."""
    found = re.search(r"POST (http://\S+/)", text)
    assert found, text
    return found[1]


def test_prints_one_block_and_answers_both_protocols() -> None:
    """Without arguments but a port it serves the built-in model, with no token, and says where."""
    with run_standalone("--port", "0") as process:
        seen = read_until(process, "Ready")
        url = url_in(seen)
        assert "glm-tiny" in seen and f"{url}v1" in seen and "Ctrl-C" in seen
        assert requests.post(url, json={"prompt": "你好"}, timeout=10).json()["status"] == 200
        body = {"messages": [{"role": "user", "content": "hi"}]}
        assert requests.post(f"{url}v1/chat/completions", json=body, timeout=10).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """Ctrl-C, and a polite end, take less than a second and leave no traceback and no engine."""
    with run_standalone("--port", "0") as process:
        read_until(process, "Ready")
        engine = find_engine(process.pid)
        began = time.monotonic()
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=30)
        assert_within(time.monotonic() - began, 1)
        assert (process.returncode, err) == (0, "") and "Stopped." in out
        wait_gone([engine], 1)


def test_ctrl_c_while_it_starts() -> None:
    """An early Ctrl-C ends it without a traceback too."""
    with run_standalone("--port", "0") as process:
        engine = find_engine(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        assert "Traceback" not in process.communicate(timeout=5)[1]
        wait_gone([engine], 2)


@pytest.mark.row("E1")
def test_taken_port_is_one_line() -> None:
    """A taken port is an error that names it and the way to a free one; the engine goes too."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with run_standalone("--port", str(port)) as process:
            _, err = process.communicate(timeout=10)
            assert process.returncode == 1
            assert f"Port {port}" in err and "--port 0" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--port", "70000"), "port (0 to 65535)"),
        (("--port", "-1"), "port (0 to 65535)"),
        (("--threads", "0"), "positive number"),
        (("--host", "no.such.host.invalid", "--port", "0"), "no.such.host.invalid"),
        (("--host", "203.0.113.7", "--port", "0"), "203.0.113.7"),
        (("/no/such.gguf",), "There is no file"),
        (("/",), "is a directory"),
        (("nothing",), "owner/name"),
    ],
)
def test_wrong_arguments_are_said(args: tuple[str, ...], said: str) -> None:
    """An argument that can't be meant ends with a sentence, never with a traceback."""
    with run_standalone(*args) as process:
        _, err = process.communicate(timeout=10)
        assert process.returncode != 0
        assert said in err and "Traceback" not in err


def test_bad_model_ends_with_the_engines_reason(tmp_path: Path) -> None:
    """A truncated file is a line on standard error and exit code 1."""
    path = write_model(tmp_path / "zero.gguf")
    path.write_bytes(path.read_bytes()[:-40])
    with run_standalone(str(path), "--port", "0") as process:
        _, err = process.communicate(timeout=10)
        assert process.returncode == 1
        assert "corrupted or incomplete" in err and err.count("\n") == 1


def test_token_is_asked_for_and_shown_once() -> None:
    """With --token it takes the token of the environment, or makes one, and prints it once."""
    with run_standalone("--port", "0", "--token", env=TOKEN) as process:
        seen = read_until(process, "Ready")
        assert seen.count("my-own-token") == 1
        ask = {"prompt": "hi"}
        assert requests.post(url_in(seen), json=ask, timeout=5).status_code == 401
        key = {"Authorization": "Bearer my-own-token"}
        assert requests.post(url_in(seen), json=ask, headers=key, timeout=5).status_code == 200
    with run_standalone("--port", "0", "--token", env={"CHATGLM_SERVER_TOKEN": ""}) as process:
        made = re.search(r"token +(\S{30,})", read_until(process, "Ready"))
        assert made


def test_allow_host_adds_a_name() -> None:
    """A name given with --allow-host is served, another is not."""
    with run_standalone("--port", "0", "--allow-host", "lab.example") as process:
        url = url_in(read_until(process, "Ready")) + "v1/models"
        answers = [
            requests.get(url, headers={"Host": h}, timeout=5).status_code for h in ("lab.example:1", "x.example")
        ]
        assert answers == [200, 403]


@pytest.mark.row("E7")
def test_says_when_the_engine_has_ended() -> None:
    """When the engine is killed the terminal says so, and questions get a 502."""
    with run_standalone("--port", "0") as process:
        url = url_in(read_until(process, "Ready"))
        os.kill(find_engine(process.pid), signal.SIGKILL)
        assert process.stderr is not None
        assert "killed by signal 9" in process.stderr.readline()
        assert requests.post(url, json={"prompt": "hi"}, timeout=5).status_code == 502


def test_managed_wants_its_token_line() -> None:
    """Without the first line of input a managed server says so and ends."""
    command = [sys.executable, "-m", "chatglm_magic.server", "--managed"]
    for line in (b"nonsense\n", b"{}\n", b""):
        done = subprocess.run(command, input=line, capture_output=True, timeout=10)
        assert done.returncode == 1
        assert json.loads(done.stdout.splitlines()[0])["event"] == "failed"


def test_downloads_from_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository name fetches its GGUF through huggingface_hub from HF_ENDPOINT, with progress, and once."""
    data = write_model(tmp_path / "zero.gguf").read_bytes()
    files = {"README.md": b"hi", "zero-Q8_0.gguf": data, "zero-Q4_K_M.gguf": data}
    with serve_hub(files) as (url, asked):
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
        events: list[dict[str, object]] = []
        with LocalServer("owner/tiny:q8_0", on_progress=events.append) as server:
            assert server.model == "zero-Q8_0"
            assert (
                requests.post(
                    server.base_url,
                    json={"prompt": "hi", "max_length": 20, "temperature": 0},
                    headers={"Authorization": f"Bearer {server.token}"},
                    timeout=10,
                )
                .json()["response"]
                .startswith("!!")
            )
        told = [event for event in events if event["event"] == "downloading"]
        assert told[-1] == {
            "event": "downloading",
            "file": "zero-Q8_0.gguf",
            "bytes": len(data),
            "total": len(data),
        }
        assert not [path for path in asked if "Q4_K_M" in path]
        fetched = len([path for path in asked if path.startswith("GET")])
        with LocalServer("owner/tiny:q8_0"):
            assert len([path for path in asked if path.startswith("GET")]) == fetched
    with LocalServer("owner/tiny:q8_0") as server:  # the hub is gone, the cache is not
        assert server.model == "zero-Q8_0"


@pytest.mark.row("H39")
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("https://www.modelscope.cn/models/x/y.gguf", ("addresses are not fetched", "Download the file")),
        ("HTTP://127.0.0.1/a.gguf", ("addresses are not fetched",)),
        ("owner/tiny", ("could not be fetched", "HF_ENDPOINT", "give its path")),
    ],
)
def test_what_can_not_be_fetched_says_what_to_do(
    model: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address, and a hub that can't be reached; one that answers 404 has been."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    with pytest.raises(ServeError) as raised, LocalServer(model):
        pass
    assert all(part in str(raised.value) for part in words)


def test_download_in_a_terminal_shows_a_bar(tmp_path: Path) -> None:
    """Stand-alone, huggingface_hub's own progress bar is on standard error."""
    data = write_model(tmp_path / "zero.gguf").read_bytes()
    with serve_hub({"zero.gguf": data}) as (url, _):
        # the last makes tqdm show itself without a terminal
        env = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "cache"), "TQDM_POSITION": "-1"}
        with run_standalone("owner/tiny", "--port", "0", env=env) as process:
            read_until(process, "Ready")
            process.terminate()
            assert "zero.gguf" in process.communicate(timeout=5)[1]


@pytest.mark.parametrize(
    ("model", "said"),
    [("owner/other", "could not be fetched"), ("owner/tiny:Q2_K", "Which file"), ("owner/tiny", "Which file")],
)
def test_hub_without_the_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, said: str
) -> None:
    """A repository or a file that is not there is an error in one line."""
    with serve_hub({"a.gguf": b"GGUF", "b.gguf": b"GGUF"}) as (url, _):
        env = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "cache")}
        with run_standalone(model, "--port", "0", env=env) as process:
            _, err = process.communicate(timeout=20)
            assert process.returncode == 1
            assert said in err and err.count("\n") == 1


def test_unreachable_hub_is_one_line(tmp_path: Path) -> None:
    """A hub that does not answer is an error that names the repository."""
    env = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    with run_standalone("owner/tiny", "--port", "0", env=env) as process:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "'owner/tiny' could not be fetched" in err and err.count("\n") == 1


def test_choosing_a_file() -> None:
    """One file is taken, a usual quantisation preferred, all parts of a split one fetched, projectors left."""
    shards = [f"big-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    names = [*shards, "m-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-m.gguf", "README.md"]
    assert choose_files(names, HubModel("o/n", "")) == ["m-Q4_K_M.gguf"]
    assert choose_files(names, HubModel("o/n", "q8_0")) == ["m-Q8_0.gguf"]
    assert choose_files(names, HubModel("o/n", "big")) == shards
    for wanted in ("nothing", "m-Q"):
        with pytest.raises(ModelError, match="Which file"):
            choose_files(names, HubModel("o/n", wanted))
    with pytest.raises(ModelError, match="no GGUF"):
        choose_files(["README.md"], HubModel("o/n", ""))


def test_what_a_name_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that exists is a file, before a repository of the same name."""
    monkeypatch.chdir(tmp_path)
    assert find_model("owner/name") == HubModel("owner/name", "")
    assert find_model("owner/name:a/b-Q8_0.gguf") == HubModel("owner/name", "a/b-Q8_0.gguf")
    (tmp_path / "owner").mkdir()
    write_model(tmp_path / "owner" / "name")
    assert find_model("owner/name") == ModelFile((tmp_path / "owner" / "name").resolve(), "name")
    for wrong in ("", "a/b/c", "x.gguf", "owner/x.gguf", "../up", "a\0b", "x" * 5000):
        with pytest.raises(ModelError):
            find_model(wrong)
