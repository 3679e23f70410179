"""Requests of ``/v1``, checked and with special tokens escaped, and their streamed events.

Every function with a request's ``body`` raises :class:`BadField` for an invalid value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from . import tools, validation
from .validation import BadField, Changes, Json

# Any `<|name|>`, and the tokens of the GLM family in other forms. Every alternative matches only the opening of
# a token and looks ahead for the rest, so that overlapping ones (`<|<|user|>`) are all found. No token contains
# a space, so the result contains no token and a second pass changes nothing.
_OPENINGS = re.compile(
    r"<(?=\|[^\s<>]{1,64}\|>)"
    r"|<(?=/?(?:s|sop|eop|eos|bos|pad|unk|think|tool_call|tool_response|arg_key|arg_value)>)"
    r"|<(?=(?:start|end)_of_(?:turn|image)>)"
    r"|\[(?=/?(?:gMASK|sMASK|MASK|INST|SYS|TOOL_CALLS|AVAILABLE_TOOLS)\])"
    r"|<(?=[｜︱][^\s<>]{1,64}[｜︱]>)"
)


def escape_special_tokens(text: str) -> str:
    """Return ``text`` with a space after the opening bracket of each possible special token."""
    return _OPENINGS.sub(lambda match: match[0] + " ", text)


_MAX_TOKENIZE_ITEMS = 1 << 20  # characters or tokens: about half a second of work


def tokenize_request(body: object) -> Json:
    """Return the request for the engine's ``/tokenize``."""
    if not isinstance(body, dict):
        raise BadField((), "Input should be a JSON object", body, "dict_type")
    content = validation.check_text(body.get("content"), ("content",))
    if len(content) > _MAX_TOKENIZE_ITEMS:
        raise BadField(("content",), "Input should have at most 1048576 characters", None, "too_long")
    switches = [name for name in ("add_special", "parse_special", "with_pieces") if name in body]
    return {"content": content} | {name: validation.read_bool(body, name) for name in switches}


def detokenize_request(body: object, n_vocab: int) -> Json:
    """Return the request for the engine's ``/detokenize``, whose vocabulary has ``n_vocab`` tokens."""
    tokens: Any = body.get("tokens") if isinstance(body, dict) else None
    if not isinstance(tokens, list) or len(tokens) > _MAX_TOKENIZE_ITEMS:
        raise BadField(("tokens",), "Input should be a list of token ids", None, "list_type")
    for index, token in enumerate(tokens):
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < n_vocab:
            raise BadField(("tokens", index), f"Input should be a token id, 0 to {n_vocab - 1}", token, "int_type")
    return {"tokens": tokens}


class EventParser:
    """An incremental parser of server-sent events with JSON."""

    def __init__(self) -> None:
        self._rest = b""
        self.done = False
        """Whether ``[DONE]`` was received."""

    def feed(self, data: bytes) -> Iterator[Json]:
        """Yield the events that ``data`` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            kind, _, value = line.partition(b":")
            value = value.strip()
            if value == b"[DONE]":
                self.done = True
            elif kind == b"data":
                yield json.loads(value)
            elif kind == b"error":
                yield {"error": json.loads(value)}


class AnswerCollector:
    """Collects a streamed answer into the response that llama.cpp gives without streaming."""

    def __init__(self) -> None:
        self._head: Json = {}
        self._texts: dict[str, list[str]] = {"content": [], "reasoning_content": []}
        self._logprobs: list[Json] | None = None
        self._calls: dict[int, Json] = {}
        self._finish: str | None = None

    def add(self, event: Json) -> None:
        """Add one event of the stream."""
        for name, value in event.items():
            if name != "choices":
                self._head[name] = value
        for choice in event.get("choices", ()):
            for name, pieces in self._texts.items():
                pieces.append(choice.get("delta", {}).get(name) or "")
            for piece in choice.get("delta", {}).get("tool_calls") or ():
                self._add_call(piece)
            if choice.get("logprobs"):
                self._logprobs = (self._logprobs or []) + choice["logprobs"].get("content", [])
            self._finish = choice.get("finish_reason") or self._finish

    def _add_call(self, piece: Json) -> None:
        function = piece.get("function") or {}
        call = self._calls.setdefault(
            piece.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        call["id"] = call["id"] or piece.get("id") or ""
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""

    @property
    def text(self) -> str:
        """The answer's text."""
        return "".join(self._texts["content"])

    def reply(self) -> Json:
        """Return the body of ``/v1/chat/completions`` without ``stream``."""
        message: Json = {"role": "assistant", "content": self.text}
        if reasoning := "".join(self._texts["reasoning_content"]):
            message["reasoning_content"] = reasoning
        if self._calls:
            message |= {"content": self.text or None, "tool_calls": list(self._calls.values())}
        choice: Json = {"finish_reason": self._finish, "index": 0, "message": message}
        if self._logprobs is not None:
            choice["logprobs"] = {"content": self._logprobs}
        return {"choices": [choice], **self._head, "object": "chat.completion"}


