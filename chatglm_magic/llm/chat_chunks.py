"""Converts an answer's pieces to LangChain's messages: a complete one, or chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk

from ..client.address import redact_url
from ..credentials import mask
from ..errors import ChatGLMError
from ..values import Delta, TokenLogprobs, ToolCallPiece
from ..wire.body import sanitize_line
from ..wire.text_filters import SecretFilter, tail_match
from ..wire.tool_arguments import ArgumentCaster, mask_json
from ..wire.tool_calls import forced_name
from ..wire.tool_markup import find_bound_name
from ..wire.tool_text import ToolTextReader
from .chunks import ChunkBuilder
from .messages import GLMMessageChunk, parse_calls, to_openai_logprobs, usage_metadata
from .request_plan import RequestPlan


class ChatPiece(NamedTuple):
    """A piece of an answer, before it is converted to a message; there is one per token.

    :param thought: whether all text before it was thinking.
    :param block: the text that its calls were parsed from.
    """

    text: str = ""
    reasoning: str = ""
    thought: bool = False
    calls: tuple[ToolCallPiece, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    block: str = ""


class AnswerBuilder:
    """Collects an answer: parses calls in its text, applies the stop sequences, and gathers its metadata.

    :param keep_tool_text: leave calls in the text unparsed.
    """

    def __init__(self, plan: RequestPlan, *, keep_tool_text: bool = False) -> None:
        chat = plan.model_input.chat
        assert chat is not None, "a chat model's plan has its options"
        self._text = ChunkBuilder.of(plan)
        reads = chat.tools and chat.tool_choice != "none" and not keep_tool_text
        self._reader = ToolTextReader(chat.tools, json.dumps(plan.request.body["messages"])) if reads else None
        functions = [tool["function"] for tool in chat.tools if isinstance(tool.get("function"), Mapping)]
        self._schemas = {function["name"]: function.get("parameters") or {} for function in functions}
        self._choice = chat.tool_choice
        self._call_count = 0
        """How many calls have started, including those that turned out to be thinking."""
        self._secrets = plan.request.secrets
        self._casters: dict[int, ArgumentCaster] = {}
        self._filters: dict[int, SecretFilter] = {}
        self._numbers: dict[tuple[bool, int], int] = {}
        self._names: dict[int, str] = {}
        self._logprobs = _LogprobsFilter(self._secrets)
        self._escaped: dict[int, list[str]] = {}
        """Arguments with escapes, which may hide a secret until they are complete."""
        self._facts: dict[str, Any] = {"endpoint": redact_url(plan.request.url)}
        self._usage: Mapping[str, Any] = {}
        self._changed: list[str] = []

    @property
    def done(self) -> bool:
        """Whether a stop string has ended the answer."""
        return self._text.done

    def feed(self, delta: Delta) -> tuple[ChatPiece, ...]:
        """Process a piece; return the pieces to emit."""
        if self._reader is None and delta[1:] == _TEXT_ONLY:  # most pieces have only text
            text, info = self._text.process(delta)
            return (ChatPiece(text),) if text and not info else tuple(self._emit_text(text, info))
        if self._reader is None or delta.tool_calls:
            return tuple(self._process(delta, in_text=False))
        return tuple(self._feed_tool_text(delta))

    def _feed_tool_text(self, delta: Delta) -> Iterator[ChatPiece]:
        assert self._reader is not None, "it reads calls"
        for piece in self._reader.feed(delta):
            if not self.done:
                yield from self._process(piece, in_text=True)

    def _emit_text(self, text: str, info: Mapping[str, Any]) -> Iterator[ChatPiece]:
        if (text or info) and (piece := self._build_piece(text, info, ())) != _EMPTY:
            yield piece

    def close(self) -> Iterator[ChatPiece]:
        """End the answer; yield the pieces held back so far."""
        for piece in self._reader.close() if self._reader is not None and not self.done else ():
            yield from self._process(piece, in_text=True)
        rest = [ToolCallPiece(n, arguments=self._close_arguments(n)) for n in self._numbers.values()]
        if any(caster.changed for caster in self._casters.values()):
            self._changed.append("tool_calls: arguments cast to the types of the tool's schema")
        text, info = self._text.finish()
        last = self._build_piece(text, info, tuple(piece for piece in rest if piece.arguments))
        yield last._replace(logprobs=last.logprobs + self._logprobs.close())

    def attach_partial(self, error: ChatGLMError) -> None:
        """Set an error's ``partial`` to the text received so far."""
        self._text.attach_partial(error)

    def metadata(self) -> dict[str, Any]:
        """Return LangChain's ``response_metadata``, once the answer has ended."""
        changed = list(self._changed)
        if count := sum(in_text for in_text, _ in self._numbers):
            changed.append(f"tool_calls: {count} read from the answer's text, where the server left them")
        choice = self._choice if isinstance(self._choice, str) else forced_name(self._choice)
        called = [self._names.get(number, "") for number in self._numbers.values()]
        if choice not in (None, "auto", "none") and not called:
            changed.append(f"tool_choice: the model called no tool, though {choice} was asked for")
        elif choice in self._schemas and any(name != choice for name in called):
            changed.append(f"tool_choice: the model called another tool than {choice}")
        notes = {"changed": changed} if changed else {}
        return {"model_provider": "glm", **self._facts, **notes}

    def usage(self) -> UsageMetadata | None:
        """Return the token counts, once the answer has ended."""
        return usage_metadata(self._usage)

    def _process(self, delta: Delta, *, in_text: bool) -> Iterator[ChatPiece]:
        calls = tuple([self._call_piece(piece, in_text) for piece in delta.tool_calls]) if delta.tool_calls else ()
        text, info = self._text.process(delta)
        if (text or info or calls) and (piece := self._build_piece(text, info, calls)) != _EMPTY:
            if piece.thought:  # calls parsed from it weren't meant
                self._numbers = {key: number for key, number in self._numbers.items() if not key[0]}
            if in_text and delta.tool_calls and self._reader is not None:
                blocks = self._reader.blocks
                block = "".join(blocks[call.number] for call in delta.tool_calls)
                piece = piece._replace(block=mask(block, self._secrets))
            yield piece

    def _build_piece(self, text: str, info: Mapping[str, Any], calls: tuple[ToolCallPiece, ...]) -> ChatPiece:
        """Return a piece to emit; keep what is reported once, at the end."""
        if not info:
            return ChatPiece(text, calls=calls)
        self._usage = info.get("usage") or self._usage  # some servers send a running total with each piece
        for name, key in (("model_name", "model"), ("finish_reason", "finish_reason")):
            if info.get(key):
                self._facts[name] = info[key]
        self._changed += [str(change) for change in info.get("changed", ())]
        reasoning, thought = info.get("reasoning", ""), bool(info.get("thought"))
        logprobs = tuple(info.get("logprobs", ()))
        logprobs = self._logprobs.feed(logprobs) if self._secrets else logprobs
        return ChatPiece(text, reasoning, thought, calls, logprobs)

    def _call_piece(self, piece: ToolCallPiece, in_text: bool) -> ToolCallPiece:
        """Return a piece of a call, renumbered, with secrets masked and arguments cast to its schema."""
        if (key := (in_text, piece.number)) not in self._numbers:
            self._numbers[key] = self._call_count
            self._call_count += 1
        number = self._numbers[key]
        name, text = piece.name, piece.arguments
        if name and not in_text:
            name = find_bound_name(name, self._schemas) or name
            if name != piece.name:
                self._changed.append(f"tool_calls: {sanitize_line(piece.name, 60)} read as {name}")
            if name in self._schemas:
                self._casters[number] = ArgumentCaster(self._schemas[name])
        if number in self._casters:
            text = self._casters[number].feed(text)
        self._names[number] = self._names.get(number) or name
        masked = {"id": mask(piece.id, self._secrets), "name": mask(name, self._secrets)}
        return piece._replace(number=number, arguments=self._mask_arguments(number, text), **masked)

    def _mask_arguments(self, number: int, text: str) -> str:
        """Return a piece of a call's arguments with secrets masked; hold it back if they may contain one."""
        if not self._secrets:
            return text
        if number in self._escaped or "\\" in text:
            self._escaped.setdefault(number, []).append(text)
            return ""
        return self._filters.setdefault(number, SecretFilter(self._secrets)).feed(text)

    def _close_arguments(self, number: int) -> str:
        """Return the part of a call's arguments that was held back."""
        text = self._mask_arguments(number, self._casters[number].close()) if number in self._casters else ""
        text += self._filters[number].close() if number in self._filters else ""
        return text + mask_json("".join(self._escaped.get(number, ())), self._secrets)


