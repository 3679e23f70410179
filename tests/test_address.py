"""Which addresses are this machine's, and which hold a secret: what a key's safety rests on."""

from __future__ import annotations

import pytest
from traitlets import TraitError

from chatglm_magic import ChatGLM, Session
from chatglm_magic.client.address import check_url, redact_url
from chatglm_magic.client.proxies import Proxy, proxy_for
from chatglm_magic.client.trust import ssl_context_for
from chatglm_magic.errors import EndpointError, ParameterError

from .support.canary import KEY

HERE = ["localhost", "LOCALHOST", "glm.localhost", "127.0.0.1", "127.8.0.1", "[::1]", "0.0.0.0", "[::]"]
ELSEWHERE = [
    *("evillocalhost", "evil-localhost", "localhost.evil.invalid", "localhost.localdomain", "xlocalhost.invalid"),
    *("127.0.0.1.evil.invalid", "evil127.0.0.1", "128.0.0.1", "0.0.0.1", "[::2]", "[fe80::1]", "10.0.0.1"),
]


@pytest.mark.parametrize("host", ELSEWHERE)
@pytest.mark.parametrize("scheme", ["http", "HTTP", "Http"])
def test_a_key_goes_over_plain_http_to_no_host_that_only_looks_like_this_machine(scheme: str, host: str) -> None:
    """A name that ends in localhost, begins with it, or looks like 127.0.0.1 is another machine's."""
    for port in ("", ":8000"):
        with pytest.raises(EndpointError) as raised:
            ChatGLM(endpoint_url=f"{scheme}://{host}{port}/", api_key=KEY).plan("hi")
        assert raised.value.kind == "insecure" and KEY not in str(raised.value)


@pytest.mark.parametrize("host", HERE)
def test_a_key_goes_over_plain_http_to_this_machine(host: str) -> None:
    """The control: every name and number of this machine's own takes it."""
    call = ChatGLM(endpoint_url=f"http://{host}:8000/", api_key=KEY).plan("hi").request
    assert call.headers["Authorization"] == f"Bearer {KEY}"


HEADERS = (
    *("Authorization", "Proxy-Authorization", "X-API-Key", "api-key", "apikey", "COOKIE", "X-Auth-Token"),
    *("X-Goog-Api-Key", "Ocp-Apim-Subscription-Key", "X-Access-Token", "Private-Token", "X-Amz-Security-Token"),
)


@pytest.mark.row("X4")
@pytest.mark.parametrize("name", [*HEADERS, "X-Trace"])
def test_no_header_goes_to_another_machine_over_plain_http(name: str) -> None:
    """Any header that is given may hold a key, whatever its name."""
    with pytest.raises(EndpointError, match="plain http"):
        ChatGLM(endpoint_url="http://glm.invalid/", headers={name: KEY}).plan("hi")
    assert ChatGLM(endpoint_url="http://127.0.0.1:8000/", headers={name: KEY}).plan("hi").request.headers
    assert ChatGLM(endpoint_url="https://glm.invalid/", headers={name: KEY}).plan("hi").request.headers
    insecure = ChatGLM(endpoint_url="http://glm.invalid/", headers={name: KEY}, insecure=True)
    assert insecure.plan("hi").request.headers


