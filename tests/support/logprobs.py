"""Helpers for the tests of the lens: servers that give probabilities, and a test of chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from chatglm_magic import Session
from chatglm_magic.local import LocalServer

from .servers import Script, ScriptedServer, reply, sse

Token = tuple[str, float]


class LlamaServer(ScriptedServer):
    """A server that says it is llama.cpp, whose probabilities are the model's own: nothing has to be found out."""

    def __init__(self, *scripts: Script) -> None:
        listed = {"object": "list", "data": [{"id": "test-glm", "object": "model", "owned_by": "llamacpp"}]}
        super().__init__(*scripts, on_get=reply(listed))


def open_session(url: str, token: str | None = None) -> Session:
    """Return a session that asks there."""
    session = Session()
    session.settings.endpoint_url = url
    if token is not None:
        session.llm.api_key = SecretStr(token)
    return session


def open_local_session(server: LocalServer) -> Session:
    """Return a session that asks the local server."""
    return open_session(server.url, server.token)


def make_entry(token: Token, top: Sequence[Token] = (), **more: Any) -> dict[str, Any]:
    """One token as vLLM tells of it: no ids, bytes of the text."""

    def told(text: str, logprob: float) -> dict[str, Any]:
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    return {**told(*token), "top_logprobs": [told(*other) for other in top], **more}


def make_event(text: str | None, *entries: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One event with a piece of text and its tokens' probabilities."""
    choice = {
        "index": 0,
        "delta": {"content": text},
        "finish_reason": finish,
        "logprobs": {"content": list(entries)},
    }
    return {"id": "x", "object": "chat.completion.chunk", "model": "test-glm", "choices": [choice]}


def stream_events(*events: dict[str, Any]) -> Script:
    """Stream events, ended as an answer should be."""
    return sse([*events, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}])


ANSWER = stream_events(
    make_event("Hi", make_entry(("Hi", -0.5), [("Hi", -0.5), ("Yo", -1.5), ("Oh", -2.5)])),
    make_event(" you", make_entry((" you", -5.0), [(" all", -0.3), (" there", -2.6), (" two", -4.0)])),
)
"""Two tokens with three candidates each; the second took the one the server names only as taken."""


def chi_square(drawn: Mapping[str, int], expected: Mapping[str, float]) -> tuple[float, int, float]:
    """Return (χ², degrees of freedom, p-value); what is expected less than 5 times is pooled (Cochran's rule)."""
    common = {name for name, count in expected.items() if count >= 5}
    pairs = [(drawn.get(name, 0), expected[name]) for name in common]
    rare = sum(count for name, count in drawn.items() if name not in common)
    rarely = sum(count for name, count in expected.items() if name not in common)
    if rarely >= 1:
        pairs.append((rare, rarely))
    found = sum((seen - meant) ** 2 / meant for seen, meant in pairs)
    return found, len(pairs) - 1, p_value(found, len(pairs) - 1)


def p_value(statistic: float, degrees: int) -> float:
    """Return the probability of a χ² at least as large: the regularised upper incomplete gamma function.

    Below a + 1 by the series of the lower function, above by Lentz's continued fraction (Numerical Recipes 6.2).
    """
    a, x = degrees / 2, statistic / 2
    if x <= 0 or degrees < 1:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1 / a
        for n in range(1, 10_000):
            term *= x / (a + n)
            total += term
            if term < total * 1e-15:
                break
        return 1 - front * total
    b, tiny = x + 1 - a, 1e-300
    c, d = 1 / tiny, 1 / b
    result = d
    for n in range(1, 10_000):
        factor = -n * (n - a)
        b += 2
        d = 1 / max(abs(factor * d + b), tiny) * math.copysign(1, factor * d + b)
        c = b + factor / c
        result *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * result
