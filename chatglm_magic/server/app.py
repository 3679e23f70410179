"""The front: its web application, the port it listens on, and the start of its engine."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
from typing import NoReturn

from aiohttp import web

from .engine_client import EngineClient
from .engine_process import Engine, start_engine
from .guard import MAX_REQUEST_BYTES, Guard, make_middleware, set_server_header
from .models import HubModel, ModelFile, ReportProgress, display_name, download_model
from .routes import Routes


def make_app(client: EngineClient, guard: Guard) -> web.Application:
    """Return the web application that serves one engine, protected by ``guard``."""
    app = web.Application(middlewares=[make_middleware(guard)], client_max_size=MAX_REQUEST_BYTES)
    app.on_response_prepare.append(set_server_header)
    app.add_routes(Routes(client).routes())
    return app


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to ``host`` and ``port`` (0: any free one).

    :raises OSError: if the address can't be used.
    """
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, proto)
    try:
        if socket.has_dualstack_ipv6() and family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # ports in TIME_WAIT can be used again; on Windows the option would share a used port instead
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


async def listen(app: web.Application, sock: socket.socket) -> None:
    """Start serving ``app`` on the socket; a client that disconnects cancels its handler."""
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, keepalive_timeout=75)
    await runner.setup()
    await web.SockSite(runner, sock).start()


def url_of(sock: socket.socket) -> str:
    """Return ``http://HOST:PORT`` of a bound socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Launch:
    """The start of one model: download, engine, client."""

    def __init__(self, model: ModelFile | HubModel, engine: Engine | None, args: argparse.Namespace) -> None:
        self.client = EngineClient(display_name(model))
        self.engine = engine
        self._model, self._args = model, args

    async def wait_until_ready(self, report: ReportProgress) -> float:
        """Wait until the model is served; return the seconds that loading took.

        :raises ModelError: if it can't be downloaded.
        :raises EngineStartError: if it can't be loaded.
        """
        if isinstance(self._model, HubModel):
            self.client.waiting_for = f"Downloading {self._model.repo}. Try again soon."
            self._model = await asyncio.to_thread(download_model, self._model, report)
            self.client.name = self._model.name
        if self.engine is None:
            self.engine = start_engine(self._model, self._args.threads, self._args.ctx)
        return await self.client.open(self.engine)

    def exit(self, code: int) -> NoReturn:
        """Stop the engine and exit at once, without waiting for a download's thread."""
        try:
            if self.engine is not None:
                self.engine.stop()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # exit even if the output can't be flushed
            os._exit(code)
