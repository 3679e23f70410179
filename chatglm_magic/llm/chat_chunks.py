"""Makes LangChain's messages of an answer's pieces, whole or chunk by chunk: one place for both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessageChunk, InvalidToolCall, ToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.content import ContentBlock
from langchain_core.messages.tool import ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import PrivateAttr, model_validator

from ..client.address import bare
from ..credentials import mask
from ..errors import ChatGLMError
from ..strictjson import strict_json
from ..values import CONTEXT_FULL, Delta, TokenLogprobs, ToolCallPiece
from ..wire.body import sanitize_line
from ..wire.text_filters import SecretFilter, tail_match
from ..wire.tool_arguments import ArgumentCaster, mask_json
from ..wire.tool_calls import forced_name
from ..wire.tool_text import ToolTextReader, bound_name
from .chunks import ChunkBuilder
from .messages import logprobs_as_openai, usage_metadata
from .request_plan import RequestPlan


class _AsMessage:
    """The class that LangChain calls to make a message of a chunk: the first one behind the chunk's own."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return AIMessage(**kwargs) if cls is _AsMessage else super().__new__(cls)


class GLMMessageChunk(_AsMessage, AIMessageChunk):
    """A piece of an answer. Pieces add up to the message that ``invoke`` returns.

    LangChain's own class takes arguments that were cut off for whole ones, closing what is open; here they are
    invalid calls with their text. Thinking that shows itself only by its end is moved where it belongs.
    """

    _thought: bool = PrivateAttr(default=False)
    """Whether all text before this piece was thinking."""
    _said: str | None = PrivateAttr(default=None)
    """The text with the calls that were read out of it; None where it is the content."""

    @classmethod
    def lc_id(cls) -> list[str]:
        return AIMessageChunk.lc_id()

    @property
    def content_blocks(self) -> list[ContentBlock]:
        """The content as LangChain's standard blocks. A call's index differs from those of text and thinking."""
        blocks: Any = super().content_blocks
        for block in blocks:
            if block["type"] == "tool_call_chunk" and isinstance(block.get("index"), int):
                block["index"] = f"lc_call_{block['index']}"
        return blocks  # type: ignore[no-any-return]

    @model_validator(mode="after")
    def init_tool_calls(self) -> GLMMessageChunk:
        """Make calls of the chunks; once the last has come, only of those whose arguments are whole."""
        super().init_tool_calls()  # type: ignore[operator]
        if self.chunk_position == "last" and self.tool_call_chunks:
            pieces = [(one["id"] or "", one["name"] or "", one["args"] or "") for one in self.tool_call_chunks]
            reason = self.response_metadata.get("finish_reason")
            self.__dict__["tool_calls"], self.__dict__["invalid_tool_calls"] = parsed_calls(pieces, reason)
            if isinstance(self.content, list):
                wrong: dict[Any, Any] = {call["id"]: call for call in self.invalid_tool_calls}
                self.__dict__["content"] = [
                    {**wrong[part["id"]]} if isinstance(part, dict) and part.get("id") in wrong else part
                    for part in self.content
                ]
        return self

    def __add__(self, other: Any) -> BaseMessageChunk:  # type: ignore[override]
        others = list(other) if isinstance(other, list | tuple) else [other]
        place = max((n for n, one in enumerate(others) if _private(one, "_thought")), default=None)
        if place is not None:
            before: Any = self + others[:place] if place else self
            last = others[place].model_copy()
            last._thought = False
            rest: Any = [last, *others[place + 1 :]]
            whole: BaseMessageChunk = before._as_thinking() + rest
            return whole
        added: BaseMessageChunk = super().__add__(other)
        parts = [self, *others]
        if isinstance(added, GLMMessageChunk) and any(_private(one, "_said") is not None for one in parts):
            added._said = "".join(one.text if _private(one, "_said") is None else one._said for one in parts)
        return added

    def _as_thinking(self) -> GLMMessageChunk:
        """Return the chunk with its text as thinking, and without the calls that were read in it."""
        said = self.text if self._said is None else self._said
        if isinstance(self.content, list):  # LangChain's output version v1
            thinking = "".join(part.get("reasoning", "") for part in self.content if isinstance(part, dict)) + said
            update: dict[str, Any] = {
                "content": [{"type": "reasoning", "reasoning": thinking, "index": "lc_thought"}]
            }
        else:
            thinking = self.additional_kwargs.get("reasoning_content", "") + said
            kwargs = self.additional_kwargs | ({"reasoning_content": thinking} if thinking else {})
            update = {"content": "", "additional_kwargs": kwargs}
        own: dict[str, Any] = {"tool_call_chunks": [], "tool_calls": [], "invalid_tool_calls": []}
        copied = self.model_copy(update=update | (own if self._said is not None else {}))
        copied._said = None
        return copied


