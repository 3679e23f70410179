"""The timeouts of one request, and the error when one has expired."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ..errors import ChatGLMError, EndpointError, IncompleteAnswerError

POLL_SECONDS = 0.25
"""Longest single wait of the main thread: an interrupt just before a wait is noticed after it."""


def sleep_in_steps(seconds: float) -> None:
    """Sleep in short steps: one long sleep would not notice an interrupt that came just before it."""
    end = time.monotonic() + seconds
    while (remaining := end - time.monotonic()) > 0:
        time.sleep(min(remaining, POLL_SECONDS))


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds, none of them infinite.

    ``connect`` also applies to each block of the request that is sent. ``first_byte`` is from the request to the
    first byte of the response, ``idle`` between two of its bytes, ``content`` between two pieces of its text (a
    server may keep a connection open with comments alone), ``total`` for the request with all its retries.
    """

    connect: float = 5.0
    first_byte: float = 600.0
    idle: float = 120.0
    content: float = 300.0
    total: float = 3600.0


class Deadline:
    """The deadlines of one request: how long a client may wait next, and the error when that time is over."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._ends = time.monotonic() + timeouts.total
        self._content_due = 0.0
        self.sending = False
        """Whether a long request is being sent, block by block."""
        self.answered = False
        """Whether the headers of the response have arrived."""
        self.begun = False
        """Whether bytes of the response's body have arrived."""

    def remaining(self) -> float:
        """Return the seconds until the total timeout."""
        return max(0.001, self._ends - time.monotonic())

    def until_answer(self) -> float:
        """Return how long to wait for the response to begin."""
        return min(self._timeouts.first_byte, self.remaining())

    def until_bytes(self) -> float:
        """Return how long to wait for the next bytes."""
        return max(0.001, self.read_deadline() - time.monotonic())

    def read_deadline(self) -> float:
        """Return when the wait for the next bytes ends, by :func:`time.monotonic`."""
        if not self.begun:
            return time.monotonic() + self.until_answer()
        return min(time.monotonic() + self._timeouts.idle, self._content_due, self._ends)

    def on_bytes(self, *, content: bool) -> None:
        """Record that bytes have arrived, and whether they contained a piece of the answer.

        :raises ChatGLMError: if bytes keep arriving after the total or the content timeout.
        """
        now = time.monotonic()
        if content or not self.begun:
            self._content_due = now + self._timeouts.content
            self.begun = True
        if now >= self._ends or now >= self._content_due:
            raise self.timeout_error()

    def timeout_error(self) -> ChatGLMError:
        """Return the error for the timeout that has expired."""
        now, slack = time.monotonic(), 0.01  # a timer may wake a little early
        timeouts = self._timeouts
        if now + slack >= self._ends:
            error = IncompleteAnswerError if self.begun else EndpointError
            subject = "The answer" if self.begun else "The request"
            return error(
                f"{subject} took longer than {timeouts.total:g} s in all. {_advise_longer('total')}",
                kind="total_timeout",
            )
        if self.sending:
            return EndpointError(
                f"The server stopped reading the request for {timeouts.connect:g} s. {_advise_longer('connect')}",
                kind="write_timeout",
            )
        if not self.begun:
            return EndpointError(
                f"The server sent nothing for {timeouts.first_byte:g} s. {_advise_longer('first_byte')}",
                kind="first_byte_timeout",
            )
        if now + slack >= self._content_due:
            return IncompleteAnswerError(
                f"The answer is incomplete: no new text came for {timeouts.content:g} s. "
                + _advise_longer("content"),
                kind="stalled",
            )
        return IncompleteAnswerError(
            f"The answer is incomplete: nothing came for {timeouts.idle:g} s. {_advise_longer('idle')}",
            kind="idle_timeout",
        )


def _advise_longer(name: str) -> str:
    return f"Ask again, or wait longer: %chatglm_config {name}=SECONDS."
