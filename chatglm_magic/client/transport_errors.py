"""Translation of errors of requests, urllib3 and aiohttp into ours: the only module that handles them.

Their messages and objects may contain URLs, proxies and headers, so none of it is passed on, not even as a cause.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3 import exceptions as u3

from ..errors import ChatGLMError, EndpointError, IncompleteAnswerError
from ..wire.body import sanitize_line
from .address import redact_url

if TYPE_CHECKING:
    from .proxies import Proxy
    from .request import Request
    from .timeouts import Deadline


START_ADVICE = (
    "Start it, or set another address: %chatglm_config endpoint_url=URL; %chatglm_serve starts the built-in model."
)

CLOSED_ERRORS = {
    "RemoteDisconnected",
    "ServerDisconnectedError",
    "ConnectionResetError",
    "BrokenPipeError",
    "ClientOSError",
}


class translate_errors:
    """Context manager that turns the errors of a network library into ours, depending on the request's progress.

    A class rather than a generator, since it is entered for every read of every stream.
    """

    __slots__ = ("_deadline", "_proxy", "_request")

    def __init__(self, request: Request, deadline: Deadline, proxy: Proxy | None = None) -> None:
        self._request, self._deadline, self._proxy = request, deadline, proxy

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, ChatGLMError):
            return
        if isinstance(error, LIBRARY_ERRORS) or _from_library(error):
            if _has_cause(error, KeyboardInterrupt):  # an error of the library's cleanup replaced it
                raise KeyboardInterrupt from None
            if self._proxy is not None and (proxy_error := _proxy_error(error, self._proxy, self._request)):
                raise proxy_error from None
            raise _translate(error, self._request, self._deadline) from None


LIBRARY_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)


def _from_library(error: BaseException) -> bool:
    """Return whether an error comes from a library that is only imported on use."""
    aiohttp = sys.modules.get("aiohttp")
    if aiohttp is not None and isinstance(error, aiohttp.ClientError):
        return True
    return type(error).__module__.partition(".")[0] in ("aiohttp_socks", "python_socks", "socks")


PROXY_ERRORS = {
    "ProxyError",
    "ProxyConnectionError",
    "ProxyTimeoutError",
    "ClientProxyConnectionError",
    "ClientHttpProxyError",
    "GeneralProxyError",
    "SOCKS4Error",
    "SOCKS5Error",
    "SOCKS5AuthError",
}
"""Names of the libraries' errors that a proxy causes."""


def _proxy_error(error: BaseException, proxy: Proxy, request: Request) -> EndpointError | None:
    """Return the error of a proxy that blocked the request; None if the proxy isn't the cause."""
    causes = _causes(error)
    names = {type(cause).__name__ for cause in causes}
    if not names & PROXY_ERRORS:
        return None
    statuses = [getattr(cause, "status", None) for cause in causes]
    statuses += [int(match[1]) for cause in causes if (match := TUNNEL_STATUS.search(str(cause)))]
    status = next((answer for answer in statuses if isinstance(answer, int) and answer >= 300), None)
    if status is not None:
        return proxy.status_error(status, request.url)
    return proxy.error("can't be reached, or did not let the request through", request.url)


TUNNEL_STATUS = re.compile(r"Tunnel connection failed: (\d{3})")


def _translate(error: BaseException, request: Request, deadline: Deadline) -> ChatGLMError:
    if not deadline.answered:
        return _connection_error(error, request, deadline)
    if _has_cause(error, u3.ReadTimeoutError, TimeoutError):
        return deadline.timeout_error()
    return IncompleteAnswerError(
        f"The answer is incomplete: the connection broke ({type(error).__name__}). Ask again.", kind="incomplete"
    )


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and those inside it: libraries wrap each other's as cause, reason or argument."""
    causes: list[BaseException] = []
    pending: list[object] = [error]
    while pending and len(causes) < 20:
        item = pending.pop(0)
        if isinstance(item, BaseException) and item not in causes:
            causes.append(item)
            pending += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return causes


def _has_cause(error: BaseException, *types: type[BaseException]) -> bool:
    return any(isinstance(cause, types) for cause in _causes(error))


NO_ROUTE_ERRNOS = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
UNKNOWN_HOST_ERRORS = {"NameResolutionError", "ClientConnectorDNSError"}
"""Names of urllib3's and aiohttp's errors for a host name that can't be resolved."""


def connection_failure(error: BaseException) -> Literal["unknown host", "no route", "refused", ""]:
    """Return why the connection failed; empty for any other reason."""
    causes = _causes(error)
    if _has_cause(error, socket.gaierror) or UNKNOWN_HOST_ERRORS & {type(cause).__name__ for cause in causes}:
        return "unknown host"
    if any(isinstance(cause, OSError) and cause.errno in NO_ROUTE_ERRNOS for cause in causes):
        return "no route"
    return "refused" if _has_cause(error, ConnectionRefusedError, u3.NewConnectionError) else ""


def _connection_error(error: BaseException, request: Request, deadline: Deadline) -> ChatGLMError:
    where = sanitize_line(redact_url(request.url))
    names = {type(cause).__name__ for cause in _causes(error)}
    is_plain = urlsplit(request.url).scheme == "http"
    https_hint = " If it wants TLS, its address begins with https://." if is_plain else ""
    if _has_cause(error, ssl.SSLError, u3.SSLError):
        return EndpointError(
            f"TLS error connecting to {where} (invalid certificate, or not an HTTPS server). "
            "Did you mean http:// instead of https://?",
            kind="tls",
        )
    if any(isinstance(cause, OSError) and cause.errno == errno.EMFILE for cause in _causes(error)):
        return EndpointError(
            "This process has too many files open to connect. Send fewer requests at once, "
            "or raise the limit (ulimit -n).",
            kind="pool_timeout",
        )
    # Before the timeouts: urllib3 counts a refused connection as one.
    if (reason := connection_failure(error)) == "unknown host":
        host = urlsplit(request.url).hostname or where
        return EndpointError(
            f"Unknown host: {sanitize_line(host)}. Set another address: %chatglm_config endpoint_url=URL.",
            kind="connect",
        )
    if reason == "no route":
        return EndpointError(
            f"No route leads to {where}: is the network up, and the address right? {START_ADVICE}", kind="connect"
        )
    if reason == "refused":
        return EndpointError(
            f"No server answers at {where}: nothing listens there. {START_ADVICE}", kind="connect"
        )
    if _has_cause(error, u3.ConnectTimeoutError) or "ConnectionTimeoutError" in names:
        problem = f"{where} did not accept a connection in {request.timeouts.connect:g} s."
        return EndpointError(f"{problem} {START_ADVICE}", kind="connect_timeout")
    if _has_cause(error, u3.ReadTimeoutError):
        return deadline.timeout_error()
    if _has_cause(error, TimeoutError):  # neither connecting nor reading: requests was still sending
        deadline.sending = True
        return deadline.timeout_error()
    if names & CLOSED_ERRORS:
        return EndpointError(
            f"{where} closed the connection before it answered. "
            f"Ask again, or look at the server's log.{https_hint}",
            kind="server_closed",
        )
    if names & {"InvalidURL", "InvalidUrlClientError", "InvalidSchema"} or _has_cause(error, UnicodeError):
        return EndpointError(f"endpoint_url {where} isn't a valid URL.", kind="bad_url")
    return EndpointError(
        f"{where} did not send a valid HTTP response ({type(error).__name__}). "
        f"Check the address and the port.{https_hint}",
        kind="protocol",
    )
