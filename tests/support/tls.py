"""Servers behind TLS, with certificates in and out of order."""

from __future__ import annotations

import datetime
import socket
import ssl
from ipaddress import ip_address
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .fault_scripts import Counting
from .servers import Script

HERE = "127.0.0.1"


class TLS(Counting):
    """A scripted server at an https address."""

    def __init__(self, context: ssl.SSLContext, *scripts: Script) -> None:
        super().__init__(*scripts)
        self._context = context

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")

    def _talk(self, connection: socket.socket) -> None:
        try:
            secure = self._context.wrap_socket(connection, server_side=True)
        except OSError:  # the client did not like the certificate, or it does not speak TLS
            connection.close()
            return
        self._open.add(secure)
        super()._talk(secure)


class Certificates:
    """An authority of our own, and the contexts of servers with its certificates and with others."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.bundle))
        day = datetime.timedelta(days=1)
        now = datetime.datetime.now(datetime.UTC)
        self.right = self._context(authority.issue_cert(HERE))
        self.wrong = {
            "expired": self._context(authority.issue_cert(HERE, not_before=now - 2 * day, not_after=now - day)),
            "another host": self._context(authority.issue_cert("glm.example")),
            "self-signed": self_signed(folder / "self.pem"),
            "unknown authority": self._context(trustme.CA().issue_cert(HERE)),
        }

    @staticmethod
    def _context(certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context


def self_signed(path: Path) -> ssl.SSLContext:
    """Return the context of a server that vouches for itself, for the right host and time."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HERE)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HERE))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
