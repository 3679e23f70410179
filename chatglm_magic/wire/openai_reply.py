"""Responses of OpenAI's protocol, streamed or whole, with the log probabilities of their tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import ChatGLMError, IncompleteAnswerError, InvalidResponseError, ResponseError
from ..strictjson import strict_json
from ..values import CONTEXT_FULL, Candidate, Change, Delta, TokenLogprobs
from . import body as bodies
from .chat import choice_index, is_chunk, iter_parts, join_texts, plain_text, read_message, read_reasoning
from .error_response import SHORTEN_ADVICE, find_message, make_event_error, raise_if_error, reports_failure
from .sse import Event, SSEDecoder
from .text_filters import ThinkSplitter, resolve_thinking
from .tool_calls import ToolCallAssembler

MIN_LOGPROB = -1e4
"""The lowest log probability that is kept: less makes no difference, and ``-inf`` isn't JSON."""

LOGPROB_DIGITS = 7
"""Decimal places: as precise as the 32-bit numbers that servers compute with."""


def parse_logprobs(logprobs: Any) -> tuple[TokenLogprobs, ...]:
    """Return the log probabilities in a choice's ``logprobs``; items of another shape are skipped."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list):
        return ()
    positions = []
    for item in content:
        token = _candidate(item)
        if token is not None:
            top = item.get("top_logprobs")
            candidates = map(_candidate, top) if isinstance(top, list) else ()
            positions.append(
                TokenLogprobs(token, tuple(candidate for candidate in candidates if candidate is not None))
            )
    return tuple(positions)


def _candidate(item: Any) -> Candidate | None:
    if not isinstance(item, dict):
        return None
    token, logprob, number = item.get("token"), item.get("logprob"), item.get("id")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    if logprob != logprob:  # not isnan, which fails for a whole number that no float can hold
        return None
    value = round(float(min(0.0, max(MIN_LOGPROB, logprob))), LOGPROB_DIGITS)
    number = number if isinstance(number, int) and not isinstance(number, bool) else None
    return Candidate(token, value, number, _hex_bytes(item.get("bytes"), token))


def _hex_bytes(values: Any, token: str) -> str | None:
    """Return a token's bytes in hexadecimal if they aren't those of its text."""
    if not isinstance(values, list):
        return None
    try:
        data = bytes(values)
    except (TypeError, ValueError):
        return None
    return None if data == token.encode(errors="surrogatepass") else data.hex()


EVENT_MARKS = (b"data:", b"event", b":", b"id:", b"retry", b"error:")
INVALID_UTF8 = Change("answer: bytes that aren't UTF-8 are shown as \ufffd")
MODEL_REFUSED = Change("answer: the model refused")
CONTEXT_IS_FULL = Change("answer: cut, the model's context is full")
END_MARKS = ("done", "[done]")
"""Data of the last event, in lower case."""

FULL_REASONS = (CONTEXT_FULL, "context_length_exceeded", "max_context_length")
LENGTH_REASONS = ("length", "max_tokens", "max_length", "max_output_tokens")
FAILURE_REASONS = {
    "network_error": "network_error",
    "abort": "it was aborted",
    "aborted": "it was aborted",
    "cancelled": "it was cancelled",
    "canceled": "it was cancelled",
    "error": "something failed inside it",
    "timeout": "it took too long",
    "insufficient_system_resource": "the server ran out of resources",
}
"""Finish reasons that are failures, each with a description."""

FILTERED_REASONS = ("content_filter", "sensitive", "safety", "blocked", "prohibited_content")


class OpenAIReader:
    """Reads one response, a stream of events or a whole JSON object, and yields the pieces of its answer.

    :param url: where the request was sent.
    :param several: whether several answers were requested; then a choice's index says which answer a piece
        belongs to. Otherwise some servers count tokens with it, or start at 1.
    """

    def __init__(self, headers: dict[str, str], url: str = "", *, several: bool = False) -> None:
        self._is_event_stream = "text/event-stream" in headers.get("content-type", "")
        self._decoder: SSEDecoder | None = SSEDecoder(bodies.MAX_BODY_BYTES) if self._is_event_stream else None
        self._buffer = bodies.BodyBuffer(headers)
        self._url, self._selects_by_index = url, several
        self._selected_index: int | None = None
        self._texts: list[str] = []
        self._answer_texts: list[str] = []
        """The pieces of the answer without its thinking."""
        self._whole_objects = self._objects_with_text = 0
        self._has_reasoning = self._has_input = False
        self._reason: str | None = None
        self._splitter = ThinkSplitter()
        self._calls = ToolCallAssembler()
        self._pending_changes = bodies.reported_changes(headers)
        self._model: str | None = None
        self.done = False

    def feed(self, block: bytes) -> Iterator[Delta]:
        """Decode the next bytes; yield the pieces they complete, including those before an error.

        :raises IncompleteAnswerError: for an error the server sends mid-stream, or an event that can't be parsed.
        :raises ResponseError: for an error that is sent as the first event.
        """
        if self._decoder is not None and not self._has_input and (beginning := block.lstrip()):
            self._has_input = True
            if beginning[:1] in b"{[":  # a JSON object with the content type of a stream
                self._decoder = None
        if self._decoder is None:
            self._buffer.feed(block)
            if not self._is_event_stream and (beginning := self._buffer.peek(len(b"error:"))):
                self._is_event_stream = True
                if beginning.startswith(EVENT_MARKS):  # events with another content type, such as text/plain
                    self._decoder, self._has_input, block = (
                        SSEDecoder(bodies.MAX_BODY_BYTES),
                        True,
                        self._buffer.take_all(),
                    )
        if self._decoder is not None:
            yield from self._read_events(self._decoder.feed(block))

    def close(self) -> Iterator[Delta]:
        """Finish the response; yield the last pieces, including those before an error.

        :raises InvalidResponseError: if a whole response isn't an answer.
        """
        if self._decoder is None:
            whole, events = self._buffer.json_and_events()
            if events and is_chunk(whole):  # a chunk without its "data:"
                yield from self._read_object(whole)
            else:
                yield from self._read_whole(whole)
                self.done, self._reason = False, self._reason or "stop"
            # Most often "[DONE]" alone.
            yield from self._read_events(SSEDecoder(bodies.MAX_BODY_BYTES).feed(events + b"\n\n"))
        else:
            yield from self._read_events(self._decoder.close())
        yield from self._splitter.close()

    def _read_events(self, events: list[Event]) -> Iterator[Delta]:
        try:
            for event in events:
                yield from self._read_event(event)
        except ChatGLMError:
            yield from self._splitter.close()  # what was held back is text from before the error
            raise

    def check(self) -> None:
        """Check that the answer is complete.

        :raises IncompleteAnswerError: if the stream ended with neither ``[DONE]`` nor a ``finish_reason``, or was
            ended by a failure of the server or a content filter.
        :raises ResponseError: ``too_long`` if there was no room for an answer.
        """
        # One whole object is complete, though it has no finish_reason.
        is_one_object = self._whole_objects == self._objects_with_text == 1
        if not (self.done or self._reason or is_one_object):
            raise IncompleteAnswerError(
                "The answer is incomplete: the server closed the stream before it said that it was done."
            )
        reason = (self._reason or "").lower()
        if reason in FULL_REASONS and not self._texts:
            raise ResponseError(f"There is no room left for an answer.{SHORTEN_ADVICE}", kind="too_long")
        if reason in FILTERED_REASONS:
            raise IncompleteAnswerError(
                f"The server's content filter stopped the answer ({bodies.sanitize_line(self._reason)}). "
                "Ask in other words.",
                kind="content_filter",
            )
        if reason in FAILURE_REASONS:
            description = FAILURE_REASONS[reason]
            detail = (
                description if description == reason else f"{description} ({bodies.sanitize_line(self._reason)})"
            )
            raise IncompleteAnswerError(f"The server broke off with an error: {detail}", kind="server_error")

    def _read_event(self, event: Event) -> Iterator[Delta]:
        data = event.data.strip()
        if self.done or not data:
            return
        if data.lower() in END_MARKS or data.startswith("[DONE]"):
            self.done = True
            return
        try:
            reply = strict_json(data)
        except (ValueError, RecursionError):
            is_error = event.name == "error" and not (event.cut or self._reason)
            if not is_error and (event.cut or event.bare or self._reason):
                return  # check() reports whether the answer is incomplete
            if is_error:
                raise make_event_error(data, self._url, begun=self.begun) from None
            raise IncompleteAnswerError(
                f"The server sent an event that isn't JSON: {bodies.sanitize_line(data)}", kind="bad_event"
            ) from None
        if reports_failure(reply) or event.name == "error":
            if self._reason:  # the answer was already complete
                message = bodies.sanitize_line(find_message(reply) or reply)
                yield Delta(changed=(Change(f"answer: the server reported an error after its end: {message}"),))
                return
            yield from self._read_object(reply)  # it may contain the last text too
            raise make_event_error(reply, self._url, begun=self.begun)
        if event.damaged:
            yield Delta(changed=(INVALID_UTF8,))
        yield from self._read_object(reply)

    def _read_whole(self, reply: Any) -> list[Delta]:
        """Return the pieces of an answer that was sent as one JSON object."""
        if self._is_event_stream and reports_failure(reply):
            raise make_event_error(reply, self._url, begun=False)
        raise_if_error(reply, self._url)
        if not isinstance(reply, dict) or not isinstance(reply.get("choices"), list):
            raise bodies.wrong_shape_error(reply, "'choices'", "a plain / instead of /v1", "chatglm")
        pieces = resolve_thinking(self._read_object(reply) + self._splitter.close())
        has_content = any(piece.text or piece.reasoning or piece.tool_calls for piece in pieces)
        if not has_content and not self._may_be_empty(reply["choices"]):
            raise InvalidResponseError(
                "The server's answer is empty. Ask again, or look at its log.", kind="empty_reply"
            )
        self.done = True
        return pieces

    @property
    def begun(self) -> bool:
        """Whether text of the answer, or of its thinking, or a tool call has arrived."""
        return bool(self._texts) or self._has_reasoning or self._calls.has_calls

    def _read_object(self, reply: Any) -> list[Delta]:
        if not isinstance(reply, dict):
            return []
        if (
            self._model is not None
            and not (self._pending_changes or self._selects_by_index)
            and (text := plain_text(reply))
        ):
            self._objects_with_text += 1
            return self._read_text(text)
        usage, model = reply.get("usage"), reply.get("model")
        facts: dict[str, Any] = {"usage": usage} if isinstance(usage, dict) else {}
        if isinstance(model, str) and self._model is None:
            facts["model"] = self._model = model
        if self._pending_changes:
            facts["changed"], self._pending_changes = self._pending_changes, ()
        choice = self._select_choice(reply.get("choices"))
        message = read_message(choice)
        if reply.get("object") == "chat.completion" and isinstance(choice.get("message"), dict):
            if not self._whole_objects and (
                self._is_repeated(join_texts(message.get("content"))) or self._calls.has_calls
            ):
                message = {}  # the whole answer again, after its pieces
            self._whole_objects += 1
        texts_before = len(self._texts)
        deltas = self._read_choice(choice, message)
        self._objects_with_text += len(self._texts) > texts_before
        return [*deltas, Delta(**facts)] if facts else deltas

    def _is_repeated(self, text: str) -> bool:
        """Return whether a text repeats the whole answer so far, with or without its thinking."""
        return bool(self._texts) and text.strip() in (
            "".join(self._texts).strip(),
            "".join(self._answer_texts).strip(),
        )

    def _select_choice(self, choices: Any) -> dict[str, Any]:
        """Return the choice to display; empty if there is none.

        If an event has several, or several answers were requested, that is the one with the lowest index,
        otherwise the first.
        """
        listed = [item for item in choices if isinstance(item, dict)] if isinstance(choices, list) else []
        if len(listed) > 1:
            self._selects_by_index = True
            if self._selected_index is None:
                self._selected_index = min(choice_index(item) for item in listed)
        if self._selects_by_index:
            selected = self._selected_index or 0
            return next((item for item in listed if choice_index(item) == selected), {})
        return listed[0] if listed else {}

    def _read_choice(self, choice: dict[str, Any], message: dict[str, Any]) -> list[Delta]:
        deltas = []
        if reasoning := read_reasoning(message):
            deltas.append(self._read_reasoning(reasoning))
        for kind, text in iter_parts(message.get("content")):
            deltas += [self._read_reasoning(text)] if kind == "reasoning" else self._read_text(text)
            if kind == "refusal":
                deltas.append(Delta(changed=(MODEL_REFUSED,)))
        refusal = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            deltas += [*self._read_text(refusal), Delta(changed=(MODEL_REFUSED,))]
        calls = message.get("tool_calls") or message.get("function_call")
        if calls and (pieces := self._calls.feed(calls)):
            deltas += [*self._splitter.close(), Delta(tool_calls=tuple(pieces))]
        if (listed := choice.get("logprobs")) and (odds := parse_logprobs(listed)):
            deltas.append(Delta(logprobs=odds))
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason and reason.lower() not in ("null", "none"):
            self._reason = reason
            is_full = reason.lower() in FULL_REASONS
            finish_reason = CONTEXT_FULL if is_full else "length" if reason.lower() in LENGTH_REASONS else reason
            changed = (CONTEXT_IS_FULL,) if is_full else ()
            deltas += [*self._splitter.close(), Delta(finish_reason=finish_reason, changed=changed)]
        return deltas

    def _read_reasoning(self, text: str) -> Delta:
        self._has_reasoning = True
        self._splitter.note_separate_reasoning()
        return Delta(reasoning=text)

    def _read_text(self, text: str) -> list[Delta]:
        self._texts.append(text)
        deltas = self._splitter.feed(text)
        self._answer_texts += [delta.text for delta in deltas]
        return deltas

    def _may_be_empty(self, choices: list[Any]) -> bool:
        """Return whether a whole answer can be empty: an empty text, a tool call, no room, or a filter."""
        choice = self._select_choice(choices)
        reason = str(choice.get("finish_reason")).lower()
        ended = (*LENGTH_REASONS, *FILTERED_REASONS, *FAILURE_REASONS, *FULL_REASONS)
        return read_message(choice).get("content") in ("", []) or reason in (*ended, "tool_calls", "function_call")