_ROLES = ("system", "user", "assistant", "tool", "developer", "observation")
_MAX_LOGPROB_ENTRIES = 65536  # in a complete answer, or in one event of a stream: about 5 MB of JSON
_KNOWN_FIELDS_TEXT = (
    "messages model stream stream_options temperature top_p top_k min_p presence_penalty frequency_penalty "
    "repetition_penalty repeat_penalty max_tokens max_completion_tokens stop seed n "
    "logprobs top_logprobs chat_template_kwargs reasoning_format user response_format logit_bias "
    "tools tool_choice parallel_tool_calls"
)
_KNOWN_FIELDS = frozenset(_KNOWN_FIELDS_TEXT.split())


def _response_format(body: Json, *, is_builtin: bool) -> Json:
    """Return the engine's constraint on the answer: none, any JSON, or a schema."""
    form, where = body.get("response_format"), ("response_format",)
    kind = form.get("type") if isinstance(form, dict) else None
    if form is None or kind == "text":
        return {}
    if kind == "json_object":
        schema = form.get("schema")
    elif kind == "json_schema":
        named = form.get("json_schema")
        schema = named.get("schema") if isinstance(named, dict) else None
        if schema is None:
            raise BadField((*where, "json_schema", "schema"), "Field required", None, "missing")
    else:
        raise BadField(where, "Input should be of type text, json_object or json_schema", form, "enum")
    if schema is None:
        return {"response_format": {"type": "json_object"}}
    tools.check_schema(schema, where)
    return _schema_constraint(schema, is_builtin=is_builtin)


def _schema_constraint(schema: Json, *, is_builtin: bool) -> Json:
    """Return the constraint that makes the engine's answer match a schema."""
    if is_builtin and (grammar := tools.short_grammar(schema)) is not None:
        return {"grammar": grammar}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


def _logit_bias(body: Json) -> Json:
    """Return the bias of the logits of tokens by their ids, -100 to 100."""
    bias = body.get("logit_bias")
    if not bias:
        return {}
    if not isinstance(bias, dict) or len(bias) > 1024:
        raise BadField(("logit_bias",), "Input should be an object of at most 1024 tokens", None, "dict_type")
    for token in bias:
        value = validation.read_float(bias, token)
        if not re.fullmatch(r"[0-9]{1,9}", token) or value is None or abs(value) > 100:
            message = "Input should have token numbers, each with a number from -100 to 100"
            raise BadField(("logit_bias",), message, token, "logit_bias")
    return {"logit_bias": bias}


