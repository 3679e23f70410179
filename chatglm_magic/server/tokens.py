"""Requests of llama.cpp's `/tokenize` and `/detokenize`, checked. Pure: no I/O."""

from __future__ import annotations

from typing import Any

from . import limits
from .limits import BadField, Json

_MOST = 1 << 20  # characters or tokens: about half a second of work


def token_request(body: object) -> Json:
    """Return the request for the engine's `/tokenize`. Raises BadField."""
    if not isinstance(body, dict):
        raise BadField((), "Input should be a JSON object", body, "dict_type")
    content = limits.text(body.get("content"), ("content",))
    if len(content) > _MOST:
        raise BadField(("content",), "Input should have at most 1048576 characters", None, "too_long")
    switches = [name for name in ("add_special", "parse_special", "with_pieces") if name in body]
    return {"content": content} | {name: limits.flag(body, name) for name in switches}


def detoken_request(body: object, n_vocab: int) -> Json:
    """Return the request for the engine's `/detokenize`; ids it doesn't have are refused. Raises BadField."""
    tokens: Any = body.get("tokens") if isinstance(body, dict) else None
    if not isinstance(tokens, list) or len(tokens) > _MOST:
        raise BadField(("tokens",), "Input should be a list of token ids", None, "list_type")
    for place, token in enumerate(tokens):
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < n_vocab:
            raise BadField(("tokens", place), f"Input should be a token id, 0 to {n_vocab - 1}", token, "int_type")
    return {"tokens": tokens}
