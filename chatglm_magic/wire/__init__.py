"""The two protocols as pure functions: requests are encoded and responses decoded here, without I/O.

A dialect is a module with ``NAME``, ``url(endpoint)``, ``encode(model_input)`` and a class that reads responses.
"""

from __future__ import annotations

import re
from typing import Literal

Dialect = Literal["chatglm", "openai"]

OPENAI_ENDINGS = ("/v1", "/v4", "/chat/completions")


def dialect_of(endpoint_url: str) -> Dialect:
    """Return the dialect of a URL: OpenAI's if the path ends like one of its base URLs, else ChatGLM's own."""
    path = re.split("[?#]", endpoint_url, maxsplit=1)[0].rstrip("/")
    return "openai" if path.endswith(OPENAI_ENDINGS) else "chatglm"
