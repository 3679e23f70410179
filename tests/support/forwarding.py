"""Proxies on a socket that lead every name to one server of ours: HTTP with CONNECT, and SOCKS 4 and 5."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class ForwardingProxy:
    """Takes connections as one kind of proxy does, and passes all on to a port of this machine.

    :param kind: ``http``, which also tunnels, or ``socks`` (4, 4a and 5, without a password).
    :param refuse: a status that an HTTP proxy answers everything with.
    """

    def __init__(self, port: int, kind: str = "http", refuse: int | None = None) -> None:
        self._target, self._kind, self._refuse = port, kind, refuse
        self.hosts: list[str] = []
        """What was asked for, as it was named."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> ForwardingProxy:
        return self

    def __exit__(self, *exc: object) -> None:
        for sock in (self._listener, *self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._target)) as server:
            self._open.append(server)
            if self._kind == "http":
                begun = self._greet_http(client)
            else:
                begun = self._greet_socks(client)
            if begun is None:
                return
            server.sendall(begun)
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            _pump(client, server)

    def _greet_http(self, client: socket.socket) -> bytes | None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        method, target, _ = head.split(b" ", 2)
        self.hosts.append(target.decode())
        if self._refuse is not None:
            client.sendall(
                f"HTTP/1.1 {self._refuse} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            client.close()
            return None
        if method == b"CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return b""
        return head

    def _greet_socks(self, client: socket.socket) -> bytes:
        version = client.recv(1)
        if version == b"\x05":  # RFC 1928
            client.recv(client.recv(1)[0])
            client.sendall(b"\x05\x00")
            _, _, _, kind = client.recv(4)
            raw = client.recv(client.recv(1)[0]) if kind == 3 else client.recv(4 if kind == 1 else 16)
            client.recv(2)
            self.hosts.append(raw.decode() if kind == 3 else ".".join(map(str, raw)))
            client.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
            return b""
        head = client.recv(65536)
        address, _, behind = head[3:7], *head[7:].partition(b"\x00")[1:]
        self.hosts.append(behind.rstrip(b"\x00").decode() or ".".join(map(str, address)))
        client.sendall(b"\x00\x5a\x00\x00\x00\x00\x00\x00")
        return b""


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
