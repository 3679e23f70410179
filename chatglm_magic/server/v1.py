"""Requests of `/v1/chat/completions`, checked: an allow-list of keys, each in a range the engine takes sanely.

The shape is OpenAI's, with llama.cpp's extras. Whatever is left out or changed is noted for the header
`X-ChatGLM-Changed`. Pure: no I/O.
"""

from __future__ import annotations

from . import limits
from .limits import BadField, Changes, Json
from .roles import neutralise

_ROLES = ("system", "user", "assistant", "tool", "developer", "observation")
_TOP_LOGPROBS = 65536  # entries in one whole answer, or in one event of a stream: some 5 MB of JSON
_KNOWN_TEXT = (
    "messages model stream stream_options temperature top_p top_k min_p presence_penalty frequency_penalty "
    "repetition_penalty repeat_penalty max_tokens max_completion_tokens stop seed n "
    "logprobs top_logprobs chat_template_kwargs reasoning_format user"
)
_KNOWN = frozenset(_KNOWN_TEXT.split())


def chat_request(body: object, n_ctx: int, changes: Changes) -> Json:
    """Return the request for the engine; without a seed one is *not* added. Raises BadField.

    `n_ctx` is the slot's context in tokens, and thereby the most that `max_tokens` can be.
    """
    if not isinstance(body, dict):
        raise BadField((), "Input should be a JSON object", body, "dict_type")
    for name in body.keys() - _KNOWN:
        changes.note(name, body[name], "dropped")
    sent: Json = {"messages": messages(body, changes), "stream": limits.flag(body, "stream")}
    sent["max_tokens"] = _max_tokens(body, n_ctx, changes)
    sent["temperature"] = limits.temperature(body, changes)
    sent["top_p"] = limits.top_p(body, changes)
    sent["top_k"] = 0 if body.get("top_k") == -1 else _clamped(body, "top_k", 0, 1_000_000, changes)
    sent["min_p"] = limits.between(body, "min_p", 0, 1, changes)
    for name in ("presence_penalty", "frequency_penalty"):
        sent[name] = limits.between(body, name, -2, 2, changes)
    repetition = "repeat_penalty" if body.get("repetition_penalty") is None else "repetition_penalty"
    sent["repeat_penalty"] = limits.between(body, repetition, 0.01, 10, changes)
    sent["seed"] = limits.seed(body, changes)
    sent["stop"] = limits.stop(body, changes)
    at_once = 1 if sent["stream"] else sent["max_tokens"] or n_ctx  # tokens that are held together
    sent |= _logprobs(body, at_once, changes)
    if limits.whole(body, "n") not in (None, 1):
        raise BadField(("n",), "Input should be 1: this server answers one at a time", body["n"], "n")
    sent |= _thinking(body)
    return {name: value for name, value in sent.items() if value is not None}


def wants_usage(body: Json) -> bool:
    """Tell whether a stream should end with its usage (`stream_options.include_usage`). Raises BadField."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise BadField(("stream_options",), "Input should be a JSON object", options, "dict_type")
    return limits.flag(options, "include_usage")


def messages(body: Json, changes: Changes) -> list[Json]:
    """Return the messages, role tokens in their text taken apart. Raises BadField."""
    listed = body.get("messages")
    if not isinstance(listed, list) or not listed:
        raise BadField(("messages",), "Input should be a list of at least one message", listed, "list_type")
    return [_message(item, ("messages", place), changes) for place, item in enumerate(listed)]


def clean(value: object, where: tuple[str | int, ...], changes: Changes) -> str:
    """Return text with its role tokens taken apart, noted if there were any. Raises BadField."""
    asked = limits.text(value, where)
    now = neutralise(asked)
    if now != asked:
        changes.note(BadField(where, "").name, "role tokens", "plain text")
    return now


def _message(item: object, where: tuple[str | int, ...], changes: Changes) -> Json:
    if not isinstance(item, dict):
        raise BadField(where, "Input should be a JSON object with role and content", item, "dict_type")
    role = item.get("role")
    if role not in _ROLES:  # a role goes into the chat's tokens, so no other word will do
        raise BadField((*where, "role"), f"Input should be one of {', '.join(_ROLES)}", role, "literal_error")
    if "content" not in item:
        raise BadField((*where, "content"), "Field required", None, "missing")
    content = item["content"]
    if isinstance(content, list):
        content = "".join(_part(part, (*where, "content", place)) for place, part in enumerate(content))
    return {"role": role, "content": clean(content if content is not None else "", (*where, "content"), changes)}


def _part(part: object, where: tuple[str | int, ...]) -> str:
    if isinstance(part, dict) and part.get("type") == "text":
        return limits.text(part.get("text"), (*where, "text"))
    raise BadField(where, "Input should be a text part: this model reads text only", None, "literal_error")


def _max_tokens(body: Json, n_ctx: int, changes: Changes) -> int | None:
    name = "max_completion_tokens" if body.get("max_tokens") is None else "max_tokens"
    if body.get(name) == -1:  # llama.cpp's word for "no limit"
        return None
    return _clamped(body, name, 1, n_ctx, changes)


def _clamped(body: Json, name: str, low: int, high: int, changes: Changes) -> int | None:
    asked = limits.whole(body, name)
    if asked is None:
        return None
    now = max(low, min(asked, high))
    if now != asked:
        changes.note(name, asked if abs(asked) < 10**30 else "huge", now)
    return now


def _logprobs(body: Json, tokens: int, changes: Changes) -> Json:
    wanted = limits.flag(body, "logprobs")
    most = max(20, _TOP_LOGPROBS // tokens)
    top = _clamped(body, "top_logprobs", 0, most, changes)
    if top and not wanted:
        raise BadField(("top_logprobs",), "Input needs logprobs: true beside it", top, "top_logprobs")
    if top == 0 and wanted:
        changes.note("top_logprobs", 0, 1)  # with none llama.cpp gives no probability at all
    return {"logprobs": True, "top_logprobs": top or 1} if wanted else {}


def _thinking(body: Json) -> Json:
    """Return the switches for thinking; only truth values, since they go into the template. Raises BadField."""
    sent: Json = {}
    if (switches := body.get("chat_template_kwargs")) is not None:
        if not isinstance(switches, dict) or not all(isinstance(on, bool) for on in switches.values()):
            where = ("chat_template_kwargs",)
            raise BadField(where, "Input should be a JSON object of true and false", None, "dict_type")
        sent["chat_template_kwargs"] = switches
    if (form := body.get("reasoning_format")) is not None:
        if form not in ("none", "auto", "deepseek"):
            raise BadField(("reasoning_format",), "Input should be none, auto or deepseek", form, "literal_error")
        sent["reasoning_format"] = form
    return sent
