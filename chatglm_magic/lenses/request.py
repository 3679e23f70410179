"""Asks the one question of a lens, by the session's own path: tape, key, limits, errors and the store hold."""

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
"""How many of each place are asked for: more than the built-in model's vocabulary, less than a big model's."""

DEFAULT_MAX_TOKEN = 128
"""How many tokens an answer may have where nobody chose a number: a lens is for looking closely."""

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
    """Ask once, and return the answer with the probabilities of its tokens.

    :param session: the present one unless given.
    :param top: how many candidates of each place to ask for, 1 and up; 4096 unless given. A server that names its
        own limit when it refuses (vLLM: 20) is asked once more with that.
    :param history: True sends the conversation along; the lens' question never becomes part of it.
    :param record: False keeps no turn of it.
    :param view: is told of the answer while it arrives.
    :param vocabulary: how many tokens the server's model knows, where you know it; else at most 262 144 are
        assumed wherever it did not name them all.
    :param logprobs: whose probabilities the server tells: ``raw``, the model's own, or ``tempered``, after the
        request's temperature. ``auto`` finds out, once for each server and model: by what the server says of
        itself, else by two or three requests for one token.
    :param options: values for this question alone, as for :meth:`Session.ask`.
    :raises ParameterError: for numbers out of range, and where the endpoint speaks ChatGLM's own protocol.
    :raises InvalidResponseError: ``no_logprobs`` if the answer came without probabilities.
    :raises ChatGLMError: as :meth:`Session.ask`.
    """
    session = resolve_session(session)
    check_logprobs_option(logprobs)
    options = lens_options(session, top, vocabulary, options)
    heard = _LogprobsCollector(view or NoView())
    try:
        answer = session.ask(prompt, view=heard, history=history, record=record, kind="lens", **options)
    except ResponseError as error:
        if error.kind == "bad_request" and "logprobs" in str(error):
            error.args = (f"{error} The lens needs the probabilities of tokens: {SUPPORTING_SERVERS}",)
        raise
    odds = heard.odds(answer.turn)
    kind = determine_kind(answer.turn, logprobs, session, options)
    return Lens.from_turn(answer.turn, odds, options["top_logprobs"], vocabulary, kind)


def lens_options(
    session: Session, top: int | None, vocabulary: int | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the options of the lens' request, checked; nothing is sent.

    :raises ParameterError: for numbers out of range, and where the endpoint speaks ChatGLM's own protocol.
    """
    for name, number in (("top", top), ("vocabulary", vocabulary)):
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MAX_PARAMETER:
            raise ParameterError(f"{name} must be a number of tokens, 1 or more, not {number!r:.40}.")
    found = {**options, "logprobs": True, "top_logprobs": DEFAULT_CANDIDATES if top is None else top}
    call = session.preview("", history=False, **found)
    if call.dialect == "chatglm":
        base = call.url.partition("?")[0].rstrip("/")
        raise ParameterError(
            "The lens needs the probabilities of tokens, which POST / does not give. If the server speaks /v1 "
            f"too: %chatglm_config endpoint_url={base}/v1, else %chatglm_serve starts one that does."
        )
    if find_value(call.body, "max_token") is None:
        found["max_token"] = DEFAULT_MAX_TOKEN
    return found


class _LogprobsCollector:
    """Hears an answer's odds, and tells another view of it."""

    def __init__(self, other: View) -> None:
        self._other = other
        self._found: Sequence[TokenLogprobs] = ()

    def update(self, draft: Draft) -> None:
        """Keep what has come so far."""
        self._found = draft.logprobs
        self._other.update(draft)

    def close(self, turn: Turn) -> None:
        """Pass on that the answer has ended."""
        self._other.close(turn)

    def odds(self, turn: Turn) -> list[TokenLogprobs]:
        """Return what came, with at least one candidate somewhere.

        :raises InvalidResponseError: ``no_logprobs`` otherwise.
        """
        odds = list(self._found)
        if any(place.top for place in odds):
            return odds
        if not turn.answer and not turn.reasoning:
            raise InvalidResponseError("The answer is empty: there is no token to look at.", kind="empty_reply")
        told = "only those of the tokens it took, without the others'" if odds else "none (logprobs)"
        raise InvalidResponseError(
            f"The lens needs the probabilities of tokens, and the server gave {told}. {SUPPORTING_SERVERS}",
            kind="no_logprobs",
            partial=turn.answer,
        )
