"""Proxies from the environment: which one a URL uses, and the errors of a proxy that fails."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import EndpointError
from ..wire.body import sanitize_line
from .address import is_loopback, redact_url

if TYPE_CHECKING:
    import aiohttp

SOCKS_SCHEMES = ("socks4", "socks4a", "socks5", "socks5h")
INSTALL_SOCKS = 'pip install "chatglm-magic[socks]"'


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's URL and its source: an environment variable, or the system settings."""

    url: str
    source: str

    @property
    def is_socks(self) -> bool:
        """Whether it is a SOCKS proxy, which needs additional packages."""
        return urlsplit(self.url).scheme.lower() in SOCKS_SCHEMES

    def error(self, what: str, url: str, advice: str = "Check it, unset {source}, or") -> EndpointError:
        """Return the error for a request that failed at this proxy.

        :param url: where the request was sent.
        """
        host = sanitize_line(urlsplit(url).hostname, 80)
        return EndpointError(
            f"The proxy {sanitize_line(redact_url(self.url))} ({self.source}) {what}. "
            f"{advice.format(source=self.source)} leave this server out: NO_PROXY={host}.",
            kind="proxy",
        )

    def status_error(self, status: int, url: str) -> EndpointError:
        """Return the error for an HTTP status that the proxy itself returned."""
        if status == 407:
            return self.error(
                "requires a user name and password (407)",
                url,
                "Write {source} as http://NAME:PASSWORD@HOST:PORT, or",
            )
        return self.error(f"did not reach {sanitize_line(urlsplit(url).hostname, 80)}: it answered {status}", url)

    def require_package(self, module: str, url: str) -> None:
        """Check that the module for SOCKS is installed.

        :raises EndpointError: ``proxy``, with the command that installs it.
        """
        if importlib.util.find_spec(module) is None:
            raise self.error(
                "speaks SOCKS, for which packages are missing", url, f"Install them: {INSTALL_SOCKS}. Or"
            )

    def new_connector(self) -> aiohttp.BaseConnector:
        """Return a connector through a SOCKS proxy; the scheme says which side resolves host names."""
        from aiohttp_socks import ProxyConnector

        scheme, _, rest = self.url.partition("://")
        scheme = scheme.lower()
        connector: aiohttp.BaseConnector = ProxyConnector.from_url(
            f"{scheme[:6]}://{rest}", rdns=scheme in ("socks5h", "socks4a"), limit=0
        )
        return connector


def proxy_for(url: str) -> Proxy | None:
    """Return the proxy for a URL; None if it needs none, as URLs of this machine never do.

    As in ``requests``: ``SCHEME_proxy``, then ``all_proxy``, in lower or upper case, then the system settings; a
    proxy without a scheme uses http. ``no_proxy`` lists hosts, domains (``.lan``, ``*.lan``) and networks
    (``10.0.0.0/8``), each with or without a port.

    :raises EndpointError: ``proxy`` for a variable that isn't a URL.
    """
    import urllib.request  # imported here because it takes as long as this whole package

    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(url):
        return None
    proxies = urllib.request.getproxies()
    key = next((name for name in (parts.scheme, "all") if proxies.get(name)), None)
    if key is None or _is_excluded(host, parts.port, proxies.get("no", "")) or urllib.request.proxy_bypass(host):
        return None
    names = (f"{key}_proxy", f"{key}_proxy".upper())
    source = next((name for name in names if os.environ.get(name) == proxies[key]), "the system's settings")
    return _parse_proxy(proxies[key], source)


@lru_cache(maxsize=64)
def _parse_proxy(address: str, source: str) -> Proxy:
    url = address.strip() if "://" in address else f"http://{address.strip().lstrip('/')}"
    if url.lower().startswith("socks://"):  # what GNOME writes
        url = f"socks5{url[5:]}"
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not re.search(r"\s", url)
    except ValueError:
        is_valid = False
    if not is_valid or parts.scheme.lower() not in ("http", "https", *SOCKS_SCHEMES):
        raise EndpointError(
            f"{source} isn't the address of a proxy. Write it like http://127.0.0.1:7890, or unset it.",
            kind="proxy",
        )
    if parts.port is None and parts.scheme.lower() in SOCKS_SCHEMES:
        url = parts._replace(netloc=f"{parts.netloc}:1080").geturl()
    return Proxy(url, source)


def _is_excluded(host: str, port: int | None, no_proxy: str) -> bool:
    """Return whether ``no_proxy`` lists a host."""
    return any(
        _entry_matches(entry.strip().lower(), host.lower(), port) for entry in re.split(r"[,\s]+", no_proxy)
    )


def _entry_matches(entry: str, host: str, port: int | None) -> bool:
    if not entry:
        return False
    match = re.fullmatch(r"(\[[^\]]+\]|[^:]+):(\d{1,5})", entry)
    if match:
        if int(match[2]) != port:
            return False
        entry = match[1]
    entry = entry.strip("[]")
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        domain = entry.lstrip("*").lstrip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return ipaddress.ip_address(host.partition("%")[0]) in network
    except ValueError:
        return False
