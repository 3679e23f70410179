"""Counting tokens where the text will go: the servers' own tokenizers, one small POST each.

Sources: ``/tokenize`` of llama.cpp and vLLM, ``/v1/tokenize`` of SGLang, ``/tokenizer`` of Z.ai.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import ResponseError
from ..wire import openai
from .request import Call, encoded
from .sync_client import SyncClient
from .timeouts import Limits

LIMITS = Limits(connect=5.0, first_byte=30.0, idle=30.0, content=30.0, total=60.0)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many tokens a text is, and which, if the server says so."""

    count: int
    ids: tuple[int, ...] | None = None


def addresses(call: Call) -> Iterator[str]:
    """Yield where a server may count tokens, given a question to it."""
    parts = urlsplit(call.url)
    if call.dialect == "openai":
        base_url = openai.base_url(call.url)
        if openai.server_of(call.url) == "zai":
            yield f"{base_url}/tokenizer"
            return
        root = urlsplit(base_url).path.removesuffix("/v1")
        yield urlunsplit((parts.scheme, parts.netloc, f"{root}/tokenize", "", ""))
        yield f"{base_url}/tokenize"
    else:
        yield urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/tokenize", "", ""))


def counted(client: SyncClient, call: Call, url: str, text: str) -> Counted | None:
    """Ask one address how many tokens a text is; None where nothing there can tell."""
    model = {"model": call.body["model"]} if call.body.get("model") else {}
    if url.endswith("/tokenizer"):
        body: dict[str, Any] = {**model, "messages": [{"role": "user", "content": text}]}
    else:  # vLLM and SGLang read ``prompt``, llama.cpp ``content``; each ignores the other's key
        body = {**model, "prompt": text, "content": text, "add_special_tokens": False}
    try:
        reply = client.ask_json(replace(call, url=url, body=body, data=encoded(body), limits=LIMITS, retries=0))
    except ResponseError as error:
        if error.kind in ("not_found", "bad_request"):
            return None
        raise
    return _read(reply)


def _read(reply: Any) -> Counted | None:
    if not isinstance(reply, dict):
        return None
    tokens, usage = reply.get("tokens"), reply.get("usage")
    if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens):
        return Counted(len(tokens), tuple(tokens))
    count = reply.get("count") or (usage.get("prompt_tokens") if isinstance(usage, dict) else None)
    return Counted(count) if type(count) is int and count >= 0 else None
