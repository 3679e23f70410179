"""When a question may be asked again."""

from __future__ import annotations

import math
import random
import re
import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from ..errors import ChatGLMError, ResponseError
from ..values import Change, Delta
from .request import Call, encoded
from .timeouts import Clock

MAX_RETRY_AFTER = 120.0
"""Seconds; a server that asks for a longer wait is not waited for."""

PLAUSIBLE = 7 * 86400.0
"""Seconds; a longer wait than a week is a mistake of the server, not a wish."""

USAGE_KEY = "stream_options"
ODDS_KEY = "top_logprobs"


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait before the next attempt, and what to tell people meanwhile."""

    seconds: float
    notice: str | None = None


class Retries:
    """Decides whether a question may be asked again: only if nothing was sent, or the server said to wait."""

    def __init__(self, call: Call, clock: Clock) -> None:
        self.call = call
        self.count = 0
        """Attempts after the first one that the server had to see."""
        self.changed: Change | None = None
        """What the server made us change of the question."""
        self._clock = clock

    def wait_or_raise(self, error: ChatGLMError) -> Wait:
        """Return how long to wait before the next attempt, or raise the error.

        Full jitter below 0.5 s doubled with each attempt, at most 8 s; a ``Retry-After`` of the server, in
        seconds or as a date (RFC 9110, section 10.2.3), is obeyed up to 120 s, and a longer one means not to
        try. Waiting counts against the total time.
        """
        if error.kind == "bad_request" and USAGE_KEY in str(error) and USAGE_KEY in self.call.body:
            # ``transformers serve`` refuses a key that others need for token counts: refused before it ran.
            self._send({key: value for key, value in self.call.body.items() if key != USAGE_KEY})
            self.call.no_usage.add(self.call.url)
            return Wait(0.0)
        most = _most_odds(error, self.call.body.get(ODDS_KEY)) if self.changed is None else None
        if most is not None:
            self.changed = Change(f"{ODDS_KEY}: {self.call.body[ODDS_KEY]} refused, {most} taken")
            self._send({**self.call.body, ODDS_KEY: most})
            return Wait(0.0)
        refused = isinstance(error, ResponseError) and error.status in (429, 503) and error.kind != "no_money"
        unsent = error.kind in ("connect", "connect_timeout")
        if not (refused or unsent) or self.count >= self.call.retries:
            raise error
        wished = _seconds(error.retry_after) if isinstance(error, ResponseError) else None
        if wished is not None and wished > MAX_RETRY_AFTER:
            error.args = (f"{error} The server asks to wait {wished:.0f} s.",)
            raise error
        seconds = random.uniform(0.05, min(8.0, 0.5 * 2**self.count)) if wished is None else wished
        if seconds >= self._clock.left():
            raise error
        self.count += 1
        why = f"the server answered {error.status}" if isinstance(error, ResponseError) else "no connection"
        return Wait(seconds, f"{why}; asking again in {seconds:.1f} s ({self.count} of {self.call.retries})")

    def _send(self, body: dict[str, Any]) -> None:
        self.call = replace(self.call, body=body, data=encoded(body))

    def told(self) -> Delta | None:
        """Return what is to be told of the way to an answer that has now begun."""
        changed = () if self.changed is None else (self.changed,)
        return Delta(retries=self.count, changed=changed) if self.count or changed else None


def _most_odds(error: ChatGLMError, asked: Any) -> int | None:
    """Return the highest ``top_logprobs`` that a server takes, where it refused a higher one and names its limit.

    vLLM: "Requested sample logprobs of 4096, which is greater than max allowed: 20". OpenAI and Ollama: "between 0
    and 20", "less than or equal to 20".
    """
    words = str(error).partition("logprobs")[2]
    if error.kind != "bad_request" or not words or type(asked) is not int:
        return None
    limits = [int(number) for number in re.findall(r"\d{1,9}", words)]
    return max((number for number in limits if 0 < number < asked), default=None)


def _seconds(retry_after: str | None) -> float | None:
    """Read a ``Retry-After`` header in seconds; None for one that makes no sense: jitter takes its place."""
    if not retry_after or not retry_after.isascii():  # Python's float reads the digits of every script
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        seconds = _until(retry_after)
    return seconds if math.isfinite(seconds) and 0 < seconds <= PLAUSIBLE else None


def _until(date: str) -> float:
    try:
        return parsedate_to_datetime(date[:64]).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return math.nan