def test_only_this_machine_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that only looks like this machine goes the way of all others; all_proxy is for the rest."""
    own = Proxy("http://proxy.invalid:3128", "http_proxy")
    monkeypatch.setenv("http_proxy", own.url)
    for host in ELSEWHERE:
        assert proxy_for(f"http://{host}:8000/") == own
    for host in HERE:
        assert proxy_for(f"http://{host}:8000/") is None
    assert proxy_for("https://glm.invalid/") is None
    monkeypatch.setenv("all_proxy", "http://any.invalid:1080")
    assert proxy_for("https://glm.invalid/") == Proxy("http://any.invalid:1080", "all_proxy")
    assert proxy_for("http://glm.invalid/") == own


NAMES = (
    *("key", "api_key", "apikey", "api-key", "x-api-key", "X-Api-Key", "API_KEY", "zhipuai_api_key", "token"),
    *("access_token", "accessToken", "auth_token", "id_token", "refresh_token", "session_token", "Access_Token"),
    *("secret", "client_secret", "app.secret", "password", "passwd", "pwd", "auth", "Authorization", "bearer"),
    *("subscription-key", "Ocp-Apim-Subscription-Key", "sig", "signature", "x-functions-key", "credential", "jwt"),
)
"""Names under which a key is given in an address."""


@pytest.mark.row("X5")
@pytest.mark.parametrize("name", NAMES)
def test_no_address_holds_a_key_in_its_query_however_it_is_spelt(name: str) -> None:
    """Model, settings and request refuse it, alone, second, and with an empty value; none repeats it."""
    forms = (f"?{name}={KEY}", f"?version=1&{name}={KEY}", f"?version=1;{name}={KEY}", f";{name}={KEY}")
    for form in (*forms, f"?{name}=", f"?{name}", f"?%{ord(name[0]):02x}{name[1:]}={KEY}"):
        url = f"https://glm.invalid/v1{form}"
        with pytest.raises(ParameterError) as refused:
            ChatGLM(endpoint_url=url)
        with pytest.raises(TraitError) as rejected:
            Session().settings.endpoint_url = url
        with pytest.raises(EndpointError) as asked:
            check_url(url)
        assert asked.value.kind == "bad_url"
        assert not any(KEY in str(error.value) for error in (refused, rejected, asked))


def test_a_query_without_a_key_stays() -> None:
    """Words that only hold such a name are none."""
    url = "https://glm.invalid/v1?api-version=2&monkey=1&tokens=3&keys=4;max_token=5"
    assert ChatGLM(endpoint_url=url).plan("hi").request.url.endswith(url.partition("?")[2])


def test_the_authorities_of_the_environment_hold_for_https_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    """REQUESTS_CA_BUNDLE is for every address with TLS, and for none without."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/authorities.pem")
    for scheme in ("https", "HTTPS"):
        with pytest.raises(EndpointError, match="REQUESTS_CA_BUNDLE") as raised:
            ssl_context_for(f"{scheme}://glm.invalid/")
        assert raised.value.kind == "tls"
    assert ssl_context_for("http://glm.invalid/") is None
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "")
    assert ssl_context_for("https://glm.invalid/") is not None


@pytest.mark.parametrize("user", [f"me:{KEY}", KEY, f":{KEY}", "@"])
def test_no_address_holds_a_name_or_password(user: str) -> None:
    """It is refused without being repeated."""
    with pytest.raises(ParameterError) as refused:
        ChatGLM(endpoint_url=f"https://{user}@glm.invalid/")
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://glm.invalid:0/", "port"),
        ("http://glm.invalid:65536/", "isn't a valid URL|port"),
        ("http://glm.invalid:x/", "isn't a valid URL"),
        ("http:///path", "host"),
        ("http://glm.invalid/ x", "contains spaces"),
        ("http://glm.invalid/\x7f", "contains spaces"),
        ("http://glm.invalid/\x01", "contains spaces"),
        ("http://glm.invalid/#part", "#"),
        ("ftp://glm.invalid/", "begin with http"),
        ("file:///etc/passwd", "begin with http"),
        ("glm.invalid:8000", "begin with http"),
        ("", "begin with http"),
    ],
)
def test_an_address_that_cant_be_asked_is_refused(url: str, why: str) -> None:
    """The reason is named."""
    with pytest.raises(EndpointError, match=why) as raised:
        check_url(url)
    assert raised.value.kind == "bad_url"


@pytest.mark.parametrize("url", ["http://glm.invalid:65535/", "http://glm.invalid:1/", "HTTPS://glm.invalid"])
def test_an_address_at_the_edge_of_what_can_be_asked_is_taken(url: str) -> None:
    """The lowest and the highest port, and a scheme in capitals."""
    assert check_url(url) == url


def test_what_is_shown_of_an_address_is_bare() -> None:
    """No name, password, query or fragment; host, port and path stay."""
    assert redact_url(f"https://me:{KEY}@glm.invalid:8443/v1/x?key={KEY}#{KEY}") == "https://glm.invalid:8443/v1/x"
