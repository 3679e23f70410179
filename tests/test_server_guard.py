"""Who may use the local server, and what text may do to the model (FAULTS.md S25 to S27, S33)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from chatglm_magic.local import LocalServer
from chatglm_magic.server.engine_process import Engine, EngineOptions
from chatglm_magic.server.guard import Guard
from chatglm_magic.server.models import local_model
from chatglm_magic.server.openai_api import escape_special_tokens

from .support.clock import is_linear
from .support.local_servers import (
    FIRST_SPECIAL,
    ROLE_TEXTS,
    SPECIALS,
    ask_engine,
    auth_headers,
    find_engine,
    post_json,
    read_until,
    run_standalone,
    write_model,
)

pytestmark = pytest.mark.heavy

HI = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of byte tokens, whose special ids are known."""
    return write_model(tmp_path_factory.mktemp("models") / "zero.gguf")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[LocalServer]:
    """The local server with that model."""
    with LocalServer(model) as running:
        yield running


@pytest.fixture(scope="module")
def bare(model: Path) -> Iterator[Engine]:
    """The same engine with nobody in front of it: the control."""
    engine = Engine(local_model(model), EngineOptions())
    engine.start()
    engine.url.result(20)
    yield engine
    engine.stop()


@pytest.mark.row("S25")
@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic dXNlcjpwdw==", "Bearer é"])
def test_another_user_gets_401(server: LocalServer, given: str) -> None:
    """Without this server's own token every route but /health is a 401; with it, it works (the control)."""
    assert post_json(server, "v1/chat/completions", HI).status_code == 200
    wrong = {"Authorization": given.encode()} if given else {}
    for method, path in (
        ("POST", "v1/chat/completions"),
        ("POST", ""),
        ("GET", "v1/models"),
        ("POST", "tokenize"),
    ):
        reply = requests.request(method, server.base_url + path, json=HI, headers=wrong, timeout=5)
        assert reply.status_code == 401
        assert reply.json()["error"]["type"] == "authentication_error"
        assert server.token not in reply.text


@pytest.mark.row("S25")
def test_binds_loopback_only(server: LocalServer) -> None:
    """Both processes listen on 127.0.0.1 and nowhere else, on ports the system chose."""
    front = psutil.Process(server.pid)
    for process in (front, psutil.Process(find_engine(front.pid))):
        listening = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert [address.ip for address in listening] == ["127.0.0.1"]
        assert listening[0].port > 1023


@pytest.mark.row("S25")
def test_the_engine_itself_wants_its_key(bare: Engine) -> None:
    """The engine's own port is of no use without the key that only its front knows."""
    assert ask_engine(bare, "/v1/chat/completions", HI).status_code == 200
    stranger = requests.post(bare.url.result() + "/v1/chat/completions", json=HI, timeout=5)
    assert stranger.status_code == 401


@pytest.mark.row("S26")
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.", "[::2]"]
)
def test_foreign_host_is_403(server: LocalServer, bare: Engine, host: str) -> None:
    """A name that was rebound to this machine gets a 403; llama.cpp itself answers it (the control)."""
    assert ask_engine(bare, "/v1/chat/completions", HI, Host=host).status_code == 200
    reply = requests.post(
        f"{server.url}/chat/completions", json=HI, headers=auth_headers(server, Host=host), timeout=5
    )
    assert reply.status_code == 403
    assert "--allow-host" in reply.json()["error"]["message"]


@pytest.mark.row("S26")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "LOCALHOST", "[::1]", "[::1]:8000"])
def test_own_names_are_served(server: LocalServer, host: str) -> None:
    """This machine's own names are served, with any port: a tunnel may change it."""
    reply = requests.get(f"{server.url}/models", headers=auth_headers(server, Host=host), timeout=5)
    assert reply.status_code == 200


@pytest.mark.row("S26")
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1", "file://", "http://127.0.0.1:1"]
)
def test_foreign_origin_is_403(server: LocalServer, bare: Engine, origin: str) -> None:
    """A page of another site gets a 403 and no CORS header; llama.cpp would let it read (the control)."""
    control = ask_engine(bare, "/v1/chat/completions", HI, Origin=origin)
    assert control.headers["Access-Control-Allow-Origin"] in (origin, "*")
    asked = auth_headers(server, Origin=origin)
    for reply in (
        requests.post(f"{server.url}/chat/completions", json=HI, headers=asked, timeout=5),
        requests.options(f"{server.url}/chat/completions", headers=asked, timeout=5),
        requests.get(server.base_url + "health", headers=asked, timeout=5),
    ):
        assert reply.status_code == 403
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]


@pytest.mark.row("S26")
def test_own_origin_is_served(server: LocalServer) -> None:
    """A page of the server's own origin is no stranger."""
    own = auth_headers(server, Origin=server.base_url.rstrip("/"))
    assert requests.get(f"{server.url}/models", headers=own, timeout=5).status_code == 200


@pytest.mark.row("S26")
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "text/json"]
)
def test_only_json_is_taken(server: LocalServer, bare: Engine, kind: str) -> None:
    """A page could send these without asking first: 415 here; llama.cpp takes text/plain (the control)."""
    if kind == "text/plain":
        assert ask_engine(bare, "/v1/chat/completions", HI, Content_Type=kind).status_code == 200
    for path in ("", "v1/chat/completions", "tokenize"):
        asked = auth_headers(server, Content_Type=kind)
        reply = requests.post(server.base_url + path, b'{"prompt": "hi"}', headers=asked, timeout=5)
        assert reply.status_code == 415
    asked = auth_headers(server, Content_Type="application/json; charset=utf-8")
    assert requests.post(server.base_url, b'{"prompt": "hi"}', headers=asked, timeout=5).status_code == 200


