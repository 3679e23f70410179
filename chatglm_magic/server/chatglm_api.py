"""ChatGLM's own protocol: `POST /` as `api.py` of THUDM/ChatGLM-6B reads and answers it. Pure: no I/O.

Request: `prompt`, and optionally `history` (pairs), `max_length` (2048; tokens of prompt, history and answer
together), `top_p` (0.7), `temperature` (0.95). Reply: `response`, `history`, `status`, `time`, no other key.
Unlike the original a temperature of 0 is greedy, what is wrong gets a 422 with a message, and two extra keys
are honoured: `seed` and `stop`."""

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
    """As asked, for the reply's history."""
    history: list[list[str]]
    max_length: int
    """Tokens, the prompt's included; at most the context."""
    n_ctx: int
    """The model's context in tokens."""
    sent: Json
    """What the engine gets, but for `max_tokens`."""


def parse_request(body: object, n_ctx: int, changes: Changes) -> ChatGLMRequest:
    """Return `body` as a checked request; `n_ctx` is the context in tokens. Raises BadField."""
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


def answer_tokens(ask: ChatGLMRequest, used: int) -> int:
    """Return how many tokens the answer may have when prompt and history take `used`. Raises BadField."""
    left = ask.max_length - used
    if left < 1:
        message = (
            f"prompt and history take {used} tokens, which leaves no room for an answer within max_length "
            f"{ask.max_length}: shorten them{'' if ask.max_length >= ask.n_ctx else ', or raise max_length'}"
        )
        raise BadField(("max_length",), message, ask.max_length, "max_length")
    return left


def response_body(ask: ChatGLMRequest, answer: str) -> Json:
    """Return the four keys of the original."""
    answer = answer.strip()
    now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    return {"response": answer, "history": [*ask.history, [ask.prompt, answer]], "status": 200, "time": now}


def error_detail(error: BadField) -> Json:
    """Return the body of a 422, in FastAPI's shape."""
    shown = error.value if isinstance(error.value, str | int | bool | None) else repr(error.value)
    if isinstance(shown, str) or (isinstance(shown, int) and abs(shown) > 2**53):
        shown = repr(shown)[:200] if not isinstance(shown, str) else shown[:200]
    where = ["body", *error.where]
    return {"detail": [{"type": error.kind, "loc": where, "msg": error.message, "input": shown}]}


def _parse_history(given: Any) -> list[list[str]]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise BadField(("history",), "Input should be a list of [question, answer] pairs", given, "list_type")
    for place, pair in enumerate(given):
        if not isinstance(pair, list) or len(pair) != 2:
            where = ("history", place)
            raise BadField(where, "Input should be a [question, answer] pair", pair, "tuple_type")
        for side in (0, 1):
            validation.check_text(pair[side], ("history", place, side))
    return [list(pair) for pair in given]


def _messages(prompt: str, history: list[list[str]], changes: Changes) -> list[Json]:
    listed: list[Json] = []
    for place, (question, answer) in enumerate(history):
        listed.append({"role": "user", "content": escape_field(question, ("history", place, 0), changes)})
        listed.append({"role": "assistant", "content": escape_field(answer, ("history", place, 1), changes)})
    return [*listed, {"role": "user", "content": escape_field(prompt, ("prompt",), changes)}]


def _max_length(body: Json, n_ctx: int, changes: Changes) -> int:
    asked = validation.read_int(body, "max_length")
    if asked is None:
        return min(DEFAULT_MAX_LENGTH, n_ctx)
    now = min(asked, n_ctx) if asked > 0 else min(DEFAULT_MAX_LENGTH, n_ctx)  # 0 is "unset" to the original
    if now != asked:
        changes.note("max_length", asked if abs(asked) < 10**30 else "huge", now)
    return now