class _LogprobsFilter:
    """Removes the tokens of secrets from log probabilities; holds back those that may begin one."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self._held: list[TokenLogprobs] = []

    def feed(self, logprobs: Sequence[TokenLogprobs]) -> tuple[TokenLogprobs, ...]:
        """Add the next tokens; return those that can be emitted."""
        self._held += logprobs
        text = "".join(logprob.taken.token for logprob in self._held)
        for secret in self._secrets:
            if secret in text:
                self._held.clear()
                return ()
        keep = max((tail_match(text, secret) for secret in self._secrets), default=0)
        ready: list[TokenLogprobs] = []
        while self._held and len(text) - len(self._held[0].taken.token) >= keep:
            text = text[len(self._held[0].taken.token) :]
            ready.append(self._held.pop(0))
        return tuple(ready)

    def close(self) -> tuple[TokenLogprobs, ...]:
        """Return the tokens held back."""
        held, self._held = tuple(self._held), []
        return held


_EMPTY = ChatPiece()
_TEXT_ONLY = Delta()[1:]


def to_chunk(piece: ChatPiece) -> ChatGenerationChunk:
    """Convert a piece to LangChain's chunk."""
    if piece[1:] == _EMPTY[1:]:
        return _text_chunk(piece.text)
    message = GLMMessageChunk(
        content=piece.text,
        additional_kwargs={"reasoning_content": piece.reasoning} if piece.reasoning else {},
        tool_call_chunks=[
            ToolCallChunk(
                type="tool_call_chunk",
                index=call.number,
                id=call.id or None,
                name=call.name or None,
                args=call.arguments,
            )
            for call in piece.calls
        ],
        response_metadata=_logprobs_metadata(piece.logprobs),
    )
    message._thought = piece.thought
    if piece.block:
        message._raw_text = piece.text + piece.block
    return ChatGenerationChunk(message=message)