def _private(chunk: Any, name: str) -> Any:
    """Return a private attribute of a chunk, past pydantic's look-up, which takes long; None if there is none."""
    return (chunk.__pydantic_private__ or {}).get(name) if isinstance(chunk, GLMMessageChunk) else None


def parsed_calls(
    calls: Sequence[tuple[str, str, str]], reason: str | None
) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Part calls into those that can be run and the others.

    :param calls: each with its id, its name and its arguments as text.
    :param reason: why the answer ended: the last call of one that was cut off may lack its arguments.
    """
    valid: list[ToolCall] = []
    invalid: list[InvalidToolCall] = []
    for index, (call_id, name, arguments) in enumerate(calls):
        is_cut = reason in CUT_REASONS and index == len(calls) - 1 and not arguments.strip()
        try:
            values = strict_json(arguments) if arguments.strip() else {}
            error = None if isinstance(values, dict) else "The arguments aren't a JSON object."
        except (ValueError, RecursionError):
            error = "The arguments aren't JSON, or were cut off."
        error = "The call was cut off before its arguments." if is_cut else error
        if error is None and name:
            valid.append(ToolCall(type="tool_call", id=call_id, name=name, args=values))
        else:
            error = error or "The call has no name."
            call = InvalidToolCall(type="invalid_tool_call", id=call_id, name=name, args=arguments, error=error)
            invalid.append(call)
    return valid, invalid


CUT_REASONS = ("length", CONTEXT_FULL)
"""Reasons to finish of an answer that isn't whole."""


class ChatPiece(NamedTuple):
    """A piece of an answer, before it is a message: one is made for every token.

    ``thought`` says that all text before it was thinking. ``block`` is the text that its calls were read in.
    """

    text: str = ""
    reasoning: str = ""
    thought: bool = False
    calls: tuple[ToolCallPiece, ...] = ()
    logprobs: tuple[TokenLogprobs, ...] = ()
    block: str = ""


