"""Reads llama.cpp's event stream and puts a whole answer together from it. No I/O.

The shapes are those of OpenAI's chat completions as llama.cpp's server writes them: `data: {…}` lines, the last
one `data: [DONE]`; an error inside a stream is `data: {"error": {…}}` (`error: {…}` in older builds).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


class Events:
    """Bytes in, the events' JSON out, whatever the bytes' splits are."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = False
        """Whether `[DONE]` was seen."""

    def feed(self, data: bytes) -> Iterator[Json]:
        """Yield the events that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            kind, _, value = line.partition(b":")
            value = value.strip()
            if value == b"[DONE]":
                self.done = True
            elif kind == b"data":
                yield json.loads(value)
            elif kind == b"error":
                yield {"error": json.loads(value)}


class WholeAnswer:
    """The reply that was not streamed, as llama.cpp would have given it."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._texts: dict[str, list[str]] = {"content": [], "reasoning_content": []}
        self._logprobs: list[Json] | None = None
        self._finish: str | None = None

    def add(self, event: Json) -> None:
        """Take in one event of the stream."""
        for name, value in event.items():
            if name != "choices":
                self._head[name] = value
        for choice in event.get("choices", ()):
            for name, pieces in self._texts.items():
                pieces.append(choice.get("delta", {}).get(name) or "")
            if choice.get("logprobs"):
                self._logprobs = (self._logprobs or []) + choice["logprobs"].get("content", [])
            self._finish = choice.get("finish_reason") or self._finish

    @property
    def text(self) -> str:
        """The answer's text."""
        return "".join(self._texts["content"])

    def reply(self) -> Json:
        """Return the body of `/v1/chat/completions` without `stream`."""
        message: Json = {"role": "assistant", "content": self.text}
        if reasoning := "".join(self._texts["reasoning_content"]):
            message["reasoning_content"] = reasoning
        choice: Json = {"finish_reason": self._finish, "index": 0, "message": message}
        if self._logprobs is not None:
            choice["logprobs"] = {"content": self._logprobs}
        return {"choices": [choice], **self._head, "object": "chat.completion"}
