"""The front's web application, and the port it listens on."""

from __future__ import annotations

import socket

from aiohttp import web

from .engine_client import EngineClient
from .guard import MAX_REQUEST_BYTES, Guard, make_middleware, set_server_header
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
