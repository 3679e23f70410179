"""Counting tokens with the server's tokenizer, one small POST each.

Sources: ``/tokenize`` of llama.cpp and vLLM, ``/v1/tokenize`` of SGLang, ``/tokenizer`` of Z.ai.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import ResponseError
from ..wire import openai
from .request import Request, encode_json
from .sync_client import SyncClient
from .timeouts import Timeouts

TOKENIZE_TIMEOUTS = Timeouts(connect=5.0, first_byte=30.0, idle=30.0, content=30.0, total=60.0)


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The number of tokens in a text, and their ids, if the server returns them."""

    count: int
    ids: tuple[int, ...] | None = None


def tokenizer_urls(request: Request) -> Iterator[str]:
    """Yield the URLs at which a request's server may count tokens."""
    parts = urlsplit(request.url)
    if request.dialect == "openai":
        base_url = openai.base_url(request.url)
        if openai.server_of(request.url) == "zai":
            yield f"{base_url}/tokenizer"
            return
        root = urlsplit(base_url).path.removesuffix("/v1")
        yield urlunsplit((parts.scheme, parts.netloc, f"{root}/tokenize", "", ""))
        yield f"{base_url}/tokenize"
    else:
        yield urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}/tokenize", "", ""))


def request_token_count(client: SyncClient, request: Request, url: str, text: str) -> TokenCount | None:
    """Ask the server for the number of tokens in a text; None if this URL can't count them."""
    model = {"model": request.body["model"]} if request.body.get("model") else {}
    if url.endswith("/tokenizer"):
        body: dict[str, Any] = {**model, "messages": [{"role": "user", "content": text}]}
    else:  # vLLM and SGLang read ``prompt``, llama.cpp ``content``; each ignores the other's key
        body = {**model, "prompt": text, "content": text, "add_special_tokens": False}
    try:
        response = client.request_json(
            replace(request, url=url, body=body, data=encode_json(body), timeouts=TOKENIZE_TIMEOUTS, retries=0)
        )
    except ResponseError as error:
        if error.kind in ("not_found", "bad_request"):
            return None
        raise
    return _parse_count(response)


def _parse_count(response: Any) -> TokenCount | None:
    if not isinstance(response, dict):
        return None
    tokens, usage = response.get("tokens"), response.get("usage")
    if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens):
        return TokenCount(len(tokens), tuple(tokens))
    count = response.get("count") or (usage.get("prompt_tokens") if isinstance(usage, dict) else None)
    return TokenCount(count) if type(count) is int and count >= 0 else None
