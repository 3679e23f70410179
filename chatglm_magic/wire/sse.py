"""Decoder of server-sent events: bytes in, events out, however the bytes are split.

Follows the WHATWG HTML standard, section "Interpreting an event stream", with additions, so that nothing received
is silently lost: it also returns an event that the end of the stream cut off (marked as such), the field ``error``
that llama.cpp sends, and lines of bare JSON.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import IncompleteAnswerError

LINE_END = re.compile(rb"\r\n|\r|\n")
BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event.

    ``cut`` is true if the stream ended before its blank line, ``damaged`` if it contained invalid UTF-8, ``bare``
    for what the standard would ignore.
    """

    data: str
    name: str = "message"
    cut: bool = False
    damaged: bool = False
    bare: bool = False


class SSEDecoder:
    """Decodes bytes to events in linear time, however the bytes are split."""

    def __init__(self, limit: int) -> None:
        """Accept events of at most ``limit`` bytes."""
        self._limit = limit
        self._line: list[bytes] = []
        self._data: list[bytes] = []
        self._bare: list[bytes] = []
        self._extras: list[Event] = []
        self._line_size = self._data_size = 0
        self._name = b""
        self._after_cr = False
        self._at_start = True

    def feed(self, block: bytes) -> list[Event]:
        """Decode the next bytes; return the events they complete.

        :raises IncompleteAnswerError: ``too_large`` for an event above the limit.
        """
        if self._is_empty and block[:6] == b"data: " and block[-2:] == b"\n\n":
            value = block[6:-2]
            if b"\n" not in value and b"\r" not in value and len(value) <= self._limit:
                return [_event(value)]  # one complete event, as most servers send: nothing to buffer or split
        if self._after_cr and block:
            # A CR at the end of the last block ended its line; an LF now belongs to that same end.
            self._after_cr = False
            if block[:1] == b"\n":
                block = block[1:]
        if not block:
            return []
        self._after_cr = block[-1:] == b"\r"
        first, *rest = LINE_END.split(block)
        self._line.append(first)
        events = []
        for piece in rest:
            line = b"".join(self._line)
            self._line = [piece]
            events += self._read_line(line)
        self._check_held(block, bool(rest))
        return events

    @property
    def _is_empty(self) -> bool:
        """Whether nothing is buffered: the last block ended with an event's blank line."""
        return not (
            self._at_start
            or self._after_cr
            or self._data
            or self._bare
            or self._extras
            or self._name
            or any(self._line)
        )

    def close(self) -> list[Event]:
        """Finish the stream; return an event that lacks its blank line, marked as cut."""
        line = b"".join(self._line)
        self._line = []
        events = self._read_line(line) if line else []
        return events + self._dispatch(cut=True)

    def _check_held(self, block: bytes, line_ended: bool) -> None:
        """Enforce the limit on what is buffered: the data of an event and the unfinished line."""
        self._line_size = len(self._line[0]) if line_ended else self._line_size + len(block)
        self._check_size(self._data_size + self._line_size)

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise IncompleteAnswerError(
                f"The server sent an event larger than {self._limit / 2**20:g} MiB; reading stopped.",
                kind="too_large",
            )

    def _read_line(self, line: bytes) -> list[Event]:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(BOM)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            events = self._end_bare()
            self._data.append(value)
            self._add_held(value)
            return events
        if name == b"event":
            self._name = value
        elif name == b"error" and value:
            return self._end_bare() + self._emit_extra(_event(value, b"error", bare=True))
        elif not self._bare and line[:1] == b"{" and line.rstrip()[-1:] == b"}":
            return self._emit_extra(_event(line, bare=True))
        elif self._bare or line.lstrip()[:1] == b"{":
            self._bare.append(line)
            self._add_held(line)
        return []  # comments (an empty name), id, retry and unknown fields are ignored

    def _add_held(self, value: bytes) -> None:
        self._data_size += len(value)
        self._check_size(self._data_size)

    def _emit_extra(self, event: Event) -> list[Event]:
        """Return what the standard ignores: at once, or after the event whose data surrounds it."""
        if not self._data:
            return [event]
        self._extras.append(event)
        self._add_held(event.data.encode())
        return []

    def _end_bare(self) -> list[Event]:
        bare, self._bare = self._bare, []
        return self._emit_extra(_event(b"\n".join(bare), bare=True)) if bare else []

    def _dispatch(self, *, cut: bool = False) -> list[Event]:
        data, bare, extras, name = self._data, self._bare, self._extras, self._name
        self._data, self._bare, self._extras, self._name, self._data_size = [], [], [], b"", 0
        events = [_event(b"\n".join(data), name, cut)] if data else []
        return [*events, *extras, *([_event(b"\n".join(bare), cut=cut, bare=True)] if bare else [])]


def _event(data: bytes, name: bytes = b"", cut: bool = False, bare: bool = False) -> Event:
    try:
        text, damaged = data.decode(), False
    except UnicodeDecodeError:
        text, damaged = data.decode(errors="replace"), True
    return Event(text, name.decode(errors="replace") or "message", cut, damaged, bare)
