"""When a question may be asked again."""

from __future__ import annotations

import random
from dataclasses import replace

from ..errors import ChatGLMError, RefusedError
from .call import Call, encoded

MAX_RETRY_AFTER = 120.0
USAGE_KEY = "stream_options"


class Retries:
    """Decides whether a question may be asked again: only if nothing was sent, or the server said to wait."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self._left = call.retries
        self._attempt = 0

    def wait_or_raise(self, error: ChatGLMError) -> float:
        """Return the seconds to wait before the next attempt, or raise the error.

        Full jitter below 0.5 s doubled with each attempt, at most 8 s; a ``Retry-After`` of the server in
        seconds is obeyed up to 120 s, and a longer one means not to try.
        """
        if error.kind == "bad_request" and USAGE_KEY in str(error) and USAGE_KEY in self.call.body:
            # ``transformers serve`` refuses a key that others need for token counts: refused before it ran.
            body = {key: value for key, value in self.call.body.items() if key != USAGE_KEY}
            self.call = replace(self.call, body=body, data=encoded(body))
            return 0.0
        refused = isinstance(error, RefusedError) and error.status in (429, 503) and error.kind != "no_money"
        unsent = error.kind in ("connect", "connect_timeout")
        if not (refused or unsent) or self._left <= 0:
            raise error
        self._left -= 1
        self._attempt += 1
        wished = _seconds(error.retry_after) if isinstance(error, RefusedError) else None
        if wished is None:
            return random.uniform(0.05, min(8.0, 0.5 * 2 ** (self._attempt - 1)))
        if wished > MAX_RETRY_AFTER:
            raise error
        return wished


def _seconds(retry_after: str | None) -> float | None:
    """Read a ``Retry-After`` header in seconds; None for anything else, so that jitter takes its place."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
