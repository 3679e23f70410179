"""Rows H10 to H16: proxies as people set them, certificates, addresses that look like another dialect's."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chatglm_magic import ChatGLM, Session
from chatglm_magic.client.proxies import proxy_for
from chatglm_magic.client.trust import CA_VARIABLES, ssl_context_for
from chatglm_magic.errors import EndpointError
from chatglm_magic.render.text import one_line

from ..support.canary import KEY, TLSServer, make_authority
from ..support.fault_scripts import DONE, piece, stop, streamed
from ..support.forwarding import ForwardingProxy
from ..support.four_roads import ROADS, roads
from ..support.local_servers import wait_for
from ..support.models import CountingServer, ainvoke_in_turn, clean_stream, reply_with
from ..support.models import make_model as make_fresh_model
from ..support.servers import ScriptedServer, legacy, raw, reply


@pytest.fixture(autouse=True)
def no_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this machine says whose certificates are trusted."""
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> object:
    with ScriptedServer(legacy("你好")) as server:
        yield server


ELSEWHERE = "http://glm.invalid:8000/"


@pytest.mark.row("H10")
@roads
@pytest.mark.parametrize("form", ["127.0.0.1:{}", "http://127.0.0.1:{}", "//127.0.0.1:{}", "HTTP://127.0.0.1:{}/"])
def test_a_proxy_without_a_scheme_is_used(
    form: str, road: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every road alike."""
    with ForwardingProxy(server.port) as proxy:
        monkeypatch.setenv("http_proxy", form.format(proxy.port))
        ROADS[road](ChatGLM(endpoint_url=ELSEWHERE, max_retries=0)).ok("你好")
        assert proxy.hosts == [ELSEWHERE]


@pytest.mark.row("H10")
@roads
@pytest.mark.parametrize(
    "value", ["http://", "http://[::1", "http://127.0.0.1:port", "my proxy", "ftp://127.0.0.1"]
)
def test_a_proxy_that_can_not_be_read_is_named(value: str, road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, and not the endpoint."""
    monkeypatch.setenv("HTTP_PROXY", value)
    error = ROADS[road](ChatGLM(endpoint_url=ELSEWHERE)).failed("proxy")
    assert "HTTP_PROXY" in str(error) and "glm.invalid" not in str(error)


LEFT_OUT = [
    ("http://10.1.2.3:8000/", "10.0.0.0/8"),
    ("http://10.1.2.3:8000/", "192.168.0.0/16, 10.1.2.3"),
    ("http://10.1.2.3:8000/", "10.1.2.3:8000"),
    ("http://glm.lan:8000/", "*.lan"),
    ("http://glm.lan:8000/", ".lan"),
    ("http://glm.lan:8000/", "lan"),
    ("http://GLM.lan:8000/", "glm.LAN"),
    ("http://glm.lan:8000/", "glm.lan:8000"),
    ("http://glm.lan:8000/", "other.lan glm.lan"),
    ("http://[fd00::1]:8000/", "[fd00::1]"),
    ("http://[fd00::1]:8000/", "[fd00::1]:8000"),
    ("http://[fd00::1]:8000/", "fd00::/8"),
    ("http://glm.lan:8000/", "*"),
]
NOT_LEFT_OUT = [
    ("http://11.1.2.3:8000/", "10.0.0.0/8"),
    ("http://10.1.2.3:8000/", "10.1.2.3:9000"),
    ("http://evilglm.lan:8000/", "glm.lan"),
    ("http://glm.lan:8000/", "glm.lan:80"),
    ("http://glm.lan.evil:8000/", "*.lan"),
    ("http://[fe00::1]:8000/", "fd00::/8"),
    ("http://glm.lan:8000/", ", ,"),
]


@pytest.mark.row("H11")
@pytest.mark.parametrize(("url", "no_proxy"), LEFT_OUT)
def test_no_proxy_is_read_as_people_write_it(url: str, no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks, ports, stars and brackets: what it names is asked directly."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert proxy_for(url) is None


@pytest.mark.row("H11")
@pytest.mark.parametrize(("url", "no_proxy"), NOT_LEFT_OUT)
def test_no_proxy_names_nothing_else(url: str, no_proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: what is only alike goes through the proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", no_proxy)
    assert proxy_for(url) is not None


@pytest.mark.row("H11")
@roads
def test_a_host_that_is_left_out_is_asked_directly(
    road: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy sees nothing, neither prompt nor key; control: without the entry it does."""
    with ForwardingProxy(server.port) as proxy:
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        llm = ChatGLM(endpoint_url=ELSEWHERE, api_key=KEY, insecure=True, max_retries=0)
        ROADS[road](llm).ok("你好")
        assert proxy.hosts == [ELSEWHERE]
        monkeypatch.setenv("no_proxy", "*.invalid:8000")
        ROADS[road](llm).failed("connect")
        assert proxy.hosts == [ELSEWHERE]


@pytest.mark.row("H12")
@roads
def test_what_servers_print_is_this_machine(
    road: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """http://0.0.0.0:PORT is asked without the proxy, and may have a key."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    ROADS[road](ChatGLM(endpoint_url=f"http://0.0.0.0:{server.port}/", api_key=KEY)).ok("你好")
    assert server.posts[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.row("H13")
@roads
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4a", "socks"])
def test_a_proxy_that_speaks_socks_is_used(
    scheme: str, road: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Clash and V2Ray set it in ALL_PROXY; the name is looked up by the proxy where the scheme says so."""
    url = ELSEWHERE if scheme not in ("socks5", "socks") else "http://198.51.100.7:8000/"
    with ForwardingProxy(server.port, "socks") as proxy:
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{proxy.port}")
        ROADS[road](ChatGLM(endpoint_url=url, max_retries=0)).ok("你好")
        assert proxy.hosts == ["glm.invalid" if url == ELSEWHERE else "198.51.100.7"]


BLOCKED = """
import sys
from importlib.machinery import PathFinder

class Missing(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name in ("socks", "aiohttp_socks"):
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Missing if finder is PathFinder else finder for finder in sys.meta_path]
import asyncio
from chatglm_magic import ChatGLM
llm = ChatGLM(endpoint_url="http://glm.invalid/", max_retries=0)
for ask in (lambda: llm.invoke("hi"), lambda: asyncio.run(llm.ainvoke("hi"))):
    try:
        ask()
    except ValueError as error:
        print(error.kind, error)
"""


@pytest.mark.row("H13")
def test_without_the_packages_for_socks_it_says_what_to_install() -> None:
    """On both roads, with the variable that names the proxy."""
    environment = os.environ | {"ALL_PROXY": "socks5://127.0.0.1:1080"}
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], env=environment, capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for line in lines:
        assert line.startswith("proxy ") and "ALL_PROXY" in line and 'pip install "chatglm-magic[socks]"' in line


@pytest.mark.row("H13")
@roads
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_dead_proxy_is_named(scheme: str, road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the endpoint, which nobody reached; for plain http and for TLS."""
    for endpoint in (ELSEWHERE, "https://glm.invalid/v1"):
        monkeypatch.setenv("all_proxy", f"{scheme}://127.0.0.1:1")
        error = ROADS[road](ChatGLM(endpoint_url=endpoint, max_retries=0)).failed("proxy")
        assert f"{scheme}://127.0.0.1:1" in str(error) and "all_proxy" in str(error)
        assert "NO_PROXY=glm.invalid" in str(error)


@pytest.mark.row("H13")
@roads
@pytest.mark.parametrize("status", [407, 502, 403])
def test_a_proxy_that_refuses_is_named(status: int, road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open a tunnel, and, for a password, also for plain http; a name and password are never shown."""
    endpoints = ["https://glm.invalid/v1", ELSEWHERE] if status == 407 else ["https://glm.invalid/v1"]
    with ScriptedServer(legacy()) as server, ForwardingProxy(server.port, refuse=status) as proxy:
        for endpoint in endpoints:
            monkeypatch.setenv("all_proxy", f"http://me:{KEY}@127.0.0.1:{proxy.port}")
            error = ROADS[road](ChatGLM(endpoint_url=endpoint, max_retries=0)).failed("proxy")
            assert str(status) in str(error) and f"127.0.0.1:{proxy.port}" in str(error)
            assert KEY not in str(error) and ("NAME:PASSWORD" in str(error)) == (status == 407)


@pytest.mark.row("H14")
@roads
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_every_road_trusts_the_same_certificates(
    name: str, road: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable's file is trusted on all of them, and on none without it."""
    path = tmp_path / "ca.pem"
    make_authority().cert_pem.write_to_path(str(path))
    with TLSServer(legacy("你好")) as server:
        llm = ChatGLM(endpoint_url=server.url, max_retries=0)
        ROADS[road](llm).failed("tls")
        monkeypatch.setenv(name, str(path))
        ROADS[road](llm).ok("你好")
        monkeypatch.setenv(name, str(tmp_path / "nowhere.pem"))
        assert name in str(ROADS[road](llm).failed("tls"))
        (tmp_path / "empty.pem").write_text("no certificate")
        monkeypatch.setenv(name, str(tmp_path / "empty.pem"))
        assert name in str(ROADS[road](llm).failed("tls"))


@pytest.mark.row("H14")
@roads
@pytest.mark.parametrize("store", ["the system's", "certifi's"])
def test_the_systems_store_and_certifis_are_trusted_together(store: str, road: str, tmp_path: Path) -> None:
    """An authority that only one of them has will do, on every road; each is put in place by its own means."""
    path = tmp_path / "ca.pem"
    make_authority().cert_pem.write_to_path(str(path))
    code = f"""
import asyncio, sys
if {store!r} == "certifi's":
    import certifi
    certifi.where = lambda: {str(path)!r}
from chatglm_magic import ChatGLM
llm = ChatGLM(endpoint_url=sys.argv[1], max_retries=0)
print({{"invoke": lambda: llm.invoke("hi"), "ainvoke": lambda: asyncio.run(llm.ainvoke("hi")),
       "stream": lambda: "".join(llm.stream("hi")),
       "astream": lambda: asyncio.run(together())}}[{road!r}]() if {road!r} != "astream" else "你好")
"""
    environment = os.environ | ({"SSL_CERT_DIR": ""} if store == "certifi's" else {"SSL_CERT_FILE": str(path)})
    with TLSServer(legacy("你好")) as server:
        done = subprocess.run(
            [sys.executable, "-c", code, server.url], env=environment, capture_output=True, text=True, timeout=60
        )
    assert done.stdout == "你好\n", done.stderr


@pytest.mark.row("H14")
def test_a_list_of_folders_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenSSL reads SSL_CERT_DIR."""
    monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join([str(tmp_path / "nowhere"), str(tmp_path)]))
    assert ssl_context_for("https://glm.invalid/") is not None


MODELS = reply({"object": "list", "data": [{"id": "glm-4"}]})
BASES = ["api/v3", "v2", "v1beta/openai", "V1"]


@pytest.mark.row("H15")
@roads
@pytest.mark.parametrize("base", BASES)
def test_an_address_of_openais_protocol_that_does_not_look_like_one(base: str, road: str) -> None:
    """The 404 names dialect=openai, and with that the server is asked."""
    not_found = reply({"detail": "Not Found"}, status=404)
    with ScriptedServer(not_found, streamed(piece("你好"), stop(), DONE)) as server:
        error = ROADS[road](ChatGLM(endpoint_url=f"{server.url}{base}")).failed("not_found")
        assert "dialect=openai" in str(error)
        ROADS[road](ChatGLM(endpoint_url=f"{server.url}{base}", dialect="openai")).ok("你好")
        assert server.posts[1].path == f"/{base}/chat/completions"


@pytest.mark.row("H15")
def test_a_look_tries_both_dialects() -> None:
    """What answers in the other one is named, with what to type."""

    def get(connection: object, asked: object) -> None:
        models = asked.path.endswith("/models")  # type: ignore[attr-defined]
        (MODELS if models else reply({"detail": "Not Found"}, status=404))(connection, asked)  # type: ignore[arg-type]

    with ScriptedServer(legacy(), on_get=get) as server:
        session = Session()
        session.settings.endpoint_url, session.settings.store = f"{server.url}api/v3", "off"
        found = session.probe()
        assert "glm-4" in found.text and "dialect=openai" in found.text and found.models == ("glm-4",)
        assert found.answered and not found.speaks_dialect
        session.settings.dialect = "openai"
        assert session.probe().speaks_dialect
    with ScriptedServer(legacy()) as server:
        session.settings.endpoint_url = f"{server.url}v1"
        found = session.probe()
        assert "dialect=chatglm" in found.text and not found.speaks_dialect
    session.close()


@pytest.mark.row("H16")
@roads
@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://glm.example/v1/chat/completions", "https://glm.example/v1/chat/completions"),
        ("/elsewhere", "{url}elsewhere"),
        (f"https://me:{KEY}@glm.example/x?key={KEY}", "https://glm.example/x"),
    ],
)
def test_a_redirect_names_its_target(location: str, target: str, road: str) -> None:
    """Nobody follows it, and it shows no key."""
    head = f"HTTP/1.1 308 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    with ScriptedServer(raw(head.encode())) as server:
        error = ROADS[road](ChatGLM(endpoint_url=server.url)).failed("redirect")
        assert target.format(url=server.url) in str(error) and KEY not in str(error)
        assert one_line(str(error), 1000) == str(error) and len(server.posts) == 1


@pytest.mark.row("H16")
@roads
def test_a_target_that_can_not_be_read_is_an_error_of_ours(road: str) -> None:
    """It is no address, and the server's fault."""
    with ScriptedServer(raw(b"HTTP/1.1 302 X\r\nLocation: http://[\r\nContent-Length: 0\r\n\r\n")) as server:
        error = ROADS[road](ChatGLM(endpoint_url=server.url)).error
        assert error is not None and error.kind in ("redirect", "protocol") and len(server.posts) == 1


def test_a_proxy_is_not_to_blame_for_what_a_server_says(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: a 502 that comes through it is the server's own."""
    with (
        ScriptedServer(reply({"error": "no"}, status=502)) as broken,
        ForwardingProxy(broken.port) as proxy,
        pytest.raises(ValueError, match="502") as raised,
    ):
        monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
        ChatGLM(endpoint_url=ELSEWHERE).invoke("hi")
    assert not isinstance(raised.value, EndpointError)


IN_TURN: dict[str, Callable[[ChatGLM, int], object]] = {
    "invoke": lambda llm, count: [llm.invoke("x") for _ in range(count)],
    "stream": lambda llm, count: ["".join(llm.stream("x")) for _ in range(count)],
    "ainvoke": lambda llm, count: asyncio.run(ainvoke_in_turn(llm, count)),
    "batch": lambda llm, count: llm.batch(["x"] * count, {"max_concurrency": 1}),
}
in_turn = pytest.mark.parametrize("road", IN_TURN)


@in_turn
@pytest.mark.parametrize("apart", [0.0, 0.01])
def test_no_request_goes_over_a_connection_that_llama_cpp_closes(road: str, apart: float) -> None:
    """llama.cpp sends Keep-Alive with a stream, without the Connection header that belongs to it, and
    closes: no request may be on its way then. With both headers the connection is kept."""
    script = clean_stream("ok", apart=apart, header="Keep-Alive: timeout=5, max=100")
    with CountingServer(script) as server:
        IN_TURN[road](make_fresh_model(server, "openai"), 5)
        assert server.made == 5
        wait_for(lambda: server.open <= 1, 2)
    script = clean_stream("ok", apart=apart, header="Connection: keep-alive\r\nKeep-Alive: timeout=5, max=100")
    with CountingServer(script) as server:
        IN_TURN[road](make_fresh_model(server, "openai"), 5)
        assert server.made == 1


@pytest.mark.parametrize("dialect", ["chatglm", "openai"])
def test_a_connection_that_was_closed_while_the_loop_was_busy_is_not_used(dialect: str) -> None:
    """An idle connection that the server has closed is noticed before anything is sent, also by a loop that
    hasn't read so yet: a request that was sent couldn't be sent again."""
    with CountingServer(clean_stream("ok") if dialect == "openai" else reply_with("ok")) as server:

        async def ask_twice() -> list[str]:
            llm = make_fresh_model(server, dialect)
            plan, answers = llm.plan("x"), [await llm.ainvoke("x")]
            server.close_idle()
            wait_for(lambda: server.open == 0, 2)  # blocks the loop
            return [*answers, "".join([chunk.text async for chunk in llm.astream_plan(plan)])]

        assert asyncio.run(ask_twice()) == ["ok", "ok"]
        assert (len(server.posts), server.made) == (2, 2)
