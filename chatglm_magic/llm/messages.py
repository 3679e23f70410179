"""LangChain's messages in OpenAI's form, and what an answer's facts are called in LangChain's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, FunctionMessage, ToolMessage
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

from ..errors import UnsupportedError
from ..values import TokenLogprobs, reasoning_tokens_in

ROLES = {"human": "user", "HumanMessageChunk": "user", "system": "system", "SystemMessageChunk": "system"}
REASONING = ("reasoning", "thinking")
CALLS = ("tool_use", "tool_call", "invalid_tool_call", "tool_call_chunk", "input_json_delta", "function_call")
"""Blocks of a content that repeat what stands in a message's ``tool_calls``."""


def to_wire(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return messages in OpenAI's form; the thinking of an answer is its ``reasoning_content``.

    :raises UnsupportedError: for content that GLM models can't take, by its name.
    """
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    wire: list[dict[str, Any]] = []
    for message in messages:
        if isinstance(message, AIMessage):
            wire.append(_assistant(message, answered))
        elif isinstance(message, ToolMessage):
            wire.append(
                {"role": "tool", "tool_call_id": message.tool_call_id, "content": _content(message.content)}
            )
        elif isinstance(message, FunctionMessage):
            wire.append({"role": "tool", "tool_call_id": message.name, "content": _content(message.content)})
        else:
            wire += _spoken(message)
    return wire


def _spoken(message: BaseMessage) -> list[dict[str, Any]]:
    """Return what a person or the system says; the results of tools within it are messages of their own."""
    role = message.role if isinstance(message, ChatMessage) else ROLES.get(message.type)
    if role is None:
        raise UnsupportedError(f"A message of type {message.type!r} can't be sent.")
    named = {"name": message.name} if message.name else {}
    if isinstance(message.content, str):
        return [{"role": role, "content": message.content, **named}]
    results = [part for part in message.content if isinstance(part, dict) and part.get("type") == "tool_result"]
    others = [part for part in message.content if part not in results]
    wire: list[dict[str, Any]] = [
        {
            "role": "tool",
            "tool_call_id": part.get("tool_use_id", ""),
            "content": _content(part.get("content") or ""),
        }
        for part in results
    ]
    return [*wire, *([{"role": role, "content": _content(others), **named}] if others or not results else [])]


def _assistant(message: AIMessage, answered: set[str]) -> dict[str, Any]:
    """Return what the model said. A call that it got wrong is sent if a result answers it, else as text."""
    text = _content([part for part in _parts(message.content) if part.get("type") not in (*REASONING, *CALLS)])
    calls = [
        (call["id"], call["name"], json.dumps(call["args"], ensure_ascii=False)) for call in message.tool_calls
    ]
    for invalid in message.invalid_tool_calls:
        raw = invalid["args"] or ""
        if invalid["id"] in answered:
            calls.append((invalid["id"], invalid["name"] or "", json.dumps({"invalid": raw}, ensure_ascii=False)))
        elif isinstance(text, str):
            text = f"{text}\n{raw}".strip()
    wire: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking := reasoning_of(message):
        wire["reasoning_content"] = thinking
    if calls:
        wire["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in calls
        ]
    if message.name:
        wire["name"] = message.name
    return wire


def reasoning_of(message: AIMessage) -> str:
    """Return the thinking that stands with an answer."""
    said = message.additional_kwargs.get("reasoning_content")
    if isinstance(said, str) and said:
        return said
    parts = [part for part in _parts(message.content) if part.get("type") in REASONING]
    return "".join(str(part.get("reasoning") or part.get("thinking") or "") for part in parts)


def _parts(content: str | Sequence[str | Mapping[str, Any]]) -> list[dict[str, Any]]:
    listed = [content] if isinstance(content, str) else content
    return [{"type": "text", "text": part} if isinstance(part, str) else dict(part) for part in listed if part]


def _content(content: Any) -> str | list[dict[str, Any]]:
    """Return a content as text, or in parts if there are images in it."""
    if isinstance(content, str):
        return content
    parts = [_part(part) for part in _parts(content)]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text", "text-plain") and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if kind == "image_url":
        image = part.get("image_url")
        image = {"url": image} if isinstance(image, str) else dict(image or {})
        return {"type": "image_url", "image_url": image}
    if kind == "image" and (url := _image(part)):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "json":
        return {"type": "text", "text": json.dumps(part.get("json"), ensure_ascii=False)}
    raise UnsupportedError(
        f"A content block of type {str(kind)!r} can't be sent: GLM models take text and images."
    )


def _image(part: Mapping[str, Any]) -> str | None:
    """Return the URL of an image block: LangChain's standard one, the one before it, or Anthropic's."""
    source = part.get("source") if isinstance(part.get("source"), Mapping) else part
    assert source is not None
    if isinstance(url := source.get("url"), str):
        return url
    data = source.get("base64") or source.get("data")
    kind = source.get("mime_type") or source.get("media_type") or "image/png"
    return f"data:{kind};base64,{data}" if isinstance(data, str) else None


def usage_metadata(usage: Mapping[str, Any]) -> UsageMetadata | None:
    """Return a server's token counts as LangChain has them; None where it sent none.

    ``input_token_details.cache_read`` are OpenAI's ``prompt_tokens_details.cached_tokens``,
    ``output_token_details.reasoning`` the tokens of thinking.
    """
    asked, answered = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    if asked is None and answered is None:
        return None
    total = _count(usage.get("total_tokens"))
    found = UsageMetadata(
        input_tokens=asked or 0,
        output_tokens=answered or 0,
        total_tokens=(asked or 0) + (answered or 0) if total is None else total,
    )
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    if cached is not None:
        found["input_token_details"] = InputTokenDetails(cache_read=cached)
    if (thinking := reasoning_tokens_in(usage)) is not None:
        found["output_token_details"] = OutputTokenDetails(reasoning=thinking)
    return found


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def logprobs_as_openai(odds: Sequence[TokenLogprobs]) -> list[dict[str, Any]]:
    """Return the odds of tokens in the form of OpenAI's ``logprobs.content``."""
    return [
        {
            "token": taken.token,
            "logprob": taken.logprob,
            "bytes": list(taken.data),
            "top_logprobs": [
                {"token": other.token, "logprob": other.logprob, "bytes": list(other.data)} for other in top
            ],
        }
        for taken, top in odds
    ]
