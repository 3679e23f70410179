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
    """Return the application for one model behind one guard."""
    app = web.Application(middlewares=[make_middleware(guard)], client_max_size=MAX_REQUEST_BYTES)
    app.on_response_prepare.append(set_server_header)
    app.add_routes(Routes(client).routes())
    return app


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to `host` and `port` (0: any free one). Raises OSError."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, proto)
    try:
        if socket.has_dualstack_ipv6() and family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # a port whose last connections still wait is free; on Windows the option would share it instead
        if hasattr(socket, "SO_REUSEPORT"):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError:
        bound.close()
        raise
    return bound


async def listen(app: web.Application, bound: socket.socket) -> None:
    """Serve `app` on the socket from now on. A client that leaves cancels its handler."""
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, keepalive_timeout=75)
    await runner.setup()
    await web.SockSite(runner, bound).start()


def url_of(bound: socket.socket) -> str:
    """Return `http://HOST:PORT` of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Launch:
    """One model on its way to be served."""

    def __init__(self, model: ModelFile | HubModel, engine: Engine | None, args: argparse.Namespace) -> None:
        self.client = EngineClient(display_name(model))
        self.engine = engine
        self._model, self._args = model, args

    async def ready(self, report: ReportProgress) -> float:
        """Return the seconds the loading took, once the model answers.

        Raises ModelError, EngineStartError.
        """
        if isinstance(self._model, HubModel):
            self.client.waiting_for = f"Downloading {self._model.repo}. Try again soon."
            self._model = await asyncio.to_thread(download_model, self._model, report)
            self.client.name = self._model.name
        if self.engine is None:
            self.engine = start_engine(self._model, self._args.threads, self._args.ctx)
        return await self.client.open(self.engine)

    def end(self, code: int) -> NoReturn:
        """End the engine and this process at once; a download's thread could not be waited for."""
        try:
            if self.engine is not None:
                self.engine.stop()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # nobody may read what we write any more, and that must not keep us
            os._exit(code)
