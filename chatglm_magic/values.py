"""Immutable values shared by all parts: request contents, pieces of an answer, turns, answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple

Pair = tuple[str, str]
"""The prompt and the answer of a finished turn."""

Kind = Literal["chat", "sweep", "live", "lens"]
"""Where a turn comes from: the conversation, a sweep, the panel's live mode, or the lens."""

Status = Literal["complete", "incomplete", "interrupted", "error", "superseded"]


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One prompt with its context and parameters, before a dialect encodes it.

    ``params`` holds what the user set, by the names of ``parameters.py``; None or an absent name means the
    server's default. ``extra`` holds extra keys of the request body. ``messages`` are those of a prompt made of
    messages, in OpenAI's form. ``chat`` holds the options of a chat model.
    """

    prompt: str
    history: tuple[Pair, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    chat: ChatOptions | None = None


class Candidate(NamedTuple):
    """A possible token at one position of an answer.

    ``token`` is its text as the server sends it; ``logprob`` the natural logarithm of its probability, at most 0;
    ``id`` its number, if known; ``raw`` its bytes in hexadecimal if they differ from those of ``token``, as for
    part of a character. A control token has no text and no bytes.
    """

    token: str
    logprob: float
    id: int | None = None
    raw: str | None = None

    @property
    def data(self) -> bytes:
        """The token's bytes; a lone surrogate is kept."""
        return self.token.encode(errors="surrogatepass") if self.raw is None else bytes.fromhex(self.raw)

    def is_same_token(self, other: Candidate) -> bool:
        """Return whether two candidates are the same token, regardless of probability."""
        if self.id is not None and other.id is not None:
            return self.id == other.id
        return self.token == other.token and self.raw == other.raw


class TokenLogprobs(NamedTuple):
    """The log probabilities of one token of an answer: the ``taken`` one, and the ``top`` candidates.

    ``top`` has the most likely first, and may not include ``taken``.
    """

    taken: Candidate
    top: tuple[Candidate, ...] = ()

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> TokenLogprobs:
        """Return the value that JSON stores as nested lists.

        :raises ValueError: if the data has another form; or TypeError.
        """
        taken, top = data
        return cls(_candidate_from_json(taken), tuple(map(_candidate_from_json, top)))


def _candidate_from_json(data: Sequence[Any]) -> Candidate:
    candidate = Candidate(*data)
    token, logprob, number, raw = candidate
    is_valid = isinstance(token, str) and type(logprob) in (int, float) and -1e6 <= logprob <= 0
    if not (is_valid and (number is None or type(number) is int) and (raw is None or isinstance(raw, str))):
        raise ValueError("isn't a candidate")
    bytes.fromhex(raw or "")
    return candidate


class Change(str):
    """A note for users on a change of a request or an answer: ``temperature: 0 sent as 0.01``.

    ``name`` is the parameter or the part that was changed; empty if the note doesn't begin with one.
    """

    __slots__ = ("name",)
    name: str

    def __new__(cls, note: str, name: str | None = None) -> Change:
        self = super().__new__(cls, note)
        match = re.match(r"([\w.]+)[:=]", note)
        self.name = name if name is not None else match[1] if match else ""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Change, (str(self), self.name)


def reasoning_tokens_in(usage: Mapping[str, Any]) -> int | None:
    """Return the number of thinking tokens that a server counted; None if it didn't count them separately.

    It is ``completion_tokens_details.reasoning_tokens`` of OpenAI's usage, as sent by vLLM, SGLang and Z.ai.
    """
    details = usage.get("completion_tokens_details")
    tokens = details.get("reasoning_tokens") if isinstance(details, Mapping) else usage.get("reasoning_tokens")
    return tokens if type(tokens) is int and 0 <= tokens < 2**53 else None


class Notice(str):
    """A line for users; a ``routine`` one reports that all is well and may be displayed less prominently."""

    __slots__ = ("routine",)
    routine: bool

    def __new__(cls, text: str, *, routine: bool = False) -> Notice:
        self = super().__new__(cls, text)
        self.routine = routine
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _make_notice, (str(self), self.routine)


def _make_notice(text: str, routine: bool) -> Notice:
    return Notice(text, routine=routine)


CONTEXT_FULL = "model_context_window_exceeded"
"""The ``finish_reason`` of an answer that filled the model's context; Z.ai's name for it."""


