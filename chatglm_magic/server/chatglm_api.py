"""ChatGLM's own protocol: ``POST /`` as in ``api.py`` of THUDM/ChatGLM-6B, without any I/O.

Request: ``prompt``, and optionally ``history`` (pairs), ``max_length`` (2048; tokens of prompt, history and answer
together), ``top_p`` (0.7), ``temperature`` (0.95). Response: ``response``, ``history``, ``status``, ``time``, no
other key. Unlike in the original, a temperature of 0 is greedy, an invalid request gets a 422 with a message, and
two extra keys are supported: ``seed`` and ``stop``. An invalid field raises :class:`BadField`.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from . import validation
from .openai_api import escape_field
from .validation import BadField, Changes, Json

DEFAULT_MAX_LENGTH = 2048
DEFAULT_TOP_P = 0.7
DEFAULT_TEMPERATURE = 0.95


@dataclass(frozen=True, slots=True)
class ChatGLMRequest:
    """A checked request."""

    prompt: str
    """As received, for the response's history."""
    history: list[list[str]]
    max_length: int
    """Tokens including the prompt; at most the context."""
    n_ctx: int
    """The model's context in tokens."""
    sent: Json
    """The engine's request without ``max_tokens``."""


def parse_request(body: object, n_ctx: int, changes: Changes) -> ChatGLMRequest:
    """Return ``body`` as a checked request; ``n_ctx`` is the context in tokens."""
    if not isinstance(body, dict):
        raise BadField((), "Input should be a JSON object", body, "dict_type")
    if "prompt" not in body:
        raise BadField(("prompt",), "Field required", body, "missing")
    prompt = validation.check_text(body["prompt"], ("prompt",))
    history = _parse_history(body.get("history"))
    temperature = validation.read_temperature(body, changes)
    top_p = validation.read_top_p(body, changes)
    sent: Json = {
        "messages": _messages(prompt, history, changes),
        "temperature": DEFAULT_TEMPERATURE if temperature is None else temperature,
        "top_p": DEFAULT_TOP_P if top_p is None else top_p,
    }
    extra = {"seed": validation.read_seed(body, changes), "stop": validation.read_stop(body, changes)}
    sent |= {name: value for name, value in extra.items() if value is not None}
    return ChatGLMRequest(prompt, history, _max_length(body, n_ctx, changes), n_ctx, sent)


def answer_tokens(request: ChatGLMRequest, used: int) -> int:
    """Return the maximum number of tokens for the answer if prompt and history take ``used``."""
    remaining = request.max_length - used
    if remaining < 1:
        message = (
            f"prompt and history take {used} tokens, which leaves no room for an answer within max_length "
            f"{request.max_length}: shorten them"
            f"{'' if request.max_length >= request.n_ctx else ', or raise max_length'}"
        )
        raise BadField(("max_length",), message, request.max_length, "max_length")
    return remaining


def response_body(request: ChatGLMRequest, answer: str) -> Json:
    """Return the body of a 200, with the four keys of the original."""
    answer = answer.strip()
    now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    return {
        "response": answer,
        "history": [*request.history, [request.prompt, answer]],
        "status": 200,
        "time": now,
    }


def error_detail(error: BadField) -> Json:
    """Return the body of a 422, in FastAPI's shape."""
    value = error.value if isinstance(error.value, str | int | bool | None) else repr(error.value)
    if isinstance(value, str) or (isinstance(value, int) and abs(value) > 2**53):
        value = repr(value)[:200] if not isinstance(value, str) else value[:200]
    where = ["body", *error.where]
    return {"detail": [{"type": error.kind, "loc": where, "msg": error.message, "input": value}]}


def _parse_history(value: Any) -> list[list[str]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadField(("history",), "Input should be a list of [question, answer] pairs", value, "list_type")
    for index, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            where = ("history", index)
            raise BadField(where, "Input should be a [question, answer] pair", pair, "tuple_type")
        for side in (0, 1):
            validation.check_text(pair[side], ("history", index, side))
    return [list(pair) for pair in value]


def _messages(prompt: str, history: list[list[str]], changes: Changes) -> list[Json]:
    messages: list[Json] = []
    for index, (question, answer) in enumerate(history):
        messages.append({"role": "user", "content": escape_field(question, ("history", index, 0), changes)})
        messages.append({"role": "assistant", "content": escape_field(answer, ("history", index, 1), changes)})
    return [*messages, {"role": "user", "content": escape_field(prompt, ("prompt",), changes)}]


def _max_length(body: Json, n_ctx: int, changes: Changes) -> int:
    requested = validation.read_int(body, "max_length")
    if requested is None:
        return min(DEFAULT_MAX_LENGTH, n_ctx)
    # the original treats 0 as unset
    used = min(requested, n_ctx) if requested > 0 else min(DEFAULT_MAX_LENGTH, n_ctx)
    if used != requested:
        changes.note("max_length", requested if abs(requested) < 10**30 else "huge", used)
    return used
