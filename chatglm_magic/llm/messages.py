"""Conversion between LangChain's and OpenAI's messages, and the chunk class of streamed answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    BaseMessageChunk,
    ChatMessage,
    FunctionMessage,
    InvalidToolCall,
    ToolCall,
    ToolMessage,
)
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.content import ContentBlock
from pydantic import PrivateAttr, model_validator

from ..errors import UnsupportedError
from ..strictjson import strict_json
from ..values import CONTEXT_FULL, TokenLogprobs, reasoning_tokens_in

ROLES = {"human": "user", "HumanMessageChunk": "user", "system": "system", "SystemMessageChunk": "system"}
REASONING_TYPES = ("reasoning", "thinking")
CALL_TYPES = ("tool_use", "tool_call", "invalid_tool_call", "tool_call_chunk", "input_json_delta", "function_call")
"""Types of content blocks that repeat a message's ``tool_calls``."""


def to_openai_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Convert messages to OpenAI's form, with an answer's thinking as ``reasoning_content``.

    :raises UnsupportedError: for content that GLM models don't support.
    """
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    converted: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, AIMessage):
            converted.append(_convert_answer(message, answered))
        elif isinstance(message, ToolMessage):
            converted.append(
                {
                    "role": "tool",
                    "tool_call_id": message.tool_call_id,
                    "content": _convert_content(message.content),
                }
            )
        elif isinstance(message, FunctionMessage):
            converted.append(
                {"role": "tool", "tool_call_id": message.name, "content": _convert_content(message.content)}
            )
        else:
            converted += _convert_other(message)
    return converted


def _convert_other(message: BaseMessage) -> list[dict[str, Any]]:
    """Convert a user's or system message; tool results in its content become separate messages."""
    role = message.role if isinstance(message, ChatMessage) else ROLES.get(message.type)
    if role is None:
        raise UnsupportedError(f"A message of type {message.type!r} can't be sent.")
    named = {"name": message.name} if message.name else {}
    if isinstance(message.content, str):
        return [{"role": role, "content": message.content, **named}]
    results = [part for part in message.content if isinstance(part, dict) and part.get("type") == "tool_result"]
    others = [part for part in message.content if part not in results]
    converted: list[dict[str, Any]] = [
        {
            "role": "tool",
            "tool_call_id": part.get("tool_use_id", ""),
            "content": _convert_content(part.get("content") or ""),
        }
        for part in results
    ]
    return [
        *converted,
        *([{"role": role, "content": _convert_content(others), **named}] if others or not results else []),
    ]


def _convert_answer(message: AIMessage, answered: set[str]) -> dict[str, Any]:
    """Convert an answer. An invalid call is sent as a call if it has a result, else as text."""
    text = _convert_content(
        [
            part
            for part in _split_content(message.content)
            if part.get("type") not in (*REASONING_TYPES, *CALL_TYPES)
        ]
    )
    calls = [
        (call["id"], call["name"], json.dumps(call["args"], ensure_ascii=False)) for call in message.tool_calls
    ]
    for invalid in message.invalid_tool_calls:
        raw = invalid["args"] or ""
        if invalid["id"] in answered:
            calls.append((invalid["id"], invalid["name"] or "", json.dumps({"invalid": raw}, ensure_ascii=False)))
        elif isinstance(text, str):
            text = f"{text}\n{raw}".strip()
    converted: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking := reasoning_of(message):
        converted["reasoning_content"] = thinking
    if calls:
        converted["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in calls
        ]
    if message.name:
        converted["name"] = message.name
    return converted


def reasoning_of(message: AIMessage) -> str:
    """Return the thinking of an answer."""
    reasoning = message.additional_kwargs.get("reasoning_content")
    if isinstance(reasoning, str) and reasoning:
        return reasoning
    parts = [part for part in _split_content(message.content) if part.get("type") in REASONING_TYPES]
    return "".join(str(part.get("reasoning") or part.get("thinking") or "") for part in parts)