class AnswerBuilder:
    """Collects an answer: reads calls out of its text, applies the stop strings, and gives the facts at the end.

    :param keep_tool_text: leave calls that stand in the text where they are.
    """

    def __init__(self, plan: RequestPlan, *, keep_tool_text: bool = False) -> None:
        chat = plan.question.chat
        assert chat is not None, "a chat model's plan has its options"
        self._text = ChunkBuilder.of(plan)
        reads = chat.tools and chat.tool_choice != "none" and not keep_tool_text
        self._reader = ToolTextReader(chat.tools, json.dumps(plan.call.body["messages"])) if reads else None
        functions = [tool["function"] for tool in chat.tools if isinstance(tool.get("function"), Mapping)]
        self._schemas = {function["name"]: function.get("parameters") or {} for function in functions}
        self._choice = chat.tool_choice
        self._begun = 0
        """How many calls have begun, also those that turned out to be thinking."""
        self._secrets = plan.call.secrets
        self._casters: dict[int, ArgumentCaster] = {}
        self._filters: dict[int, SecretFilter] = {}
        self._numbers: dict[tuple[bool, int], int] = {}
        self._names: dict[int, str] = {}
        self._odds = _OddsFilter(self._secrets)
        self._held: dict[int, list[str]] = {}
        """Arguments with escapes, in which a secret might hide until they are whole."""
        self._facts: dict[str, Any] = {"endpoint": bare(plan.call.url)}
        self._usage: Mapping[str, Any] = {}
        self._changed: list[str] = []

    @property
    def done(self) -> bool:
        """Whether a stop string has ended the answer."""
        return self._text.done

    def feed(self, delta: Delta) -> tuple[ChatPiece, ...]:
        """Take in a piece; return what there is to hand out."""
        if self._reader is None and delta[1:] == _NOTHING_ELSE:  # most pieces: text alone
            text, info = self._text.take(delta)
            return (ChatPiece(text),) if text and not info else tuple(self._said(text, info))
        if self._reader is None or delta.tool_calls:
            return tuple(self._one(delta, in_text=False))
        return tuple(self._in_text(delta))

    def _in_text(self, delta: Delta) -> Iterator[ChatPiece]:
        assert self._reader is not None, "it reads calls"
        for piece in self._reader.feed(delta):
            if not self.done:
                yield from self._one(piece, in_text=True)

    def _said(self, text: str, info: Mapping[str, Any]) -> Iterator[ChatPiece]:
        if (text or info) and (piece := self._piece(text, info, ())) != _EMPTY:
            yield piece

    def close(self) -> Iterator[ChatPiece]:
        """End the answer; yield what was held back."""
        for piece in self._reader.close() if self._reader is not None and not self.done else ():
            yield from self._one(piece, in_text=True)
        held = [ToolCallPiece(number, arguments=self._end_of(number)) for number in self._numbers.values()]
        if any(caster.changed for caster in self._casters.values()):
            self._changed.append("tool_calls: arguments cast to the types of the tool's schema")
        text, info = self._text.finish()
        last = self._piece(text, info, tuple(piece for piece in held if piece.arguments))
        yield last._replace(logprobs=last.logprobs + self._odds.close())

    def attach_partial(self, error: ChatGLMError) -> None:
        """Give an error the text that came before it."""
        self._text.attach_partial(error)

    def metadata(self) -> dict[str, Any]:
        """Return what LangChain calls ``response_metadata``, once the answer has ended."""
        changed = list(self._changed)
        if count := sum(in_text for in_text, _ in self._numbers):
            changed.append(f"tool_calls: {count} read from the answer's text, where the server left them")
        wish = self._choice if isinstance(self._choice, str) else forced_name(self._choice)
        called = [self._names.get(number, "") for number in self._numbers.values()]
        if wish not in (None, "auto", "none") and not called:
            changed.append(f"tool_choice: the model called no tool, though {wish} was asked for")
        elif wish in self._schemas and any(name != wish for name in called):
            changed.append(f"tool_choice: the model called another tool than {wish}")
        notes = {"changed": changed} if changed else {}
        return {"model_provider": "glm", **self._facts, **notes}

    def usage(self) -> UsageMetadata | None:
        """Return the token counts, once the answer has ended."""
        return usage_metadata(self._usage)

    def _one(self, delta: Delta, *, in_text: bool) -> Iterator[ChatPiece]:
        calls = tuple([self._call(piece, in_text) for piece in delta.tool_calls]) if delta.tool_calls else ()
        text, info = self._text.take(delta)
        if (text or info or calls) and (piece := self._piece(text, info, calls)) != _EMPTY:
            if piece.thought:  # what was read in it wasn't called
                self._numbers = {key: number for key, number in self._numbers.items() if not key[0]}
            if in_text and delta.tool_calls and self._reader is not None:
                blocks = self._reader.blocks
                block = "".join(blocks[call.number] for call in delta.tool_calls)
                piece = piece._replace(block=mask(block, self._secrets))
            yield piece

    def _piece(self, text: str, info: Mapping[str, Any], calls: tuple[ToolCallPiece, ...]) -> ChatPiece:
        """Return a piece of what is handed out at once; what is said once, at the end, is kept."""
        if not info:
            return ChatPiece(text, calls=calls)
        self._usage = info.get("usage") or self._usage  # several servers count on: the last one is the sum
        for name, known in (("model_name", "model"), ("finish_reason", "finish_reason")):
            if info.get(known):
                self._facts[name] = info[known]
        self._changed += [str(change) for change in info.get("changed", ())]
        reasoning, thought = info.get("reasoning", ""), bool(info.get("thought"))
        odds = tuple(info.get("logprobs", ()))
        return ChatPiece(text, reasoning, thought, calls, self._odds.feed(odds) if self._secrets else odds)

    def _call(self, piece: ToolCallPiece, in_text: bool) -> ToolCallPiece:
        """Return a piece of a call with its number among all calls, without secrets, and as its schema has it."""
        if (key := (in_text, piece.number)) not in self._numbers:
            self._numbers[key] = self._begun
            self._begun += 1
        number = self._numbers[key]
        name, text = piece.name, piece.arguments
        if name and not in_text:
            name = bound_name(name, self._schemas) or name
            if name != piece.name:
                self._changed.append(f"tool_calls: {sanitize_line(piece.name, 60)} read as {name}")
            if name in self._schemas:
                self._casters[number] = ArgumentCaster(self._schemas[name])
        if number in self._casters:
            text = self._casters[number].feed(text)
        self._names[number] = self._names.get(number) or name
        hidden = {"id": mask(piece.id, self._secrets), "name": mask(name, self._secrets)}
        return piece._replace(number=number, arguments=self._hide(number, text), **hidden)

    def _hide(self, number: int, text: str) -> str:
        """Return a piece of a call's arguments without secrets."""
        if not self._secrets:
            return text
        if number in self._held or "\\" in text:
            self._held.setdefault(number, []).append(text)
            return ""
        return self._filters.setdefault(number, SecretFilter(self._secrets)).feed(text)

    def _end_of(self, number: int) -> str:
        """Return what was held back of a call's arguments."""
        text = self._hide(number, self._casters[number].close()) if number in self._casters else ""
        text += self._filters[number].close() if number in self._filters else ""
        return text + mask_json("".join(self._held.get(number, ())), self._secrets)