def chat_request(
    body: object, n_ctx: int, changes: Changes, *, is_builtin: bool = False
) -> tuple[Json, str | None]:
    """Return the request for the engine, and the tool to call: empty for any one, None for no forced call.

    :param n_ctx: the context in tokens, and thereby the maximum of ``max_tokens``.
    :param is_builtin: whether the engine serves the built-in model.
    """
    if not isinstance(body, dict):
        raise BadField((), "Input should be a JSON object", body, "dict_type")
    offered, wanted = tools.parse_tools(body)
    for name in body.keys() - _KNOWN_FIELDS:
        changes.note(name, body[name], "dropped")
    sent: Json = {"messages": chat_messages(body, changes), "stream": validation.read_bool(body, "stream")}
    sent["max_tokens"] = _max_tokens(body, n_ctx, changes)
    sent["temperature"] = validation.read_temperature(body, changes)
    sent["top_p"] = validation.read_top_p(body, changes)
    sent["top_k"] = 0 if body.get("top_k") == -1 else _clamped_int(body, "top_k", 0, 1_000_000, changes)
    sent["min_p"] = validation.read_in_range(body, "min_p", 0, 1, changes)
    for name in ("presence_penalty", "frequency_penalty"):
        sent[name] = validation.read_in_range(body, name, -2, 2, changes)
    repetition = "repeat_penalty" if body.get("repetition_penalty") is None else "repetition_penalty"
    sent["repeat_penalty"] = validation.read_in_range(body, repetition, 0.01, 10, changes)
    sent["seed"] = validation.read_seed(body, changes)
    sent["stop"] = validation.read_stop(body, changes)
    buffered_tokens = 1 if sent["stream"] else sent["max_tokens"] or n_ctx
    sent |= _logprobs(body, buffered_tokens, changes)
    if validation.read_int(body, "n") not in (None, 1):
        raise BadField(("n",), "Input should be 1: this server answers one at a time", body["n"], "n")
    sent |= _thinking(body) | _response_format(body, is_builtin=is_builtin) | _logit_bias(body)
    if offered:
        sent["tools"] = [_escape_tool(tool, changes) for tool in offered]
    called: str | None = None
    if wanted is not None:
        schema, called = tools.call_schema(offered, wanted)
        sent.pop("response_format", None)
        sent |= _schema_constraint(schema, is_builtin=is_builtin)
        sent["tool_choice"] = "none"  # the schema forces it
        for name in ("stop", "logprobs", "top_logprobs"):  # they apply to text, and a call has none
            if sent.pop(name, None) is not None:
                changes.note(name, body.get(name), "dropped")
    return {name: value for name, value in sent.items() if value is not None}, called


def _escape_tool(tool: Json, changes: Changes) -> Json:
    """Return a tool with special tokens escaped, since a template copies it into the prompt."""
    text = json.dumps(tool, ensure_ascii=False)
    escaped = escape_special_tokens(text)
    if escaped != text:
        changes.note("tools", "role tokens", "plain text")
    result: Json = json.loads(escaped)
    return result


def wants_usage(body: Json) -> bool:
    """Return whether a stream should end with its usage (``stream_options.include_usage``)."""
    options = body.get("stream_options")
    if options is None:
        return False
    if not isinstance(options, dict):
        raise BadField(("stream_options",), "Input should be a JSON object", options, "dict_type")
    return validation.read_bool(options, "include_usage")


def chat_messages(body: Json, changes: Changes) -> list[Json]:
    """Return the messages with special tokens in their texts escaped."""
    items = body.get("messages")
    if not isinstance(items, list) or not items:
        raise BadField(("messages",), "Input should be a list of at least one message", items, "list_type")
    return [_message(item, ("messages", index), changes) for index, item in enumerate(items)]


def escape_field(value: object, where: tuple[str | int, ...], changes: Changes) -> str:
    """Return a text with special tokens escaped, which is noted in ``changes``."""
    text = validation.check_text(value, where)
    escaped = escape_special_tokens(text)
    if escaped != text:
        changes.note(BadField(where, "").name, "role tokens", "plain text")
    return escaped