def _split_content(content: str | Sequence[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
    parts = [content] if isinstance(content, str) else content
    return [{"type": "text", "text": part} if isinstance(part, str) else dict(part) for part in parts if part]


def _convert_content(content: Any) -> str | list[dict[str, Any]]:
    """Convert a content to text, or to parts if it has images."""
    if isinstance(content, str):
        return content
    parts = [_convert_part(part) for part in _split_content(content)]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _convert_part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text", "text-plain") and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "image_url":
        image = part.get("image_url")
        image = {"url": image} if isinstance(image, str) else dict(image or {})
        return {"type": "image_url", "image_url": image}
    if kind == "image" and (url := _image_url(part)):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "json":
        return {"type": "text", "text": json.dumps(part.get("json"), ensure_ascii=False)}
    raise UnsupportedError(
        f"A content block of type {str(kind)!r} can't be sent: GLM models take text and images."
    )


def _image_url(part: Mapping[str, Any]) -> str | None:
    """Return the URL of an image block in LangChain's current or earlier form, or Anthropic's."""
    source = part.get("source") if isinstance(part.get("source"), Mapping) else part
    assert source is not None
    if isinstance(url := source.get("url"), str):
        return url
    data = source.get("base64") or source.get("data")
    kind = source.get("mime_type") or source.get("media_type") or "image/png"
    return f"data:{kind};base64,{data}" if isinstance(data, str) else None


def usage_metadata(usage: Mapping[str, Any]) -> UsageMetadata | None:
    """Convert a server's token counts to LangChain's form; return None if it sent none.

    ``input_token_details.cache_read`` is OpenAI's ``prompt_tokens_details.cached_tokens``,
    ``output_token_details.reasoning`` the number of thinking tokens.
    """
    prompt, completion = (_valid_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    if prompt is None and completion is None:
        return None
    total = _valid_count(usage.get("total_tokens"))
    metadata = UsageMetadata(
        input_tokens=prompt or 0,
        output_tokens=completion or 0,
        total_tokens=(prompt or 0) + (completion or 0) if total is None else total,
    )
    details = usage.get("prompt_tokens_details")
    cached = _valid_count(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    if cached is not None:
        metadata["input_token_details"] = InputTokenDetails(cache_read=cached)
    if (thinking := reasoning_tokens_in(usage)) is not None:
        metadata["output_token_details"] = OutputTokenDetails(reasoning=thinking)
    return metadata


def _valid_count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def to_openai_logprobs(logprobs: Sequence[TokenLogprobs]) -> list[dict[str, Any]]:
    """Convert log probabilities to the form of OpenAI's ``logprobs.content``."""
    return [
        {
            "token": taken.token,
            "logprob": taken.logprob,
            "bytes": list(taken.data),
            "top_logprobs": [
                {"token": other.token, "logprob": other.logprob, "bytes": list(other.data)} for other in top
            ],
        }
        for taken, top in logprobs
    ]


class _AsMessage:
    """The class that LangChain uses to convert a chunk to a message: the one after the chunk's in its MRO."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return AIMessage(**kwargs) if cls is _AsMessage else super().__new__(cls)


class GLMMessageChunk(_AsMessage, AIMessageChunk):
    """A chunk of an answer. The sum of all chunks is the message that ``invoke`` returns.

    LangChain's class closes what is open in tool arguments that were cut off, and takes them for complete; here
    they are invalid calls with their text. Text that turns out to be thinking is moved to the reasoning.
    """

    _thought: bool = PrivateAttr(default=False)
    """Whether all text before this chunk was thinking."""
    _raw_text: str | None = PrivateAttr(default=None)
    """The text including the calls that were parsed from it; None if it is the content."""

    @classmethod
    def lc_id(cls) -> list[str]:
        return AIMessageChunk.lc_id()

    @property
    def content_blocks(self) -> list[ContentBlock]:
        """LangChain's standard blocks, with call indices that differ from those of text and thinking."""
        blocks: Any = super().content_blocks
        for block in blocks:
            if block["type"] == "tool_call_chunk" and isinstance(block.get("index"), int):
                block["index"] = f"lc_call_{block['index']}"
        return blocks  # type: ignore[no-any-return]

    @model_validator(mode="after")
    def init_tool_calls(self) -> GLMMessageChunk:
        """Parse the tool calls; once the last chunk has come, those with incomplete arguments are invalid."""
        super().init_tool_calls()  # type: ignore[operator]
        if self.chunk_position == "last" and self.tool_call_chunks:
            calls = [(call["id"] or "", call["name"] or "", call["args"] or "") for call in self.tool_call_chunks]
            reason = self.response_metadata.get("finish_reason")
            self.__dict__["tool_calls"], self.__dict__["invalid_tool_calls"] = parse_calls(calls, reason)
            if isinstance(self.content, list):
                invalid: dict[Any, Any] = {call["id"]: call for call in self.invalid_tool_calls}
                self.__dict__["content"] = [
                    {**invalid[part["id"]]} if isinstance(part, dict) and part.get("id") in invalid else part
                    for part in self.content
                ]
        return self

    def __add__(self, other: Any) -> BaseMessageChunk:  # type: ignore[override]
        others = list(other) if isinstance(other, list | tuple) else [other]
        index = max((n for n, chunk in enumerate(others) if _private(chunk, "_thought")), default=None)
        if index is not None:
            before: Any = self + others[:index] if index else self
            last = others[index].model_copy()
            last._thought = False
            rest: Any = [last, *others[index + 1 :]]
            total: BaseMessageChunk = before._as_thinking() + rest
            return total
        added: BaseMessageChunk = super().__add__(other)
        parts = [self, *others]
        if isinstance(added, GLMMessageChunk) and any(_private(part, "_raw_text") is not None for part in parts):
            texts = [part.text if _private(part, "_raw_text") is None else part._raw_text for part in parts]
            added._raw_text = "".join(texts)
        return added

    def _as_thinking(self) -> GLMMessageChunk:
        """Return the chunk with its text as thinking, and without the calls that were parsed from it."""
        text = self.text if self._raw_text is None else self._raw_text
        if isinstance(self.content, list):  # LangChain's output version v1
            thinking = "".join(part.get("reasoning", "") for part in self.content if isinstance(part, dict)) + text
            update: dict[str, Any] = {
                "content": [{"type": "reasoning", "reasoning": thinking, "index": "lc_thought"}]
            }
        else:
            thinking = self.additional_kwargs.get("reasoning_content", "") + text
            kwargs = self.additional_kwargs | ({"reasoning_content": thinking} if thinking else {})
            update = {"content": "", "additional_kwargs": kwargs}
        no_calls: dict[str, Any] = {"tool_call_chunks": [], "tool_calls": [], "invalid_tool_calls": []}
        copied = self.model_copy(update=update | (no_calls if self._raw_text is not None else {}))
        copied._raw_text = None
        return copied


def _private(chunk: Any, name: str) -> Any:
    """Return a private attribute of a chunk without pydantic's slow lookup; None if it has none."""
    return (chunk.__pydantic_private__ or {}).get(name) if isinstance(chunk, GLMMessageChunk) else None


def parse_calls(
    calls: Sequence[tuple[str, str, str]], reason: str | None
) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    """Return valid and invalid calls.

    :param calls: each with its id, its name and its arguments as text.
    :param reason: the finish reason; if the answer was cut off, its last call may lack its arguments.
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
"""Finish reasons of an incomplete answer."""
