"""ChatGLM's own protocol: ``POST /`` with five keys, one JSON object back, never a stream.

Source: ``api.py`` of THUDM's ChatGLM-6B and ChatGLM2-6B, and ``langchain_community.llms.ChatGLM``.
"""

from __future__ import annotations

from typing import Any

from ..errors import ReplyError
from ..values import Delta, Question
from . import body as bodies

NAME = "chatglm"

DEFAULTS: dict[str, Any] = {"temperature": 0.1, "top_p": 0.7, "max_length": 20000}
"""What the original class sends for a value that is unset: this protocol has no word for "your default"."""

LOWEST = {"temperature": 0.01, "top_p": 0.01}
"""What is sent for a zero."""


def url(endpoint_url: str) -> str:
    """Return the address a question is posted to: the endpoint, verbatim."""
    return endpoint_url


def encode(question: Question) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the request's body, and what had to be changed of the wish.

    ``api.py`` reads ``temperature if temperature else 0.95`` (and top_p likewise), so a zero would come out
    as a high value; the lowest value it takes for itself is what a zero means. The protocol has no system
    role, so a system text stands before the prompt.
    """
    params = question.params
    prompt, changed = question.prompt, tuple[str, ...]()
    if params.system:
        prompt = f"{params.system}\n\n{prompt}"
        changed += ("system: put before the prompt, the protocol has no system role",)
    if params.thinking:
        changed += ("thinking: not sent, this protocol has no word for it",)
    wished = {"temperature": params.temperature, "top_p": params.top_p, "max_length": params.max_token}
    values = {key: DEFAULTS[key] if value is None else value for key, value in wished.items()}
    further = {"seed": params.seed, "model": params.model}
    body = {"prompt": prompt, "history": [list(pair) for pair in question.history], **values}
    body |= {key: value for key, value in further.items() if value is not None} | dict(params.extra)
    for key, lowest in LOWEST.items():
        if body[key] == 0 and body[key] is not False:
            body[key] = lowest
            changed += (f"{key}: 0 sent as {lowest}, servers of this protocol read 0 as unset",)
    return body, changed


class Reader:
    """Takes in the bytes of one whole answer; hands it out as one piece."""

    def __init__(self, headers: dict[str, str]) -> None:
        self._body = bodies.Whole(headers)
        self._changed = headers.get("x-chatglm-changed")
        self.done = False

    def feed(self, block: bytes) -> list[Delta]:
        """Take in the next bytes.

        :raises ReplyError: ``too_large`` above 64 MiB.
        """
        self._body.feed(block)
        return []

    def close(self) -> list[Delta]:
        """End the answer.

        :raises ReplyError: if it is no JSON, has no ``response``, or says that the server failed.
        """
        reply = self._body.json()
        bodies.raise_if_error(reply)
        if not isinstance(reply, dict) or "response" not in reply:
            raise bodies.wrong_shape(reply, "'response'", "/v1")
        answer, status = reply["response"], reply.get("status")
        if isinstance(status, str) and status.lower() not in ("ok", "success", "200"):
            raise ReplyError(f"The server reports status {status}: {bodies.shown(answer)}", kind="server_error")
        if not isinstance(answer, str):
            raise ReplyError(
                f"The server's answer holds no text but {bodies.shown(answer)}. Ask again, or look at its log.",
                kind="empty_reply",
            )
        self.done = True
        return [Delta(text=answer, finish_reason="stop", changed=self._changed)]

    def check(self) -> None:
        """Do nothing: one JSON object is whole or no JSON."""
