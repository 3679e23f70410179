"""TLS is checked, and no key goes over plain http to another machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import chatglm_magic
from chatglm_magic import ChatGLM, Session
from chatglm_magic.errors import ChatGLMError, EndpointError

from .support.canary import (
    KEY,
    MANNERS,
    PROMPT,
    PROXIES,
    QUIET,
    Recorder,
    ServerAt,
    TLSServer,
    find_other_address,
    has_leaked,
    make_authority,
    make_model_with_key,
    travel,
)
from .support.servers import ScriptedServer, legacy

PACKAGE = Path(chatglm_magic.__file__).parent

TRICKS = {"PYTHONHTTPSVERIFY": "0", "SSL_CERT_FILE": "", "CURL_CA_BUNDLE": "", "REQUESTS_CA_BUNDLE": ""}


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle of certificates that knows the tests' own authority."""
    make_authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))


@pytest.mark.row("S21")
@pytest.mark.parametrize("manner", MANNERS)
def test_a_certificate_that_is_in_order_is_taken(
    trusted: None, manner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with its authority trusted, the server is asked, key and all, past any proxy."""
    with TLSServer(legacy("ok")) as server, Recorder() as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url)
        assert travel(manner, ChatGLM(endpoint_url=server.url, api_key=KEY)) is None
        assert server.asked and has_leaked(server.asked[0].headers)
    assert proxy.connections == 0


@pytest.mark.row("S21")
@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("fault", ["unknown", "name"])
def test_a_certificate_that_is_not_is_refused(
    fault: str, manner: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown authority or another host's name: nothing is sent, whatever the environment and insecure say."""
    if fault == "name":
        request.getfixturevalue("trusted")
    for name, value in TRICKS.items():
        if not (fault == "name" and name == "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, value)
    with TLSServer(legacy("ok"), names=("glm.example",) if fault == "name" else ("127.0.0.1",)) as server:
        for fields in ({"api_key": KEY}, {"api_key": KEY, "insecure": True}, {}):
            error = travel(manner, ChatGLM(endpoint_url=server.url, max_retries=0, **fields))
            assert manner in QUIET or (error is not None and error.kind == "tls")
        assert server.asked == []


UNCHECKED = {"CERT_NONE", "_create_unverified_context", "disable_warnings", "InsecureRequestWarning"}


def unchecked(source: str) -> list[str]:
    """Return what in a source text switches the checking of certificates off."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name | ast.Attribute):
            name = node.id if isinstance(node, ast.Name) else node.attr
            found += [name] if name in UNCHECKED else []
        pairs: list[tuple[str | None, ast.expr]] = []
        if isinstance(node, ast.keyword):
            pairs = [(node.arg, node.value)]
        elif isinstance(node, ast.Assign):
            pairs = [(target.attr, node.value) for target in node.targets if isinstance(target, ast.Attribute)]
        for name, value in pairs:
            off = isinstance(value, ast.Constant) and value.value is False
            found += [f"{name}=False"] if off and name in ("verify", "ssl", "check_hostname", "verify_ssl") else []
    return found


@pytest.mark.row("S21")
@pytest.mark.parametrize(
    "source",
    ["session.verify = False", "requests.get(u, verify=False)", "c.verify_mode = ssl.CERT_NONE", "f(ssl=False)"],
)
def test_the_check_sees_what_it_looks_for(source: str) -> None:
    """The control: each usual way of switching verification off is found."""
    assert unchecked(source)


@pytest.mark.row("S21")
def test_verification_is_never_switched_off() -> None:
    """Nowhere in the package."""
    files = list(PACKAGE.rglob("*.py"))
    assert len(files) > 50 and not [path for path in files if unchecked(path.read_text(encoding="utf-8"))]


@contextmanager
def elsewhere() -> Iterator[ScriptedServer]:
    """A server at an address of this machine that is not loopback: as far away as a test can go."""
    address = find_other_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    with ServerAt(address, legacy("ok")) as server:
        yield server


KEYED: list[dict[str, Any]] = [
    {"api_key": KEY},
    {"headers": {"Authorization": f"Bearer {KEY}"}},
    {"headers": {"X-Api-Key": KEY}},
]


@pytest.mark.row("S22")
@pytest.mark.parametrize("fields", KEYED, ids=["api_key", "Authorization", "X-Api-Key"])
@pytest.mark.parametrize("manner", MANNERS)
def test_no_key_goes_over_plain_http_to_another_machine(manner: str, fields: dict[str, Any]) -> None:
    """Refused before anything is sent; with insecure=True, or without a key, it is sent (the control)."""
    with elsewhere() as server:
        error = travel(manner, ChatGLM(endpoint_url=server.url, **fields))
        assert not has_leaked(*[asked.headers for asked in server.asked])
        if manner not in QUIET:
            assert isinstance(error, EndpointError) and error.kind == "insecure" and server.asked == []
            assert "insecure=True" in str(error) and not has_leaked(error)
        server.asked.clear()
        assert travel(manner, ChatGLM(endpoint_url=server.url, **fields, insecure=True)) is None
        assert has_leaked(server.asked[0].headers)
        assert travel(manner, ChatGLM(endpoint_url=server.url)) is None
        assert not has_leaked(server.asked[-1].headers)


@pytest.mark.row("S22")
def test_the_environments_key_is_held_back_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting the address alone, which is looked at once, must not send it either."""
    with elsewhere() as server:
        session = Session()
        session.llm = make_model_with_key("environment", monkeypatch)
        with suppress(ChatGLMError):
            session.settings.endpoint_url = server.url
        with suppress(ChatGLMError):
            session.probe()
        with pytest.raises(EndpointError) as caught:
            session.ask(PROMPT)
        assert caught.value.kind == "insecure" and not has_leaked(*[asked.headers for asked in server.asked])


@pytest.mark.row("S22")
@pytest.mark.parametrize("url", ["http://localhost.example/", "http://127.0.0.1.example/", "http://0.0.0.1:8000/"])
def test_a_name_that_only_looks_like_this_machine_is_another(url: str) -> None:
    """Loopback is an address or the name localhost, not the beginning of a name."""
    with pytest.raises(EndpointError) as caught:
        ChatGLM(endpoint_url=url, api_key=KEY).plan(PROMPT)
    assert caught.value.kind == "insecure"
    for home in (
        "http://127.0.0.1:1/",
        "http://127.8.9.1/",
        "http://[::1]:1/",
        "http://localhost/",
        "https://a.example/",
    ):
        assert ChatGLM(endpoint_url=home, api_key=KEY).plan(PROMPT).request.headers["Authorization"]
