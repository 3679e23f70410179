"""Conversations in the files of other programs, as OpenAI's messages.

Supported are training files of ChatGLM3 (``conversations`` with roles) and ChatGLM-6B (``prompt``, ``response``,
``history``), ShareGPT's (``conversations`` with ``from`` and ``value``) and ChatGPT's export (``mapping``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Messages = list[dict[str, Any]]

ROLES_BY_SPEAKER = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
}
ACCEPTED_FORMATS = (
    "supported are turns as --export writes them, OpenAI's messages, ChatGLM3's conversations, ChatGLM-6B's "
    "prompt, response and history, ShareGPT's conversations, and ChatGPT's export"
)


def extract_messages(data: Mapping[str, Any]) -> Any:
    """Return the messages in another program's object; None if its format is unknown."""
    if data.keys() == {"messages"}:
        return data["messages"]
    if isinstance(data.get("conversations"), list):
        return [_from_sharegpt(item) for item in data["conversations"]]
    if isinstance(data.get("mapping"), dict):
        return _from_mapping(data["mapping"], data.get("current_node"))
    if {"prompt", "response"} <= data.keys() and isinstance(data.get("history") or [], list):
        return _from_pairs(data)
    return None


def _from_sharegpt(item: Any) -> Any:
    """Convert a message from ShareGPT's format to OpenAI's; return any other one unchanged."""
    if isinstance(item, dict) and "from" in item and "value" in item:
        speaker = item["from"]
        role = ROLES_BY_SPEAKER.get(speaker.lower(), speaker) if isinstance(speaker, str) else speaker
        return {"role": role, "content": item["value"]}
    return item


def _from_pairs(data: Mapping[str, Any]) -> Messages:
    messages: Messages = []
    for pair in [*(data.get("history") or []), [data["prompt"], data["response"]]]:
        prompt, answer = pair if isinstance(pair, list | tuple) and len(pair) == 2 else (pair, None)
        messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return messages


def _from_mapping(mapping: Mapping[str, Any], current: Any) -> Messages:
    """Return the messages on the path to the current node, without those of tools and hidden ones."""
    if not isinstance(current, str) or current not in mapping:
        current = next((name for name, node in mapping.items() if not _as_node(node).get("children")), None)
    messages: Messages = []
    seen: set[Any] = set()
    while isinstance(current, str) and current in mapping and current not in seen:
        seen.add(current)
        node = _as_node(mapping[current])
        message = node.get("message")
        if isinstance(message, dict) and (converted := _node_message(message)):
            messages.append(converted)
        current = node.get("parent")
    return _join_neighbours(messages[::-1])


def _as_node(node: Any) -> dict[str, Any]:
    return node if isinstance(node, dict) else {}


def _node_message(message: dict[str, Any]) -> dict[str, Any] | None:
    author, content = message.get("author"), message.get("content")
    role = author.get("role") if isinstance(author, dict) else None
    parts = content.get("parts") if isinstance(content, dict) else None
    texts = (
        [part.get("text") if isinstance(part, dict) else part for part in parts] if isinstance(parts, list) else []
    )
    text = "\n".join(part for part in texts if isinstance(part, str))
    if role not in ("user", "assistant", "system") or not text.strip():
        return None
    return {"role": role, "content": text}


def _join_neighbours(messages: Messages) -> Messages:
    """Join consecutive messages of one role: an answer that called a tool comes in several parts."""
    joined: Messages = []
    for message in messages:
        if joined and joined[-1]["role"] == message["role"] != "system":
            joined[-1] = {**message, "content": f"{joined[-1]['content']}\n\n{message['content']}"}
        else:
            joined.append(message)
    while joined and joined[0]["role"] == "assistant":  # a greeting answers no prompt
        joined.pop(0)
    return joined
