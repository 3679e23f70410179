"""Which key belongs to which server. No key ever goes to another origin than its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

ZAI = {
    "https://api.z.ai:443": ("ZAI_API_KEY", "ZHIPUAI_API_KEY"),
    "https://open.bigmodel.cn:443": ("ZHIPUAI_API_KEY", "ZAI_API_KEY"),
}
"""Z.ai and BigModel are one house with two doors: each takes its own variable first."""
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key and headers with the one origin that they were given for.

    An object swaps them at once, and a request reads them once: whichever thread changes the endpoint meanwhile,
    none of them goes to another origin than its own.
    """

    origin: str = ""
    key: SecretStr | None = None
    headers: Mapping[str, SecretStr] | None = None

    def replace(self, origin: str, values: Mapping[str, Any]) -> Credentials:
        """Return credentials with another key or other headers, which were given for an origin.

        :param values: ``api_key`` or ``headers`` or both; what is not among them stays if the origin does.
        """
        old = self if self.origin == origin else Credentials(origin)
        return Credentials(origin, values.get("api_key", old.key), values.get("headers", old.headers))

    def for_url(self, url: str) -> Credentials:
        """Return these credentials if the URL is of their origin, else empty ones."""
        return self if self.origin == origin(url) else Credentials()


@lru_cache(maxsize=256)
def origin(url: str) -> str:
    """Return scheme, host and port of a URL, which is what a key belongs to."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}"


def key_for(url: str, configured: str, explicit: SecretStr | None) -> SecretStr | None:
    """Return the key for a URL, or None.

    An explicit key was given for this very server; ``CHATGLM_API_KEY`` belongs to ``CHATGLM_ENDPOINT_URL``, or
    to the configured endpoint where that is unset; ``ZAI_API_KEY`` and ``ZHIPUAI_API_KEY`` to Z.ai and
    BigModel alone.
    """
    here = origin(url)
    if explicit is not None and explicit.get_secret_value():
        return explicit
    home = os.environ.get("CHATGLM_ENDPOINT_URL") or configured
    names = ["CHATGLM_API_KEY"] if here == origin(home) == origin(configured) else []
    for name in (*names, *ZAI.get(here, ())):
        if os.environ.get(name):
            return SecretStr(os.environ[name])
    return None
