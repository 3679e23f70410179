"""Which API key belongs to which server. A key is only ever sent to its own origin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

ZAI_VARIABLES = {
    "https://api.z.ai:443": ("ZAI_API_KEY", "ZHIPUAI_API_KEY"),
    "https://open.bigmodel.cn:443": ("ZHIPUAI_API_KEY", "ZAI_API_KEY"),
}
"""Z.ai and BigModel share accounts; each host prefers its own variable."""
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key and headers with the origin that they were given for.

    Immutable: a model replaces the whole object, and a request reads it once. So nothing is sent to another
    origin, even if another thread changes the endpoint meanwhile.
    """

    origin: str = ""
    key: SecretStr | None = None
    headers: Mapping[str, SecretStr] | None = None

    def replace(self, origin: str, values: Mapping[str, Any]) -> Credentials:
        """Return credentials with another key or other headers for an origin.

        :param values: ``api_key`` or ``headers`` or both; the other is kept if the origin is the same.
        """
        old = self if self.origin == origin else Credentials(origin)
        return Credentials(origin, values.get("api_key", old.key), values.get("headers", old.headers))

    def for_url(self, url: str) -> Credentials:
        """Return these credentials if the URL has their origin, else empty ones."""
        return self if self.origin == origin(url) else Credentials()


@lru_cache(maxsize=256)
def origin(url: str) -> str:
    """Return scheme, host and port of a URL: keys belong to an origin."""
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}"


def find_key(url: str, configured: str, explicit: SecretStr | None) -> SecretStr | None:
    """Return the key for a URL, or None.

    An explicit key is used as it is. ``CHATGLM_API_KEY`` belongs to ``CHATGLM_ENDPOINT_URL``, or to the configured
    endpoint if that is unset; ``ZAI_API_KEY`` and ``ZHIPUAI_API_KEY`` only to Z.ai and BigModel.
    """
    target = origin(url)
    if explicit is not None and explicit.get_secret_value():
        return explicit
    home = os.environ.get("CHATGLM_ENDPOINT_URL") or configured
    names = ["CHATGLM_API_KEY"] if target == origin(home) == origin(configured) else []
    for name in (*names, *ZAI_VARIABLES.get(target, ())):
        if os.environ.get(name):
            return SecretStr(os.environ[name])
    return None
