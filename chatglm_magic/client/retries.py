"""The retry policy: when a request may be sent again."""

from __future__ import annotations

import math
import random
import re
import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ..errors import ChatGLMError, ResponseError
from ..values import Change, Delta
from .request import Request, encode_json
from .timeouts import Deadline

if TYPE_CHECKING:
    from .response import ResponseReader

MAX_RETRY_AFTER_SECONDS = 120.0
"""Longest wait that a server can ask for; beyond it the request fails."""

MAX_PLAUSIBLE_SECONDS = 7 * 86400.0
"""A ``Retry-After`` of more than a week is taken for a server's mistake and ignored."""

USAGE_KEY = "stream_options"
LOGPROBS_KEY = "top_logprobs"


@dataclass(frozen=True, slots=True)
class RetryWait:
    """How long to wait before the next attempt, and the notice to display meanwhile."""

    seconds: float
    notice: str | None = None


class Retries:
    """Decides whether a request may be sent again: only if nothing was sent, or the server said to wait.

    If the server names what it refused before running, the request is sent again without that, or with as much as
    the server accepts.
    """

    def __init__(self, request: Request, deadline: Deadline) -> None:
        self.request = request
        self.reader: ResponseReader | None = None
        """The reader of the current attempt's response, once there is one."""
        self.count = 0
        """Number of retries after connection failures, 429 and 503."""
        self.changed: list[Change] = []
        """Changes of the request that the server made necessary."""
        self._deadline = deadline

    def wait_or_raise(self, error: ChatGLMError) -> RetryWait:
        """Return how long to wait before the next attempt, or raise the error.

        Exponential backoff from 0.5 s to at most 8 s with full jitter. A ``Retry-After`` header, in seconds or as
        a date (RFC 9110, section 10.2.3), is followed up to 120 s; a longer one means no retry. Waiting counts
        towards the total timeout.
        """
        reader, self.reader = self.reader, None
        if (reader is not None and reader.begun) or self.request.exact:
            raise error
        self._deadline.begun = self._deadline.answered = False
        if self._adapt_request(error, empty=reader is not None and reader.is_empty_stream):
            return RetryWait(0.0)
        is_overloaded = (
            isinstance(error, ResponseError) and error.status in (429, 503) and error.kind != "no_money"
        )
        is_unsent = error.kind in ("connect", "connect_timeout")
        if not (is_overloaded or is_unsent) or self.count >= self.request.retries:
            raise error
        retry_after = _parse_retry_after(error.retry_after) if isinstance(error, ResponseError) else None
        if retry_after is not None and retry_after > MAX_RETRY_AFTER_SECONDS:
            error.args = (f"{error} The server asks to wait {retry_after:.0f} s.",)
            raise error
        seconds = random.uniform(0.05, min(8.0, 0.5 * 2**self.count)) if retry_after is None else retry_after
        if seconds >= self._deadline.remaining():
            raise error
        self.count += 1
        reason = f"the server answered {error.status}" if isinstance(error, ResponseError) else "no connection"
        attempt = f"{self.count} of {self.request.retries}"
        return RetryWait(seconds, f"{reason}; retrying in {seconds:.1f} s ({attempt})")

    def changes_so_far(self) -> Delta | None:
        """Return the retries and changes before this answer; None if there were none."""
        return Delta(retries=self.count, changed=tuple(self.changed)) if self.count or self.changed else None

    def _adapt_request(self, error: ChatGLMError, *, empty: bool) -> bool:
        """Change what the server refused; return whether the request changed and can be sent again."""
        body = self.request.body
        if error.kind == "bad_request" and USAGE_KEY in str(error) and USAGE_KEY in body:
            # ``transformers serve`` refuses, before it runs, a key that other servers need for token counts.
            self._replace_body({key: value for key, value in body.items() if key != USAGE_KEY})
            self.request.urls_without_usage.add(self.request.url)
            return True
        if empty and error.kind == "incomplete" and body.get("stream"):
            # ChatGLM3's api_server.py sends an empty stream for every short answer, but can send it whole.
            self.changed.append(Change("stream: the server sent an empty one, requested again without"))
            self._replace_body({key: value for key, value in body.items() if key != USAGE_KEY} | {"stream": False})
            return True
        for key, word in LIMITED_KEYS.items():
            requested = body.get(key)
            size = len(requested) if isinstance(requested, list) else requested
            limit = _find_limit(error, word, size)
            if limit is None or any(change.name == key for change in self.changed):
                continue
            if isinstance(requested, list):
                self.changed.append(Change(f"{key}: {limit} of {size} sent, the others are applied here", key))
                self._replace_body({**body, key: requested[: int(limit)]})
            else:
                self.changed.append(Change(f"{key}: {size:g} refused, {limit:g} taken", key))
                self._replace_body({**body, key: limit})
            return True
        return False

    def _replace_body(self, body: dict[str, Any]) -> None:
        self.request = replace(self.request, body=body, data=encode_json(body))


LIMITED_KEYS = {LOGPROBS_KEY: "logprobs", "stop": "stop", "temperature": "temperature"}
"""Keys that servers limit, and the word for each in their error messages."""

STATED_LIMIT = re.compile(
    r"(?:at most|above|exceeds?|allowed:?|length is|maximum(?: is| of)?:?|equal to|up to|more than"
    r"|between [\d.]+ and|[\[(][\d.]+,|<=)"
    r"\s*(\d{1,9}(?:\.\d{1,4})?)(?![\w%])",
    re.I,
)


def _find_limit(error: ChatGLMError, word: str, value: Any) -> float | None:
    """Return the limit that a server named when it refused a larger value; None if it named none.

    vLLM: "Requested sample logprobs of 4096, which is greater than max allowed: 20". OpenAI and Ollama: "between 0
    and 20", "less than or equal to 20".
    """
    message = str(error).partition(word)[2]
    if error.kind != "bad_request" or not message or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    limits = [float(number) for number in STATED_LIMIT.findall(message)]
    limit = max((number for number in limits if 0 < number < value), default=None)
    return int(limit) if limit is not None and limit == int(limit) else limit


def _parse_retry_after(retry_after: str | None) -> float | None:
    """Parse a ``Retry-After`` header to seconds; None if it is implausible, so that jitter replaces it."""
    if not retry_after or not retry_after.isascii():  # ``float`` accepts the digits of every script
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        seconds = _seconds_until(retry_after)
    return seconds if math.isfinite(seconds) and 0 < seconds <= MAX_PLAUSIBLE_SECONDS else None


def _seconds_until(date: str) -> float:
    try:
        return parsedate_to_datetime(date[:64]).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError, OSError):
        return math.nan