def _message(item: object, where: tuple[str | int, ...], changes: Changes) -> Json:
    if not isinstance(item, dict):
        raise BadField(where, "Input should be a JSON object with role and content", item, "dict_type")
    role = item.get("role")
    if role not in _ROLES:  # a role becomes part of the special tokens, so no other is allowed
        raise BadField((*where, "role"), f"Input should be one of {', '.join(_ROLES)}", role, "literal_error")
    if "content" not in item and not item.get("tool_calls"):
        raise BadField((*where, "content"), "Field required", None, "missing")
    content = item.get("content")
    if isinstance(content, list):
        content = "".join(_part_text(part, (*where, "content", index)) for index, part in enumerate(content))
    message: Json = {"role": role, "content": escape_field(content or "", (*where, "content"), changes)}
    if role == "assistant":
        if item.get("reasoning_content"):
            message["reasoning_content"] = escape_field(
                item["reasoning_content"], (*where, "reasoning_content"), changes
            )
        if item.get("tool_calls"):
            message["tool_calls"] = _tool_calls(item["tool_calls"], (*where, "tool_calls"), changes)
    if role == "tool" and item.get("tool_call_id") is not None:
        message["tool_call_id"] = escape_field(item["tool_call_id"], (*where, "tool_call_id"), changes)
    return message


def _tool_calls(items: object, where: tuple[str | int, ...], changes: Changes) -> list[Json]:
    """Return the calls of a message, with their arguments as text."""
    calls = []
    for index, item in enumerate(items if isinstance(items, list) else [None]):
        function = item.get("function") if isinstance(item, dict) else None
        if not isinstance(function, dict):
            raise BadField((*where, index), "Input should be an object with a function", None, "dict_type")
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        function_where = (*where, index, "function")
        try:
            if not isinstance(json.loads(text or "{}"), dict):
                raise ValueError
        except (ValueError, RecursionError):
            message = "Input should be a JSON object, as text"
            raise BadField((*function_where, "arguments"), message, None, "json_type") from None
        call = {
            "name": escape_field(function.get("name"), (*function_where, "name"), changes),
            "arguments": escape_field(text or "{}", (*function_where, "arguments"), changes),
        }
        calls.append(
            {
                "id": escape_field(item.get("id") or "", (*where, index, "id"), changes),
                "type": "function",
                "function": call,
            }
        )
    return calls


def _part_text(part: object, where: tuple[str | int, ...]) -> str:
    if isinstance(part, dict) and part.get("type") == "text":
        return validation.check_text(part.get("text"), (*where, "text"))
    raise BadField(where, "Input should be a text part: this model reads text only", None, "literal_error")


def _max_tokens(body: Json, n_ctx: int, changes: Changes) -> int | None:
    name = "max_completion_tokens" if body.get("max_tokens") is None else "max_tokens"
    if body.get(name) == -1:  # "no limit" to llama.cpp
        return None
    return _clamped_int(body, name, 1, n_ctx, changes)


def _clamped_int(body: Json, name: str, low: int, high: int, changes: Changes) -> int | None:
    value = validation.read_int(body, name)
    if value is None:
        return None
    clamped = max(low, min(value, high))
    if clamped != value:
        changes.note(name, value if abs(value) < 10**30 else "huge", clamped)
    return clamped


def _logprobs(body: Json, tokens: int, changes: Changes) -> Json:
    wanted = validation.read_bool(body, "logprobs")
    limit = max(20, _MAX_LOGPROB_ENTRIES // tokens)
    top = _clamped_int(body, "top_logprobs", 0, limit, changes)
    if top and not wanted:
        raise BadField(("top_logprobs",), "Input needs logprobs: true beside it", top, "top_logprobs")
    if top == 0 and wanted:
        changes.note("top_logprobs", 0, 1)  # with 0, llama.cpp returns no probabilities at all
    return {"logprobs": True, "top_logprobs": top or 1} if wanted else {}


def _thinking(body: Json) -> Json:
    """Return the switches for thinking; only booleans, since the template uses them."""
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
