"""Rows A24 and A25: TLS that is not in order is said, not got round."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest

from ..support.clock import assert_within
from ..support.fault_requests import both, send
from ..support.fault_scripts import Counting, good
from ..support.tls import TLS, Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates, made once."""
    return Certificates(tmp_path_factory.mktemp("tls"))


@pytest.mark.row("A24")
@both
def test_a_certificate_that_is_not_in_order(
    dialect: str, road: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expired, for another host, self-signed, of an unknown authority: one connection, nothing sent."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.bundle))
    for name, context in certificates.wrong.items():
        with TLS(context, good(dialect)) as server:
            error = send(server, dialect, road).failed("tls", of=name)
            assert "verify" not in str(error) and "insecure" not in str(error), name
            assert (server.connections, server.posts) == (1, []), name
    with TLS(certificates.right, good(dialect)) as server:
        send(server, dialect, road).ok("你好")  # the control
        assert (server.connections, len(server.posts)) == (1, 1)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with TLS(certificates.right, good(dialect)) as server:
        send(server, dialect, road).failed("tls", of="an authority nobody trusts")
        assert (server.connections, server.posts) == (1, [])


class Plain(Counting):
    """A web server that answers what is no HTTP as web servers do; or, ``mute``, not at all."""

    mute = False

    def _talk(self, connection: socket.socket) -> None:
        with suppress(OSError):
            connection.recv(65536)
            if not self.mute:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        self._open.discard(connection)
        connection.close()


@pytest.mark.row("A25")
@both
def test_http_for_https_and_the_reverse(dialect: str, road: str, certificates: Certificates) -> None:
    """The error names the other scheme; nothing is tried twice."""
    with Plain() as plain:
        error = send(plain.url.replace("http:", "https:"), dialect, road).failed("tls")
        assert "http://" in str(error) and plain.connections == 1
    with TLS(certificates.right, good(dialect)) as secure:
        outcome = send(secure.url.replace("https:", "http:"), dialect, road)
        assert outcome.error is not None and outcome.error.kind in ("protocol", "server_closed"), str(outcome)
        assert "https://" in str(outcome.error)
        assert (secure.connections, secure.posts) == (1, [])
    with Plain() as silent:
        silent.mute = True
        limits = {"connect": 0.2, "first_byte": 0.2}
        outcome = send(silent.url.replace("http:", "https:"), dialect, road, timeout=limits, max_retries=0)
        assert outcome.error is not None and outcome.error.kind in ("tls", "connect_timeout", "first_byte_timeout")
        assert_within(outcome.seconds, 0.4 + 0.5)