class _OddsFilter:
    """Leaves out the tokens of secrets, which come one by one: those that may begin one wait for the next."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets
        self._held: list[TokenLogprobs] = []

    def feed(self, odds: Sequence[TokenLogprobs]) -> tuple[TokenLogprobs, ...]:
        """Take in the next tokens; return those that can be handed out."""
        self._held += odds
        text = "".join(one.taken.token for one in self._held)
        for secret in self._secrets:
            if secret in text:
                self._held.clear()
                return ()
        keep = max((tail_match(text, secret) for secret in self._secrets), default=0)
        free: list[TokenLogprobs] = []
        while self._held and len(text) - len(self._held[0].taken.token) >= keep:
            text = text[len(self._held[0].taken.token) :]
            free.append(self._held.pop(0))
        return tuple(free)

    def close(self) -> tuple[TokenLogprobs, ...]:
        """Return what was held back."""
        held, self._held = tuple(self._held), []
        return held


_EMPTY = ChatPiece()
_NOTHING_ELSE = Delta()[1:]


def to_chunk(piece: ChatPiece) -> ChatGenerationChunk:
    """Return a piece as LangChain has it."""
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
        response_metadata=_logprobs(piece.logprobs),
    )
    message._thought = piece.thought
    if piece.block:
        message._said = piece.text + piece.block
    return ChatGenerationChunk(message=message)


def _text_chunk(text: str) -> ChatGenerationChunk:
    """Return a chunk of text alone: copies of empty ones, since to make them takes five times as long."""
    chunk: GLMMessageChunk = GLMMessageChunk.__new__(GLMMessageChunk)
    own: dict[str, Any] = {"additional_kwargs": {}, "response_metadata": {}}
    own |= {"tool_calls": [], "invalid_tool_calls": [], "tool_call_chunks": []}
    put = object.__setattr__  # as pydantic's own copy does
    put(chunk, "__dict__", {**_NO_TEXT.__dict__, **own, "content": text})
    put(chunk, "__pydantic_extra__", {})
    put(chunk, "__pydantic_fields_set__", {"content"})
    put(chunk, "__pydantic_private__", {"_thought": False, "_said": None})
    made = ChatGenerationChunk.__new__(ChatGenerationChunk)
    put(made, "__dict__", {**_NOTHING_MADE.__dict__, "message": chunk, "text": text})
    put(made, "__pydantic_extra__", None)
    put(made, "__pydantic_fields_set__", {"message"})
    put(made, "__pydantic_private__", None)
    return made


_NO_TEXT = GLMMessageChunk(content="")
_NOTHING_MADE = ChatGenerationChunk(message=_NO_TEXT)


def last_chunk(builder: AnswerBuilder) -> ChatGenerationChunk:
    """Return the chunk that says that an answer has ended, with its facts."""
    message = GLMMessageChunk(
        content="",
        response_metadata=builder.metadata(),
        usage_metadata=builder.usage(),
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def to_message(pieces: Sequence[ChatPiece], builder: AnswerBuilder) -> AIMessage:
    """Return the message that all pieces of an ended answer make."""
    texts: list[str] = []
    said: list[str] = []
    thoughts: list[str] = []
    read: set[int] = set()
    calls: dict[int, list[str]] = {}
    odds: list[TokenLogprobs] = []
    for piece in pieces:
        if piece.thought:  # what came before was no text
            thoughts.append("".join(said))
            texts.clear()
            for number in read:
                del calls[number]
            read.clear()
            said.clear()
        texts.append(piece.text)
        said.append(piece.text + piece.block)
        read |= {call.number for call in piece.calls} if piece.block else set()
        thoughts.append(piece.reasoning)
        odds += piece.logprobs
        for call in piece.calls:
            parts = calls.setdefault(call.number, [call.id, "", ""])
            parts[1] = parts[1] or call.name
            parts[2] += call.arguments
    thinking = "".join(thoughts)
    metadata = builder.metadata()
    parsed = [(call_id, name, text) for call_id, name, text in calls.values()]
    valid, invalid = parsed_calls(parsed, metadata.get("finish_reason"))
    return AIMessage(
        content="".join(texts),
        additional_kwargs={"reasoning_content": thinking} if thinking else {},
        tool_calls=valid,
        invalid_tool_calls=invalid,
        response_metadata=metadata | _logprobs(odds),
        usage_metadata=builder.usage(),
    )


def _logprobs(odds: Sequence[TokenLogprobs]) -> dict[str, Any]:
    return {"logprobs": {"content": logprobs_as_openai(odds)}} if odds else {}