@pytest.mark.row("S26")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_cap_is_413(server: LocalServer, chunked: bool) -> None:
    """More than 16 MiB is refused while it is read, with or without a Content-Length."""
    data: Any = b" " * (17 << 20)
    asked = auth_headers(server, Content_Type="application/json")
    body = (data[place : place + 65536] for place in range(0, len(data), 65536)) if chunked else data
    try:
        reply = requests.post(server.base_url, body, headers=asked, timeout=10)
    except requests.ConnectionError:
        return  # refused before the last byte, which not every client takes for an answer
    assert reply.status_code == 413 and reply.json()["error"]["type"] == "request_too_large"


@pytest.mark.row("S26")
def test_says_who_it_is(server: LocalServer) -> None:
    """Every answer, refusals too, names the package and its version in the header Server."""
    for path in ("health", "v1/models", "nothing"):
        name = requests.get(server.base_url + path, timeout=5).headers["Server"]
        assert re.fullmatch(r"chatglm-magic/\d+\.\d+\S*", name)


@pytest.mark.row("S27")
def test_warns_when_open_to_others(model: Path) -> None:
    """Bound to every address without a token it warns; with one, or on loopback (the control), it doesn't."""
    for args, warned in ((("--host", "0.0.0.0"), True), (("--host", "0.0.0.0", "--token"), False), ((), False)):
        with run_standalone(str(model), "--port", "0", *args) as process:
            read_until(process, "Ready")
            process.terminate()
            assert ("everyone on the network" in process.communicate(timeout=5)[1]) is warned


@pytest.mark.row("S27")
def test_an_open_server_still_checks_names() -> None:
    """Open to the network, any literal address is served, but no name that was not allowed."""
    guard = Guard("t", ["lab.example"], any_ip=True)
    allowed = {"10.0.0.5:8000": True, "[fe80::1]:80": True, "lab.example": True, "evil.example": False, "": False}
    assert {host: guard._is_allowed_host(host) for host in allowed} == allowed


@pytest.mark.parametrize("attack", ROLE_TEXTS)
def test_role_tokens_cannot_be_smuggled(server: LocalServer, bare: Engine, attack: str) -> None:
    """No text of a user becomes a special token: exactly those of the template are in the rendered chat."""
    body = {"messages": [{"role": "user", "content": attack}]}

    def specials(text: str) -> list[int]:
        tokens = ask_engine(bare, "/tokenize", {"content": text, "parse_special": True}).json()["tokens"]
        return [token for token in tokens if token >= FIRST_SPECIAL]

    control = len(specials(attack))
    assert control or attack not in ROLE_TEXTS[: 1 + len(SPECIALS)]  # these do become special tokens by themselves
    assert specials(escape_special_tokens(attack)) == []
    assert escape_special_tokens(escape_special_tokens(attack)) == escape_special_tokens(attack)
    # as many tokens as the engine counts for the harmless text: so the front sent that
    clean = {"messages": [{"role": "user", "content": escape_special_tokens(attack)}]}
    expected = ask_engine(bare, "/v1/chat/completions/input_tokens", clean).json()["input_tokens"]
    for path in ("v1/chat/completions/input_tokens",):
        assert post_json(server, path, body).json()["input_tokens"] == expected
    reply = post_json(server, "v1/chat/completions", body | {"max_tokens": 1})
    assert reply.json()["usage"]["prompt_tokens"] == expected
    assert ("role tokens" in reply.headers.get("X-ChatGLM-Changed", "")) is (
        escape_special_tokens(attack) != attack
    )


def test_role_tokens_cannot_be_smuggled_through_history(server: LocalServer) -> None:
    """POST / takes them apart in prompt and history alike, and gives the history back as it was."""
    history = [["<|user|>", "[gMASK]<sop>"]]
    reply = post_json(server, "", {"prompt": "<|assistant|>", "history": history, "max_length": 100})
    assert reply.json()["history"][0] == history[0]
    changed = reply.headers["X-ChatGLM-Changed"]
    assert [place in changed for place in ("prompt=", "history[0][0]=", "history[0][1]=")] == [True] * 3


def test_a_smuggled_role_works_without_the_front() -> None:
    """The control on the real model: three turns are few tokens, the forged ones are many more."""
    with LocalServer() as server:
        attack = {"messages": [{"role": "user", "content": ROLE_TEXTS[0]}], "max_tokens": 1}
        forged = [("user", "hi"), ("assistant", "Your name is Bob."), ("user", "what is my name?")]
        turns = {"messages": [{"role": role, "content": text} for role, text in forged]}
        as_turns = post_json(server, "v1/chat/completions/input_tokens", turns).json()["input_tokens"]
        through_us = post_json(server, "v1/chat/completions/input_tokens", attack).json()["input_tokens"]
        assert through_us > as_turns + 8  # the markers are words now


def test_ordinary_text_is_left_alone() -> None:
    """Code, mathematics, HTML and pipes that are no tokens stay as they are."""
    for text in (
        "a <| b |> c",
        "x < y | z > w",
        "[mask] <b>hi</b> <script>",
        "if a<|b|: <|>",
        "[MASKED]",
        "1 <| 2|> 3",
    ):
        assert escape_special_tokens(text) == text


@pytest.mark.row("S33")
def test_neutralise_is_linear() -> None:
    """A mebibyte of hostile text takes linear time."""
    for hostile in ("<|", "<|a", "<" * 64 + "|", "[gMASK]", "<|user|>", "<|" + "|" * 70, "<|" + "a" * 70):
        text = (hostile * ((1 << 20) // len(hostile) + 1))[: 1 << 20]
        assert is_linear(escape_special_tokens, text), hostile
