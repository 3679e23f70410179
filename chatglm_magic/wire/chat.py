"""Messages and response formats of chat models as each server accepts them, and choices as servers send them.

Sources: OpenAI's API reference (``messages``, ``response_format``) and the documentation of Z.ai and Ollama; the
chat templates of GLM-4.7 and later read ``reasoning_content`` of the messages after the last one of the user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import UnsupportedError
from ..values import Change, ChatOptions, Pair
from .thinking import SERVER_TITLES, Server

Message = dict[str, Any]

SERVERS_WITHOUT_REASONING_INPUT: tuple[Server, ...] = ("ollama",)
SERVERS_WITHOUT_NAMES: tuple[Server, ...] = ("zai",)
SERVERS_WITHOUT_SCHEMA: tuple[Server, ...] = ("zai",)
"""Servers that support JSON output, but no schema."""


def adapt_messages(
    messages: Sequence[Mapping[str, Any]], server: Server | None
) -> tuple[list[Message], tuple[Change, ...]]:
    """Return messages as a server accepts them, and what was changed.

    Thinking is included only within a tool loop: after the last user message.
    """
    last_user = max((index for index, message in enumerate(messages) if message["role"] == "user"), default=-1)
    adapted: list[Message] = []
    changes: list[Change] = []
    for index, message in enumerate(messages):
        copy = dict(message)
        if index < last_user or server in SERVERS_WITHOUT_REASONING_INPUT:
            copy.pop("reasoning_content", None)
        if server in SERVERS_WITHOUT_NAMES and copy.pop("name", None) is not None:
            changes.append(Change(f"name: not sent, {SERVER_TITLES[server]} takes no names of messages"))
        adapted.append(copy)
    systems = [message for message in adapted if message["role"] == "system"]
    if server == "zai" and last_user < 0 and systems:
        systems[-1]["role"] = "user"
        changes.append(Change("messages: the system's sent as the user's, Z.ai needs one"))
    return adapted, tuple(dict.fromkeys(changes))


def response_format_keys(
    chat: ChatOptions, messages: list[Message], server: Server | None
) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Return the keys that request an answer in JSON; a schema the server has no key for is put into a message.

    :param messages: the messages of the body; changed in place.
    """
    if not chat.as_json:
        return {}, ()
    if not chat.schema:
        return {"response_format": {"type": "json_object"}}, ()
    if server in SERVERS_WITHOUT_SCHEMA:
        add_system_text(messages, schema_prompt(chat.schema))
        note = f"response_format: the schema sent in the prompt, {SERVER_TITLES[server]} has json_object alone"
        return {"response_format": {"type": "json_object"}}, (Change(note),)
    named: dict[str, Any] = {"name": chat.schema_name, "schema": dict(chat.schema)}
    if chat.strict is not None:
        named["strict"] = chat.strict
    return {"response_format": {"type": "json_schema", "json_schema": named}}, ()


def schema_prompt(schema: Mapping[str, Any]) -> str:
    """Return the instruction to answer with an object that is valid against a schema."""
    text = json.dumps(schema, ensure_ascii=False)
    return f"Answer with one JSON object and nothing else. It must be valid against this JSON schema:\n{text}"


def add_system_text(messages: list[Message], text: str) -> None:
    """Append to the first message if it is the system's, or insert a new system message."""
    first = messages[0] if messages else {}
    if first.get("role") == "system" and isinstance(first.get("content"), str):
        messages[0] = first | {"content": f"{first['content']}\n\n{text}"}
    else:
        messages.insert(0, {"role": "system", "content": text})


