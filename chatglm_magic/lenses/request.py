"""Send the request of a lens through its session, with its tape, key, timeouts and store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import InvalidResponseError, ParameterError, ResponseError
from ..parameters import find_value
from ..session import Session, resolve_session
from ..session.draft import Draft, NoView, View
from ..values import TokenLogprobs, Turn
from .distribution import MAX_PARAMETER
from .lens import Lens
from .logprobs_kind import LogprobsOption, check_logprobs_option, determine_kind

DEFAULT_CANDIDATES = 4096
"""Requested at each position: more than the built-in model's vocabulary, less than a large model's."""

DEFAULT_MAX_TOKEN = 128
"""Maximum answer length if none is set: a lens is for short answers."""

SUPPORTING_SERVERS = (
    "llama.cpp, vLLM, SGLang and Ollama (0.12.11) give them; %chatglm_serve starts a server that does."
)


def ask_lens(
    prompt: str,
    session: Session | None = None,
    top: int | None = None,
    *,
    history: bool = False,
    record: bool = True,
    view: View | None = None,
    vocabulary: int | None = None,
    logprobs: LogprobsOption = "auto",
    **options: Any,
) -> Lens:
    """Send one request, and return the answer with the probabilities of its tokens.

    :param session: by default the current one.
    :param top: the number of candidates to request at each position, at least 1; 4096 by default. If a server
        refuses and names its limit (vLLM: 20), the request is repeated with that limit.
    :param history: whether to include the conversation; the lens' prompt never becomes part of it.
    :param record: whether to store the turn.
    :param view: receives the answer while it arrives.
    :param vocabulary: the size of the model's vocabulary, if known; otherwise at most 262 144 tokens are assumed
        unless the server names all.
    :param logprobs: the kind of the server's probabilities: ``raw``, the model's own, or ``tempered``, after the
        request's temperature. ``auto`` determines it once for each server and model: from the server's model list,
        or by two or three requests for one token.
    :param options: parameters of this request, as for :meth:`Session.ask`.
    :raises ParameterError: for numbers out of range, or if the endpoint uses ChatGLM's own protocol.
    :raises InvalidResponseError: ``no_logprobs`` if the answer came without probabilities.
    :raises ChatGLMError: as :meth:`Session.ask`.
    """
    session = resolve_session(session)
    check_logprobs_option(logprobs)
    options = lens_options(session, top, vocabulary, options)
    collector = _LogprobsCollector(view or NoView())
    try:
        answer = session.ask(prompt, view=collector, history=history, record=record, kind="lens", **options)
    except ResponseError as error:
        if error.kind == "bad_request" and "logprobs" in str(error):
            error.args = (f"{error} The lens needs the probabilities of tokens: {SUPPORTING_SERVERS}",)
        raise
    odds = collector.odds(answer.turn)
    kind = determine_kind(answer.turn, logprobs, session, options)
    return Lens.from_turn(answer.turn, odds, options["top_logprobs"], vocabulary, kind)


def lens_options(
    session: Session, top: int | None, vocabulary: int | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Check and complete the options of a lens' request; nothing is sent.

    :raises ParameterError: for numbers out of range, or if the endpoint uses ChatGLM's own protocol.
    """
    for name, number in (("top", top), ("vocabulary", vocabulary)):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_PARAMETER:
            raise ParameterError(f"{name} must be a number of tokens, 1 or more, not {number!r:.40}.")
    options = {**options, "logprobs": True, "top_logprobs": DEFAULT_CANDIDATES if top is None else top}
    call = session.preview("", history=False, **options)
    if call.dialect == "chatglm":
        base = call.url.partition("?")[0].rstrip("/")
        raise ParameterError(
            "The lens needs the probabilities of tokens, which POST / does not give. If the server speaks /v1 "
            f"too: %chatglm_config endpoint_url={base}/v1, else %chatglm_serve starts one that does."
        )
    if find_value(call.body, "max_token") is None:
        options["max_token"] = DEFAULT_MAX_TOKEN
    return options


class _LogprobsCollector:
    """A view that collects an answer's log-probabilities and forwards to another view."""

    def __init__(self, other: View) -> None:
        self._other = other
        self._odds: Sequence[TokenLogprobs] = ()

    def update(self, draft: Draft) -> None:
        """Collect the log-probabilities so far."""
        self._odds = draft.logprobs
        self._other.update(draft)

    def close(self, turn: Turn) -> None:
        """Forward the end of the answer."""
        self._other.close(turn)

    def odds(self, turn: Turn) -> list[TokenLogprobs]:
        """Return the log-probabilities, with candidates for at least one position.

        :raises InvalidResponseError: ``no_logprobs`` otherwise.
        """
        odds = list(self._odds)
        if any(entry.top for entry in odds):
            return odds
        if not turn.answer and not turn.reasoning:
            raise InvalidResponseError("The answer is empty: there is no token to look at.", kind="empty_reply")
        reported = "only those of the tokens it took, without the others'" if odds else "none (logprobs)"
        raise InvalidResponseError(
            f"The lens needs the probabilities of tokens, and the server gave {reported}. {SUPPORTING_SERVERS}",
            kind="no_logprobs",
            partial=turn.answer,
        )
