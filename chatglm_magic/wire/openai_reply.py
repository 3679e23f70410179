"""Responses of OpenAI's protocol, streamed or whole, with the log probabilities of their tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import IncompleteAnswerError, InvalidResponseError, ResponseError
from ..strictjson import strict_json
from ..values import Candidate, Change, Delta, Odds
from . import body as bodies
from .error_response import SHORTEN
from .sse import Event, SSEDecoder
from .text_filters import ThinkSplitter

LEAST = -1e4
"""The smallest logarithm that is kept: less is as impossible, and ``-inf`` isn't JSON."""

DIGITS = 7
"""After the point: as exact as the 32-bit numbers that servers compute with."""


def odds_of(found: Any) -> tuple[Odds, ...]:
    """Return the odds of the tokens in a choice's ``logprobs``; what has another shape is left out."""
    content = found.get("content") if isinstance(found, dict) else None
    if not isinstance(content, list):
        return ()
    places = []
    for item in content:
        taken = _candidate(item)
        if taken is not None:
            top = item.get("top_logprobs")
            listed = map(_candidate, top) if isinstance(top, list) else ()
            places.append(Odds(taken, tuple(candidate for candidate in listed if candidate is not None)))
    return tuple(places)


def _candidate(item: Any) -> Candidate | None:
    if not isinstance(item, dict):
        return None
    token, logprob, number = item.get("token"), item.get("logprob"), item.get("id")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    if logprob != logprob:  # not isnan, which fails for a whole number that no float can hold
        return None
    value = round(float(min(0.0, max(LEAST, logprob))), DIGITS)
    number = number if isinstance(number, int) and not isinstance(number, bool) else None
    return Candidate(token, value, number, _raw(item.get("bytes"), token))


def _raw(given: Any, token: str) -> str | None:
    """Return a token's bytes in hexadecimal where they are not those of its text."""
    if not isinstance(given, list):
        return None
    try:
        found = bytes(given)
    except (TypeError, ValueError):
        return None
    return None if found == token.encode(errors="surrogatepass") else found.hex()


EVENT_MARKS = (b"data:", b"event", b":", b"id:", b"retry")
DAMAGED = Change("answer: bytes that aren't UTF-8 are shown as \ufffd")


