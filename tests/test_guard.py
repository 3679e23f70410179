"""The local server's guard by itself: every host, origin, token, type and size at its edges."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from chatglm_magic.server.errors import RequestError
from chatglm_magic.server.guard import MAX_REQUEST_BYTES, Guard

HERE = "127.0.0.1:8000"


def refusal(
    guard: Guard, method: str = "GET", path: str = "/v1/models", host: str = HERE, **headers: str
) -> int | None:
    """Return the status with which a request is refused; None if it may pass."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        guard.check(make_mocked_request(method, path, headers={"Host": host, **given}))
    except RequestError as refused:
        return refused.status
    return None


@pytest.mark.parametrize(
    "origin",
    [
        *("http://127.0.0.1:8000.evil", "http://127.0.0.1:80001", "http://127.0.0.1:8000@evil.invalid"),
        *("http://127.0.0.1:8000/", "http://127.0.0.1", "http://127.0.0.1:800", "http://localhost:8000"),
        *("https://127.0.0.1:8000", "null", "", "http://", "http://evil.invalid", "127.0.0.1:8000", "file://"),
        *("http://evil.invalid/http://127.0.0.1:8000", "xhttp://127.0.0.1:8000", "http://127.0.0.1:8001"),
    ],
)
def test_no_page_of_another_site_may_ask(origin: str) -> None:
    """The origin is this server's own, to the last character."""
    assert refusal(Guard(), Origin=origin) == 403
    assert refusal(Guard("t", any_ip=True), Origin=origin, Authorization="Bearer t") == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [(HERE, f"http://{HERE}"), ("LocalHost:80", "http://localhost:80"), ("[::1]:80", "HTTP://[::1]:80")],
)
def test_this_servers_own_pages_may_ask(host: str, origin: str) -> None:
    """The control, whatever the case; and who sends no origin is no page."""
    assert refusal(Guard(), host=host, Origin=origin) is None
    assert refusal(Guard(), host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        *("evil.invalid", "localhost.evil.invalid:8000", "evillocalhost", "127.0.0.1.evil.invalid", "127.0.0.2"),
        *("0.0.0.0:8000", "[::2]", "10.0.0.1", "", ":8000", "[::1].evil", "localhost.", "lab.example"),
    ],
)
def test_no_other_name_leads_here(host: str) -> None:
    """A name that somebody points at this machine is refused."""
    assert refusal(Guard(), host=host) == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", HERE, "[::1]", "[::1]:65535"])
def test_the_names_of_this_machine_lead_here(host: str) -> None:
    """The control."""
    assert refusal(Guard(), host=host) is None


def test_a_name_that_was_allowed_leads_here_and_none_like_it() -> None:
    """Its case makes no difference, on either side."""
    guard = Guard(hosts=["Lab.Example"])
    assert refusal(guard, host="lab.example") is None and refusal(guard, host="LAB.example:9") is None
    for host in ("a.lab.example", "lab.example.evil", "xlab.example", "10.0.0.1"):
        assert refusal(guard, host=host) == 403
    assert refusal(guard, host="localhost") is None


@pytest.mark.parametrize("given", ["", "t", "Bearer", "Bearer ", "Bearer tt", "Bearer T", "bearer t", "Basic t"])
def test_only_the_whole_token_opens_the_door(given: str) -> None:
    """The health of the server alone is told to everybody; no path beside it is."""
    guard = Guard("t")
    assert refusal(guard, Authorization=given) == 401
    assert refusal(guard) == 401
    assert refusal(guard, path="/health", Authorization=given) is None
    for path in ("/health/", "/healthx", "/", "/v1/health", "//health"):
        assert refusal(guard, path=path, Authorization=given) == 401
    assert refusal(guard, Authorization="Bearer t") is None
    assert refusal(Guard()) is None and refusal(Guard(""), Authorization=given) is None


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/json"]
)
def test_a_post_is_json(kind: str) -> None:
    """What a page can send without asking first is refused; a GET has no body to be of a kind."""
    assert refusal(Guard(), "POST", Content_Type=kind) == 415
    assert refusal(Guard(), "POST") == 415
    assert refusal(Guard(), "GET", Content_Type=kind) is None
    assert refusal(Guard(), "POST", Content_Type="application/json; charset=utf-8") is None


def test_a_body_of_the_greatest_size_passes_and_one_more_byte_does_not() -> None:
    """16 MiB by its Content-Length."""
    sizes = {MAX_REQUEST_BYTES: None, MAX_REQUEST_BYTES + 1: 413}
    for size, status in sizes.items():
        given = {"Content_Type": "application/json", "Content_Length": str(size)}
        assert refusal(Guard(), "POST", **given) == status
    assert MAX_REQUEST_BYTES == 16 * 2**20
