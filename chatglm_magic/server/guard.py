"""Access checks that keep out web pages, other machines and other users of this machine.

The Host header is checked against DNS rebinding, Origin against pages of other sites, and only
``application/json`` is accepted, which a page can't send to another origin without a preflight request.
"""

from __future__ import annotations

import hmac
import ipaddress
import traceback
from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from .._version import __version__
from .errors import RequestError, error_response

MAX_REQUEST_BYTES = 16 << 20
"""The largest body that is accepted."""
SERVER_NAME = f"chatglm-magic/{__version__}"
_LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Guard:
    """The checks of one server.

    :param token: what clients must send; None for no token.
    :param hosts: further names in the Host header.
    :param any_ip: whether to allow every literal address, for a server open to a network.
    """

    def __init__(self, token: str | None = None, hosts: Iterable[str] = (), any_ip: bool = False):
        self._token = token.encode() if token else None
        self._hosts = _LOCAL | {host.lower() for host in hosts}
        self._any_ip = any_ip

    def check(self, request: web.Request) -> None:
        """Raise :class:`RequestError` if a request must not be served."""
        host = request.headers.get("Host", "")
        if not self._is_allowed_host(host):
            raise RequestError(
                403, f"Host {host[:80]!r} is not served here; --allow-host NAME allows it.", "forbidden"
            )
        origin = request.headers.get("Origin")
        if origin is not None and origin.lower() != f"http://{host.lower()}":
            raise RequestError(403, f"Pages of {origin[:80]!r} may not use this server.", "forbidden")
        if self._token and request.path != "/health":
            given = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, b"Bearer " + self._token):
                raise RequestError(
                    401, "Send this server's token: Authorization: Bearer TOKEN.", "authentication_error"
                )
        if request.method == "POST" and request.content_type != "application/json":
            raise RequestError(415, "Send JSON, with Content-Type: application/json.", "unsupported_media_type")
        if (request.content_length or 0) > MAX_REQUEST_BYTES:
            raise _too_large()

    def _is_allowed_host(self, host: str) -> bool:
        name = host.lower()
        bare = name.rpartition(":")[0] if ":" in name and not name.endswith("]") else name
        if bare in self._hosts:
            return True
        if not self._any_ip:
            return False
        try:
            ipaddress.ip_address(bare.strip("[]"))
        except ValueError:
            return False
        return True


def _too_large() -> RequestError:
    return RequestError(413, f"The request is larger than {MAX_REQUEST_BYTES >> 20} MiB.", "request_too_large")


def make_middleware(guard: Guard) -> Middleware:
    """Return the middleware that guards every route and renders every error as JSON."""

    @web.middleware
    async def check_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            guard.check(request)
            return await handler(request)
        except web.HTTPRequestEntityTooLarge:
            request_error = _too_large()
        except web.HTTPException as error:  # 404 and 405, in FastAPI's format
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return web.json_response({"detail": error.reason}, status=error.status, headers=allow)
        except RequestError as error:
            request_error = error
        except (ConnectionError, TimeoutError):  # the client has gone or stopped reading
            raise
        except Exception:  # noqa: BLE001 - a bug here: traceback to the log, JSON to the client
            traceback.print_exc()
            request_error = RequestError(
                500, "Internal server error; the log has the traceback.", "internal_error"
            )
        return error_response(
            request_error.status, request_error.message, request_error.kind, **request_error.more
        )

    return check_request


async def set_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    """Set the ``Server`` header."""
    response.headers["Server"] = SERVER_NAME
