"""A request that is given up before all of it was sent lets go of its connection at once."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from chatglm_magic import ChatGLM
from chatglm_magic.errors import ChatGLMError

from .support.servers import ScriptedServer


class Unread(ScriptedServer):
    """Accepts connections, and reads nothing from them before ``read`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.read = threading.Event()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what it accepts inherits this

    def __exit__(self, *exc: object) -> None:
        self.read.set()
        super().__exit__(*exc)

    def _serve(self, connection: socket.socket) -> None:
        self.read.wait(60)
        try:
            while connection.recv(2**20):
                pass
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()


def sockets_to(server: ScriptedServer) -> list[int]:
    """Return the file descriptors of this process that are connected to a server."""
    connections = psutil.Process().net_connections("tcp")
    return [item.fd for item in connections if item.raddr and item.raddr.port == server.port]


def is_stuck(server: ScriptedServer) -> bool:
    """Tell whether a connection to a server takes no more bytes."""
    return any(not select.select([], [fd], [], 0)[1] for fd in sockets_to(server))


async def until(test: Callable[[], object]) -> None:
    """Wait on the running loop until something is so, for at most 20 seconds."""
    async with asyncio.timeout(20):
        while not test():
            await asyncio.sleep(0.005)


def model(server: ScriptedServer, connect: float) -> ChatGLM:
    return ChatGLM(endpoint_url=server.url + "v1", timeout={"connect": connect})


@pytest.mark.parametrize("ended_by", ["timeout", "cancel"])
def test_a_half_sent_request_closes_its_connection_although_nobody_reads(ended_by: str) -> None:
    """The socket is closed while its loop still runs, not only when the server has read what was sent."""

    async def ask(server: Unread) -> None:
        task = asyncio.create_task(model(server, 0.3 if ended_by == "timeout" else 60).ainvoke("x" * 12_000_000))
        await until(lambda: is_stuck(server))
        if ended_by == "cancel":
            task.cancel()
        with pytest.raises((ChatGLMError, asyncio.CancelledError)):
            await task
        await until(lambda: not sockets_to(server))

    with Unread() as server:
        asyncio.run(ask(server))


def test_a_send_that_timed_out_is_reported_as_such_although_the_rest_leaves_at_that_moment() -> None:
    """A loop that was busy finds the time limit over and the server ready to read at once."""

    async def ask(server: Unread) -> str | None:
        task = asyncio.create_task(model(server, 0.5).ainvoke("x" * 4_000_000))
        await until(lambda: is_stuck(server))
        server.read.set()
        time.sleep(1.0)  # the busy loop
        with pytest.raises(ChatGLMError) as caught:
            await task
        return caught.value.kind

    with Unread() as server:
        assert asyncio.run(ask(server)) == "write_timeout"