def messages_to_prompt(
    messages: Sequence[Mapping[str, Any]], chat: ChatOptions
) -> tuple[str, tuple[Pair, ...], str | None]:
    """Return the prompt, the conversation before it and the system text, for a protocol without messages.

    :raises UnsupportedError: for tools, their results, and content that isn't text.
    """
    if chat.tools:
        raise UnsupportedError(f"ChatGLM's POST / can't call tools. {USE_V1_ADVICE}")
    systems: list[str] = []
    pairs: list[Pair] = []
    user_texts: list[str] = []
    for message in messages:
        role, content = message["role"], message.get("content")
        if message.get("tool_calls") or role == "tool":
            raise UnsupportedError(f"ChatGLM's POST / has no messages for tools. {USE_V1_ADVICE}")
        if not isinstance(content, str):
            raise UnsupportedError(f"ChatGLM's POST / accepts only text, no images. {USE_V1_ADVICE}")
        if role == "system":
            systems.append(content)
        elif role == "assistant":
            pairs.append(("\n\n".join(user_texts), content))
            user_texts = []
        else:
            user_texts.append(content)
    if chat.as_json:
        systems.append(
            schema_prompt(chat.schema) if chat.schema else "Answer with one JSON object and nothing else."
        )
    return "\n\n".join(user_texts), tuple(pairs), "\n\n".join(systems) or None


USE_V1_ADVICE = "Use the server's /v1 address: endpoint_url='http://…/v1'."


MAX_CONTENT_DEPTH = 8
"""How many levels of nested content parts are searched for text."""

TEXT_KEYS = ("content", "refusal", "reasoning_content", "reasoning", "reasoning_details")


def read_message(choice: dict[str, Any]) -> dict[str, Any]:
    """Return a choice's message, or a piece of it: the first of ``delta``, ``message``, ``text`` with text."""
    places = [choice.get("delta"), choice.get("message"), choice.get("text")]
    messages = [dict(item) if isinstance(item, dict) else {"content": item} for item in places if item]
    with_text = (
        item
        for item in messages
        if item.get("tool_calls") or any(join_texts(item.get(name)) for name in TEXT_KEYS)
    )
    return next(with_text, messages[0] if messages else {})


def join_texts(content: Any) -> str:
    return "".join(text for _, text in iter_parts(content))


def read_reasoning(message: dict[str, Any]) -> str:
    """Return the thinking in a message; a server may send it under two names at once."""
    for name in ("reasoning_content", "reasoning", "reasoning_details"):
        if text := join_texts(message.get(name)):
            return text
    return ""


def iter_parts(content: Any, depth: int = MAX_CONTENT_DEPTH) -> Iterator[tuple[str, str]]:
    """Yield each text of a message's content with its kind: ``text``, ``reasoning`` or ``refusal``."""
    if isinstance(content, str):
        if content:
            yield "text", content
        return
    if not depth:
        return
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            yield from iter_parts(part)
        elif isinstance(part, dict):
            yield from _iter_part(part, depth - 1)


def _iter_part(part: dict[str, Any], depth: int) -> Iterator[tuple[str, str]]:
    """Yield the thinking and the text of one part, which may have both."""
    is_reasoning = bool(re.search("think|reason", str(part.get("type"))))
    for names in (("thinking", "reasoning"), ("refusal",), ("text", "content", "summary", "value")):
        text = next(
            (joined for name in names if (joined := "".join(t for _, t in iter_parts(part.get(name), depth)))), ""
        )
        if text:
            yield "reasoning" if is_reasoning or names[0] == "thinking" else names[0], text


def plain_text(reply: dict[str, Any]) -> str | None:
    """Return the text of a chunk that contains only text, as most do; None for any other."""
    choices = reply.get("choices")
    choice: Any = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
    delta = choice.get("delta") if isinstance(choice, dict) else None
    if not isinstance(delta, dict) or reply.get("usage") or any(choice.get(name) for name in BESIDE_DELTA):
        return None
    text = delta.get("content")
    if not isinstance(text, str) or any(delta[name] for name in delta if name not in ("content", "role")):
        return None
    return text


BESIDE_DELTA = ("finish_reason", "logprobs", "message", "text")
"""Keys that a choice may have besides its delta."""


def is_chunk(reply: Any) -> bool:
    """Return whether an object is a chunk of a stream."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    return isinstance(choices, list) and any(isinstance(choice, dict) and "delta" in choice for choice in choices)


def choice_index(choice: dict[str, Any]) -> int:
    number = choice.get("index")
    return number if isinstance(number, int) else 0