class Reader:
    """Takes in the bytes of one answer, a stream of events or a whole JSON object, and hands out its pieces."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._typed = "text/event-stream" in headers.get("content-type", "")
        self._stream: SSEDecoder | None = SSEDecoder(bodies.LIMIT) if self._typed else None
        self._whole = bodies.Whole(headers)
        self._text = self._seen = self._lines = False
        self._reason: str | None = None
        self._split = ThinkSplitter()
        self._changed = bodies.changes_of(headers)
        self._model: str | None = None
        self.done = False

    def feed(self, block: bytes) -> Iterator[Delta]:
        """Take in the next bytes; yield the pieces they complete, also those before an error.

        :raises IncompleteAnswerError: on an error the server sends mid-stream, or an event that can't be read.
        """
        if self._stream is None:
            self._whole.feed(block)
            if not self._typed and (begun := self._whole.beginning(len(b"data:"))):
                self._typed = True
                if begun.startswith(EVENT_MARKS):  # events under another name, such as text/plain
                    self._stream, block = SSEDecoder(bodies.LIMIT), self._whole.taken()
        if self._stream is not None:
            if not self._seen and (begun := block.lstrip()):
                self._seen, self._lines = True, begun[:1] == b"{"
            for event in self._stream.feed(block):
                yield from self._event(event)

    def close(self) -> list[Delta]:
        """End the answer; return the last pieces.

        :raises InvalidResponseError: if a whole answer is not one.
        """
        if self._stream is None:
            return self._one(self._whole.json())
        found = [piece for event in self._stream.close() for piece in self._event(event)]
        return found + self._split.close()

    def check(self) -> None:
        """Say whether the answer came whole.

        :raises IncompleteAnswerError: if the stream ended with neither ``[DONE]`` nor a ``finish_reason``, or if
            it is empty because something failed inside the server.
        :raises ResponseError: ``too_long`` if there was no room for a word.
        """
        if not (self.done or self._reason):
            if self._lines:
                raise bodies.json_lines()
            raise IncompleteAnswerError(
                "The answer is incomplete: the server closed the stream before it said that it was done."
            )
        if self._reason == "network_error":
            raise _broken_off("network_error")
        if self._reason == "model_context_window_exceeded" and not self._text:
            raise ResponseError(f"There is no room left for an answer.{SHORTEN}", kind="too_long")

    def _event(self, event: Event) -> list[Delta]:
        data = event.data.strip()
        if self.done or not data:
            return []
        if data.startswith("[DONE]"):
            self.done = True
            return []
        try:
            reply = strict_json(data)
        except (ValueError, RecursionError):
            if event.cut:
                return []  # close() says that the answer is incomplete
            if event.name == "error":
                raise _broken_off(data) from None
            raise IncompleteAnswerError(
                f"The server sent an event that isn't JSON: {bodies.shown(data)}", kind="bad_event"
            ) from None
        if bodies.failed(reply) or event.name == "error":
            raise _broken_off(bodies.message_of(reply) or reply)
        damage = [Delta(changed=(DAMAGED,))] if event.damaged else []
        return damage + self._pieces(reply, "delta")

    def _one(self, reply: Any) -> list[Delta]:
        bodies.raise_if_error(reply)
        if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list):
            raise bodies.wrong_shape(reply, "'choices'", "a plain / instead of /v1")
        pieces = self._pieces(reply, "message") + self._split.close()
        if not any(piece.text or piece.reasoning for piece in pieces) and not _silent(reply["choices"]):
            raise InvalidResponseError(
                "The server's answer is empty. Ask again, or look at its log.", kind="empty_reply"
            )
        self.done = True
        return pieces

    def _pieces(self, reply: Any, part: str) -> list[Delta]:
        if not isinstance(reply, dict):
            return []
        usage, model = reply.get("usage"), reply.get("model")
        news: dict[str, Any] = {"usage": usage} if isinstance(usage, dict) else {}
        if isinstance(model, str) and self._model is None:
            news["model"] = self._model = model
        if self._changed:
            news["changed"], self._changed = self._changed, ()
        found = self._choice(_first(reply.get("choices")), part)
        return [*found, Delta(**news)] if news else found

    def _choice(self, choice: dict[str, Any], part: str) -> list[Delta]:
        said = choice.get(part)
        said = said if isinstance(said, dict) else {}
        reasoning = said.get("reasoning_content") or said.get("reasoning")
        found = [Delta(reasoning=reasoning)] if isinstance(reasoning, str) and reasoning else []
        content = said.get("content")
        if isinstance(content, str) and content:
            self._text = True
            found += self._split.feed(content)
        if (told := choice.get("logprobs")) and (odds := odds_of(told)):
            found.append(Delta(logprobs=odds))
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self._reason = reason
            found += [*self._split.close(), Delta(finish_reason=reason)]
        return found


def _first(choices: Any) -> dict[str, Any]:
    """Return the choice that is shown: the one numbered 0, or not at all; nothing where there is none."""
    for item in choices if isinstance(choices, list) else ():
        if isinstance(item, dict) and item.get("index", 0) in (0, None):
            return item
    return {}


def _silent(choices: list[Any]) -> bool:
    """Tell whether a whole answer means to say nothing: an empty text, a tool to call, no room."""
    choice = _first(choices)
    message = choice.get("message")
    said = message.get("content") if isinstance(message, dict) else None
    return said == "" or choice.get("finish_reason") in ("length", "tool_calls", "function_call")


def _broken_off(words: Any) -> IncompleteAnswerError:
    return IncompleteAnswerError(f"The server broke off with an error: {bodies.shown(words)}", kind="server_error")
