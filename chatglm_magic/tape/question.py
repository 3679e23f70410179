"""What identifies a question on a tape: all that can change its answer, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..client.call import Call

DELIVERY = ("stream", "stream_options")
"""Keys of a body that say how an answer is delivered, not which."""


class Asked(NamedTuple):
    """A question with its key: 64 hex digits of SHA-256 over the request and the index of the sample."""

    key: str
    sample: int
    request: Mapping[str, Any]
    """``dialect`` and ``body``; ``stop`` too, where texts that the server is not told of end the answer."""


class Spoken(NamedTuple):
    """The words of a request, whichever its dialect."""

    system: str | None
    history: list[Any]
    prompt: str


def asked(call: Call) -> Asked:
    """Return what a tape knows of a call: neither its address nor its headers are part of it."""
    sent = json.loads(call.data)  # as it is sent: tuples are lists there
    body = {name: value for name, value in sent.items() if name not in DELIVERY}
    request: dict[str, Any] = {"dialect": call.dialect, "body": body}
    if call.dialect == "openai":  # the other protocol hands out whole answers, which are cut each time anew
        told = body.get("stop") or []
        unsent = [text for text in call.stop if text not in ([told] if isinstance(told, str) else told)]
        request |= {"stop": unsent} if unsent else {}
    return Asked(key_of(request, call.sample), call.sample, request)


def key_of(request: Mapping[str, Any], sample: int) -> str:
    """Return the key of a request and a sample: SHA-256 over their canonical JSON."""
    text = json.dumps({**request, "sample": sample}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def spoken(request: Mapping[str, Any]) -> Spoken:
    """Return a request's system text, the conversation before it, and its prompt."""
    body = request["body"]
    messages = body.get("messages")
    if not isinstance(messages, list):
        past = body.get("history")
        return Spoken(None, past if isinstance(past, list) else [], _text(body.get("prompt", "")))
    told = [message if isinstance(message, dict) else {"content": message} for message in messages]
    systems = [_text(message.get("content")) for message in told if message.get("role") == "system"]
    others = [message for message in told if message.get("role") != "system"]
    prompt = _text(others[-1].get("content")) if others else ""
    return Spoken("\n\n".join(systems) or None, others[:-1], prompt)


def parameters(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is in a body besides its words."""
    return {name: value for name, value in request["body"].items() if name not in WORDS}


WORDS = ("prompt", "history", "messages")


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