class ToolCallPiece(NamedTuple):
    """A piece of a tool call.

    ``number`` is the index of the call in the answer. Only the first piece of a call has ``id`` and ``name``;
    ``arguments`` is a piece of JSON text.
    """

    number: int
    id: str = ""
    name: str = ""
    arguments: str = ""

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> ToolCallPiece:
        """Return the value that JSON stores as a list.

        :raises ValueError: if the data has another form; or TypeError.
        """
        piece = cls(*data)
        if type(piece.number) is not int or not all(isinstance(text, str) for text in piece[1:]):
            raise ValueError("isn't a piece of a tool call")
        return piece


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """Options of a chat model besides the parameters.

    ``tools`` are functions in OpenAI's form, ``tool_choice`` is ``auto``, ``none``, ``required`` or an object that
    names a function; ``schema`` is the JSON schema of the answer, empty for any JSON object.
    """

    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    as_json: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict)
    schema_name: str = "answer"
    strict: bool | None = None


class Delta(NamedTuple):
    """One piece of an answer as it arrives; a tuple, since there is one per token.

    ``usage`` counts tokens (``prompt_tokens``, ``completion_tokens``, ``total_tokens``); ``changed`` notes what
    the server or this package changed in the request or the answer. ``notice`` says what the request is waiting
    for, ``retries`` how often it was retried before this answer began. ``logprobs`` has the log probabilities of
    the new tokens, if requested. ``thought`` means that all text before this piece was thinking, of which only the
    end was marked. ``tool_calls`` are pieces of the model's tool calls.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    model: str | None = None
    changed: tuple[Change, ...] = ()
    notice: str | None = None
    retries: int = 0
    logprobs: tuple[TokenLogprobs, ...] = ()
    thought: bool = False
    tool_calls: tuple[ToolCallPiece, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt with its answer, and all facts about the request.

    Times are seconds; ``created`` is an ISO 8601 time with its zone. ``asked`` holds the parameters that the user
    set, ``sent`` the request body (without conversation and key). ``cell_run`` counts the runs of cells in this
    kernel, so that a loop's turns belong to one run. ``first_token`` is the time to the first token, of thinking
    or of the answer, and ``first_answer`` that to the first one of the answer. ``reasoning_tokens`` is the number
    of thinking tokens: the server's count, else the number of pieces. A turn ``outside`` the conversation was sent
    without it and isn't part of it. ``id`` is 32 hex digits, ``conversation`` 12; both are empty for a turn that
    isn't recorded.
    """

    prompt: str
    answer: str = ""
    reasoning: str = ""
    status: Status = "complete"
    endpoint: str = ""
    dialect: str = ""
    model: str | None = None
    system: str | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    sent: Mapping[str, Any] = field(default_factory=dict)
    changed: tuple[Change, ...] = ()
    turns_sent: int = 0
    turns_left_out: int = 0
    finish_reason: str | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    first_token: float | None = None
    first_answer: float | None = None
    duration: float | None = None
    reasoning_tokens: int | None = None
    created: str = ""
    error: str | None = None
    kind: Kind = "chat"
    cell_id: str | None = None
    cell_run: int = 0
    outside: bool = False
    version: str = ""
    id: str = ""
    conversation: str = ""

    @property
    def pair(self) -> Pair:
        return self.prompt, self.answer

    @property
    def first_thinking(self) -> float | None:
        """The time to the first token of thinking, in seconds; None without thinking."""
        return self.first_token if self.reasoning else None

    @property
    def spent_on_thinking(self) -> bool:
        """Whether thinking used up the token limit, so that there is no answer."""
        return self.finish_reason == "length" and not self.answer and bool(self.reasoning or self.reasoning_tokens)

    def to_json(self) -> dict[str, Any]:
        """Return the turn as JSON values, the form used in metadata, exports and tapes."""
        return asdict(self) | {"changed": list(self.changed)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Turn:
        """Return the turn that :meth:`to_json` wrote; unknown keys, of a later version, are ignored."""
        names = {item.name for item in fields(cls)}
        values = {key: value for key, value in data.items() if key in names}
        return cls(**values | {"changed": tuple(map(Change, values.get("changed", ())))})


class Answer(str):
    """An answer's text: a ``str`` with a ``.turn`` attribute."""

    __slots__ = ("turn",)
    turn: Turn

    def __new__(cls, turn: Turn, text: str | None = None) -> Answer:
        self = super().__new__(cls, turn.answer if text is None else text)
        self.turn = turn
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Answer, (self.turn, str(self))
