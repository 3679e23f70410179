"""What goes over the wire and what comes back, as pure functions: no I/O in this room.

A dialect is a module with ``NAME``, ``url(endpoint)``, ``encode(model_input)`` and a class that reads responses.
"""

from __future__ import annotations

import re
from typing import Literal

Dialect = Literal["chatglm", "openai"]

OPENAI_ENDINGS = ("/v1", "/v4", "/chat/completions")


def dialect_of(endpoint_url: str) -> Dialect:
    """Tell the dialect from the URL alone: OpenAI's where the path ends as its bases do, else ChatGLM's own."""
    path = re.split("[?#]", endpoint_url, maxsplit=1)[0].rstrip("/")
    return "openai" if path.endswith(OPENAI_ENDINGS) else "chatglm"
