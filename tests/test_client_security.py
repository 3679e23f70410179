"""The network side: no proxy and no netrc for this machine, no redirect followed, TLS checked, no key in clear."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from chatglm_magic import ChatGLM

from .support.canary import KEY, MANNERS, PROMPT, PROXIES, QUIET, Recorder, ServerAt, has_leaked, travel
from .support.servers import Script, ScriptedServer, legacy, reply


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A proxy that the whole environment points at."""
    with Recorder() as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url)
        yield proxy


def has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


HOMES = [
    ("127.0.0.1", None),
    ("127.0.0.1", "localhost"),
    ("127.0.0.1", "LocalHost"),
    pytest.param("::1", None, marks=pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")),
]


@pytest.mark.row("S19")
def test_the_proxy_sees_what_requests_sends(proxy: Recorder) -> None:
    """The control: requests sends a question for this machine, with its key, to the proxy; so do we for others."""
    with suppress(requests.RequestException):
        requests.post("http://127.0.0.1:1/", json={"prompt": PROMPT}, headers={"X-Auth": KEY}, timeout=5)
    assert KEY.encode() in proxy.data and proxy.connections == 1
    error = travel("sync", ChatGLM(endpoint_url="http://glm.invalid/", max_retries=0))
    assert error is not None and proxy.connections == 2 and b"glm.invalid" in proxy.data


@pytest.mark.row("S19")
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize(("host", "name"), HOMES)
def test_no_proxy_sees_a_byte_for_this_machine(proxy: Recorder, host: str, name: str | None, manner: str) -> None:
    """127.0.0.1, ::1 and localhost are reached directly, however the environment is set."""
    with ServerAt(host, legacy("ok"), name=name) as server:
        assert travel(manner, ChatGLM(endpoint_url=server.url, api_key=KEY)) is None
        assert server.asked and has_leaked(server.asked[0].headers)
    assert proxy.connections == 0 and proxy.data == b""


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .netrc with a password for this machine, where every library looks for one."""
    text = "".join(
        f"machine {host} login netrc-user password netrc-pass\n" for host in ("127.0.0.1", "localhost", "::1")
    )
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text(text + "default login netrc-user password netrc-pass\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))


BASIC = "Basic bmV0cmMtdXNlcjpuZXRyYy1wYXNz"


@pytest.mark.row("S19")
def test_requests_sends_what_netrc_says(netrc: None) -> None:
    """The control: its credentials even take the place of an explicit key."""
    with ScriptedServer(reply({})) as server:
        requests.post(server.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=5)
        assert server.posts[0].headers["authorization"] == BASIC


@pytest.mark.row("S19")
@pytest.mark.parametrize("key", [KEY, None], ids=["key", "none"])
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_netrc_is_not_read(netrc: None, name: str, manner: str, key: str | None) -> None:
    """The key that was given is the one that is sent; without one there is no Authorization."""
    with ServerAt("127.0.0.1", legacy("ok"), name=name) as server:
        assert travel(manner, ChatGLM(endpoint_url=server.url, api_key=key)) is None
        seen = {asked.headers.get("authorization") for asked in server.asked}
    assert seen == {f"Bearer {key}" if key else None}


STATUSES = [301, 302, 303, 307, 308]


def moved(status: int, to: str) -> Script:
    return reply("", status=status, Location=to, Set_Cookie="a=b")


@pytest.mark.row("S20")
@pytest.mark.parametrize("status", STATUSES)
def test_requests_follows_a_redirect(status: int) -> None:
    """The control: it takes X-Api-Key along everywhere, and the question too with 307 and 308."""
    with ScriptedServer(legacy(), on_get=reply({})) as target, ScriptedServer(moved(status, target.url)) as server:
        body, headers = {"prompt": PROMPT}, {"X-Api-Key": KEY}
        requests.post(server.url.replace("127.0.0.1", "localhost"), json=body, headers=headers, timeout=5)
        assert has_leaked(target.asked[0].headers) and (PROMPT.encode() in target.asked[0].raw) is (status >= 307)


@pytest.mark.row("S20")
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("status", STATUSES)
def test_no_redirect_is_followed(status: int, manner: str) -> None:
    """The other server is not even connected to, nor is another path of the same one."""
    with Recorder() as target:
        to = moved(status, target.url)
        with ScriptedServer(to, on_get=to) as server:
            llm = ChatGLM(endpoint_url=server.url, api_key=KEY, headers={"X-Api-Key": KEY})
            error = travel(manner, llm)
            assert (error is None) if manner in QUIET else (error is not None)
            assert error is None or (error.kind == "redirect" and not has_leaked(error))
            asked = len(server.asked)
            to_itself = moved(status, server.url + "elsewhere")
            server.scripts[:], server.on_get = [to_itself], to_itself
            travel(manner, llm)
            assert {ask.path for ask in server.asked[asked:]} <= {"/", "/tokenize"} and len(server.asked) <= 4
    assert target.connections == 0 and target.data == b""


@pytest.mark.row("S20")
def test_a_cookie_of_a_server_is_not_kept() -> None:
    """A session that a server opens would be a key that nobody gave."""
    with ScriptedServer(
        reply({"response": "ok", "history": [], "status": 200}, Set_Cookie="s=1; Path=/")
    ) as server:
        llm = ChatGLM(endpoint_url=server.url)

        async def twice() -> None:
            await llm.ainvoke(PROMPT)
            await llm.ainvoke(PROMPT)

        llm.invoke(PROMPT)
        llm.invoke(PROMPT)
        asyncio.run(twice())
        assert len(server.posts) == 4 and not [ask for ask in server.posts if "cookie" in ask.headers]
