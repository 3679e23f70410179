"""ChatGLM's own protocol: ``POST /`` with five keys, one JSON object back, never a stream.

Source: ``api.py`` of THUDM's ChatGLM-6B and ChatGLM2-6B, and ``langchain_community.llms.ChatGLM``.
"""

from __future__ import annotations

from typing import Any

from ..errors import InvalidResponseError
from ..parameters import PARAMETERS, wire_names
from ..values import Change, Delta, ModelInput
from . import body as bodies
from .error_response import raise_if_error
from .text_filters import ThinkSplitter, resolve_thinking

NAME = "chatglm"

ALWAYS_SENT = ("temperature", "top_p", "max_token")
"""Parameters that are always sent, as the original class does: this protocol can't ask for a server default."""

ZERO_REPLACEMENTS = {"temperature": 0.01, "top_p": 0.01}
"""What is sent in place of zero."""


def url(endpoint_url: str) -> str:
    """Return the URL that requests are sent to: the endpoint, unchanged."""
    return endpoint_url


def encode(model_input: ModelInput) -> tuple[dict[str, Any], tuple[Change, ...]]:
    """Return the request's body, and what was changed of the parameters.

    ``api.py`` reads ``temperature if temperature else 0.95`` (and top_p likewise), so a zero would
    become a high value; the lowest value that it keeps is sent instead. The protocol has no system role, so the
    system text is put before the prompt.
    """
    params = {name: value for name, value in model_input.params.items() if value is not None}
    prompt, changed = model_input.prompt, tuple[Change, ...]()
    history = [list(pair) for pair in model_input.history]
    if system := params.pop("system", None):
        if (
            model_input.chat is not None and history
        ):  # the messages are the whole conversation, which the system text begins
            history[0][0] = f"{system}\n\n{history[0][0]}"
        else:
            prompt = f"{system}\n\n{prompt}"
        changed += (Change("system: put before the prompt, the protocol has no system role"),)
    body: dict[str, Any] = {"prompt": prompt, "history": history}
    params = {name: PARAMETERS[name].default for name in ALWAYS_SENT} | params
    for name, key in wire_names(NAME):
        if name in params:
            body[key] = params.pop(name)
    params.pop("stop", None)  # applied by the client, which cuts the answer there
    changed += tuple(Change(f"{name}: not sent, this protocol has no key for it") for name in params)
    body |= dict(model_input.extra)
    for key, lowest in ZERO_REPLACEMENTS.items():
        if body[key] == 0 and body[key] is not False:
            body[key] = lowest
            changed += (Change(f"{key}: 0 sent as {lowest}, servers of this protocol read 0 as unset"),)
    return body, changed


class ChatGLMReader:
    """Reads one whole response, and returns its thinking and its text.

    :param url: where the request was sent.
    """

    def __init__(self, headers: dict[str, str], url: str = "") -> None:
        self._body = bodies.BodyBuffer(headers)
        self._changed = bodies.reported_changes(headers)
        self._url = url
        self.done = self.begun = False

    def feed(self, block: bytes) -> list[Delta]:
        """Collect the next bytes.

        :raises InvalidResponseError: ``too_large`` above 64 MiB.
        """
        self._body.feed(block)
        return []

    def close(self) -> list[Delta]:
        """Finish the response; return its answer.

        :raises InvalidResponseError: if it isn't JSON, has no ``response``, or reports a failure.
        """
        reply = self._body.json()
        raise_if_error(reply, self._url)
        if not isinstance(reply, dict) or "response" not in reply:
            raise bodies.wrong_shape_error(reply, "'response'", "/v1", "openai")
        answer = reply["response"]
        if not isinstance(answer, str):
            raise InvalidResponseError(
                f"The server's answer holds no text but {bodies.sanitize_line(answer)}. "
                "Ask again, or look at its log.",
                kind="empty_reply",
            )
        self.done = True
        split = ThinkSplitter()
        pieces = resolve_thinking([*split.feed(answer), *split.close()])
        text, thought = ("".join(getattr(piece, name) for piece in pieces) for name in ("text", "reasoning"))
        return [Delta(text, thought, finish_reason="stop", changed=self._changed)]

    def check(self) -> None:
        """Do nothing: an incomplete JSON object isn't valid JSON."""
