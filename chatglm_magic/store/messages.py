"""Turns from a list of messages in OpenAI's form."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from .._version import __version__
from ..values import Turn
from .checking import Wrong

KEYS = {"role", "content", "name", "reasoning_content"}
EMPTY = {"refusal", "audio", "tool_calls", "function_call", "annotations"}
"""Keys that clients write without a value; with one, the message is none that a turn can hold."""


def turns_from(messages: list[Any]) -> list[Turn]:
    """Return the turns of a conversation: each user's message with the assistant's answer to it.

    A system message holds for the turns after it. A question without an answer becomes an incomplete turn.

    :raises Wrong: for a message that is not of this form, or not in its place.
    """
    turns: list[Turn] = []
    system: str | None = None
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    for number, message in enumerate(messages, 1):
        role, text = _read(message, number)
        if role == "user":
            turns.append(
                Turn(text, status="incomplete", error=UNANSWERED, system=system, created=now, version=__version__)
            )
        elif role == "assistant" and turns and turns[-1].error:
            thought = message.get("reasoning_content") or ""
            turns[-1] = replace(turns[-1], answer=text, reasoning=thought, status="complete", error=None)
        elif role == "assistant":
            raise Wrong(f"message {number} answers nothing: a user's message must come before it")
        else:
            system = text
    return turns


UNANSWERED = "the file has no answer"


def _read(message: Any, number: int) -> tuple[str, str]:
    """Return a message's role and text.

    :raises Wrong: if it is not of OpenAI's form.
    """
    if not isinstance(message, dict):
        raise Wrong(f'message {number} must be an object with "role" and "content"')
    for key, value in message.items():
        if key not in KEYS and not (key in EMPTY and not value):
            raise Wrong(f"there is no key {key!r} in a message of user and assistant (message {number})")
    role = message.get("role")
    if role not in ("system", "developer", "user", "assistant"):
        raise Wrong(
            f"message {number} has the role {role!r}: only system, developer, user and assistant can be imported"
        )
    if not isinstance(message.get("reasoning_content") or "", str):
        raise Wrong(f"reasoning_content of message {number} must be a text")
    return role, _content(message.get("content"), number)


def _content(content: Any, number: int) -> str:
    """Return a message's text; it may come in parts.

    :raises Wrong: if it is something else than text.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        right = all(isinstance(part, dict) and part.keys() == {"type", "text"} for part in content)
        if right and all(part["type"] == "text" and isinstance(part["text"], str) for part in content):
            return "".join(part["text"] for part in content)
    raise Wrong(f"message {number} must have a text as its content")
