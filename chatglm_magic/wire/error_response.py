"""What a server's error says: its kind, its words, and what to do next."""

from __future__ import annotations

import re
from typing import Any

from ..errors import ResponseError
from ..strictjson import strict_json
from . import body as bodies

TOO_LONG = re.compile(
    r"context.(length|size|window)|max_model_len|exceeds max length|no room for an answer|too long|\"1261\"",
    re.I,
)
COUNTS = (
    re.compile(r"request \((\d{1,12}) tokens\) exceeds the available context size \((\d{1,12})"),
    re.compile(r"input \((\d{1,12}) tokens\) is longer than the model's context length \((\d{1,12})"),
    re.compile(r"history take (\d{1,12}) tokens, which leaves no room for an answer within max_length (\d{1,12})"),
    re.compile(r"passed (\d{1,12}) input tokens.{0,90}context length is only (\d{1,12})"),
)
ROOM_FIRST = (
    re.compile(r"maximum context length is (\d{1,12}) tokens\. However, you requested (\d{1,12})"),
    re.compile(r"maximum context length of (\d{1,12}) tokens\. You requested a total of (\d{1,12})"),
)
SHORTEN = " Shorten the prompt, or start a new conversation: %chatglm_history --reset."
NO_MONEY = re.compile(r"\"code\": ?\"?1113\b|insufficient balance|余额不足", re.I)


def refusal(status: int, headers: dict[str, str], raw: bytes, url: str) -> ResponseError:
    """Return the error that an HTTP refusal is; its text is the server's own, made safe, then our advice.

    :param raw: the body's first bytes, whatever they are.
    :param url: where the question was posted, without userinfo.
    """
    text = raw.decode("utf-8", errors="replace")
    words = bodies.message_of(_json(text)) or text
    if "text/html" in headers.get("content-type", "") or words.lstrip()[:15].lower().startswith(
        ("<!doctype", "<html")
    ):
        words = bodies.page_title(words)
    said = bodies.shown(words, 500) or "(no text)"
    said += "" if said[-1] in ".!?…。！？" else "."
    kind, advice = _meaning(status, text, url)
    tokens = _counts(text) if kind == "too_long" else None
    if tokens:
        advice = f" That is {tokens[0] - tokens[1]} tokens too many.{advice}"
    error = ResponseError(f"The server answered {status}: {said}{advice}", kind=kind)
    error.status, error.retry_after, error.tokens = status, headers.get("retry-after"), tokens
    return error


def _json(text: str) -> Any:
    try:
        return strict_json(text)
    except (ValueError, RecursionError):
        return None


def _counts(text: str) -> tuple[int, int] | None:
    """Return (tokens asked for, tokens there is room for) where the server says so."""
    for pattern in COUNTS:
        found = pattern.search(text[:4096])
        if found:
            return int(found[1]), int(found[2])
    for pattern in ROOM_FIRST:
        found = pattern.search(text[:4096])
        if found:
            return int(found[2]), int(found[1])
    return None


def _meaning(status: int, text: str, url: str) -> tuple[str, str]:
    head = text[:4096]
    if status in (301, 302, 303, 307, 308):
        return "redirect", " It points elsewhere; set endpoint_url to the new address."
    if status in (401, 403):
        return "auth", " Set the key with %chatglm_config api_key, or the variable CHATGLM_API_KEY."
    if status in (404, 405):
        return _not_found(head, url)
    if NO_MONEY.search(head):
        return "no_money", " The account has no credit left: asking again will not help."
    if status == 413 or (status in (400, 422) and TOO_LONG.search(head)):
        return "too_long", SHORTEN
    if status == 429:
        return "rate_limit", " Wait a moment and ask again."
    if status == 503 and "oading" in head:
        return "loading", " Wait until it is loaded, then ask again."
    if status >= 500:
        return "server_error", " Ask again, or look at the server's log."
    return "bad_request", " See what is sent with %chatglm --dry-run PROMPT."


def _not_found(head: str, url: str) -> tuple[str, str]:
    if "model" in head.lower():
        return "not_found", " Choose a model the server has: %chatglm_config model=NAME."
    from . import dialect_of

    if dialect_of(url) == "openai":
        other = "a server with ChatGLM's own POST / has its address end in a plain /"
    else:
        other = "a server that speaks OpenAI's protocol has its address end in /v1"
    return "not_found", f" Nothing answers at {bodies.shown(url)}: {other} (%chatglm_config endpoint_url=...)."