def _text_chunk(text: str) -> ChatGenerationChunk:
    """Return a chunk with only text: copies of empty ones, since constructing them takes five times as long."""
    message: GLMMessageChunk = GLMMessageChunk.__new__(GLMMessageChunk)
    containers: dict[str, Any] = {"additional_kwargs": {}, "response_metadata": {}}
    containers |= {"tool_calls": [], "invalid_tool_calls": [], "tool_call_chunks": []}
    put = object.__setattr__  # as in pydantic's copy
    put(message, "__dict__", {**_EMPTY_MESSAGE.__dict__, **containers, "content": text})
    put(message, "__pydantic_extra__", {})
    put(message, "__pydantic_fields_set__", {"content"})
    put(message, "__pydantic_private__", {"_thought": False, "_raw_text": None})
    chunk = ChatGenerationChunk.__new__(ChatGenerationChunk)
    put(chunk, "__dict__", {**_EMPTY_CHUNK.__dict__, "message": message, "text": text})
    put(chunk, "__pydantic_extra__", None)
    put(chunk, "__pydantic_fields_set__", {"message"})
    put(chunk, "__pydantic_private__", None)
    return chunk


_EMPTY_MESSAGE = GLMMessageChunk(content="")
_EMPTY_CHUNK = ChatGenerationChunk(message=_EMPTY_MESSAGE)


def last_chunk(builder: AnswerBuilder) -> ChatGenerationChunk:
    """Return the chunk that ends an answer, with its metadata."""
    message = GLMMessageChunk(
        content="",
        response_metadata=builder.metadata(),
        usage_metadata=builder.usage(),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def to_message(pieces: Sequence[ChatPiece], builder: AnswerBuilder) -> AIMessage:
    """Return the message of a complete answer's pieces."""
    texts: list[str] = []
    raw_texts: list[str] = []
    reasoning: list[str] = []
    parsed_numbers: set[int] = set()
    calls: dict[int, list[str]] = {}
    logprobs: list[TokenLogprobs] = []
    for piece in pieces:
        if piece.thought:  # the text so far was thinking
            reasoning.append("".join(raw_texts))
            texts.clear()
            for number in parsed_numbers:
                del calls[number]
            parsed_numbers.clear()
            raw_texts.clear()
        texts.append(piece.text)
        raw_texts.append(piece.text + piece.block)
        parsed_numbers |= {call.number for call in piece.calls} if piece.block else set()
        reasoning.append(piece.reasoning)
        logprobs += piece.logprobs
        for call in piece.calls:
            parts = calls.setdefault(call.number, [call.id, "", ""])
            parts[1] = parts[1] or call.name
            parts[2] += call.arguments
    thinking = "".join(reasoning)
    metadata = builder.metadata()
    complete = [(call_id, name, text) for call_id, name, text in calls.values()]
    valid, invalid = parse_calls(complete, metadata.get("finish_reason"))
    return AIMessage(
        content="".join(texts),
        additional_kwargs={"reasoning_content": thinking} if thinking else {},
        tool_calls=valid,
        invalid_tool_calls=invalid,
        response_metadata=metadata | _logprobs_metadata(logprobs),
        usage_metadata=builder.usage(),
    )


def _logprobs_metadata(logprobs: Sequence[TokenLogprobs]) -> dict[str, Any]:
    return {"logprobs": {"content": to_openai_logprobs(logprobs)}} if logprobs else {}
