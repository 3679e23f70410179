"""Immutable values that every room may hold: parameters, pieces of an answer, turns, answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple

Pair = tuple[str, str]
"""One finished exchange: what was asked, what was answered."""

Kind = Literal["chat", "sweep", "live", "lens"]
"""A question of the conversation, of a sweep over parameters, of the panel's live mode, or of the lens."""

Status = Literal["complete", "incomplete", "interrupted", "error", "superseded"]


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt with its context and parameters, before a dialect encodes it.

    ``params`` holds what the user set, by the names of ``parameters.py``; None and an absent name leave a
    parameter to the server. ``extra`` holds further keys of the request's body. ``messages`` are the prompt's own,
    with their roles in OpenAI's form, if it was made of messages. ``chat`` is what a chat model asks for.
    """

    prompt: str
    history: tuple[Pair, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    chat: ChatOptions | None = None


class Candidate(NamedTuple):
    """A token that could stand at a place of an answer.

    ``token`` is its text as the server gives it; ``logprob`` the natural logarithm of its probability, at most 0;
    ``id`` its number, where known; ``raw`` its bytes in hexadecimal where they are not those of ``token``, as for
    a part of a character. A control token has no text and no bytes.
    """

    token: str
    logprob: float
    id: int | None = None
    raw: str | None = None

    @property
    def data(self) -> bytes:
        """The token's own bytes; a lone surrogate is kept."""
        return self.token.encode(errors="surrogatepass") if self.raw is None else bytes.fromhex(self.raw)

    def is_same_token(self, other: Candidate) -> bool:
        """Tell whether two are one token, whatever their probabilities."""
        if self.id is not None and other.id is not None:
            return self.id == other.id
        return self.token == other.token and self.raw == other.raw


class TokenLogprobs(NamedTuple):
    """What a server tells of one token of its answer: the one it took, and those that it could have taken.

    ``top`` has the most likely first, and need not hold ``taken``.
    """

    taken: Candidate
    top: tuple[Candidate, ...] = ()

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> TokenLogprobs:
        """Read the lists that JSON makes of it.

        :raises ValueError: for anything else; so does TypeError.
        """
        taken, top = data
        return cls(_checked(Candidate(*taken)), tuple(_checked(Candidate(*candidate)) for candidate in top))


def _checked(candidate: Candidate) -> Candidate:
    token, logprob, number, raw = candidate
    right = isinstance(token, str) and type(logprob) in (int, float) and -1e6 <= logprob <= 0
    if not (right and (number is None or type(number) is int) and (raw is None or isinstance(raw, str))):
        raise ValueError("isn't a candidate")
    bytes.fromhex(raw or "")
    return candidate


class Change(str):
    """What was changed of a request or of an answer, as a note for people: ``temperature: 0 sent as 0.01``.

    ``name`` is the parameter, or the part, that was changed; it is empty if the note begins with none.
    """

    __slots__ = ("name",)
    name: str

    def __new__(cls, note: str, name: str | None = None) -> Change:
        self = super().__new__(cls, note)
        found = re.match(r"([\w.]+)[:=]", note)
        self.name = name if name is not None else found[1] if found else ""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Change, (str(self), self.name)


def reasoning_tokens_in(usage: Mapping[str, Any]) -> int | None:
    """Return the tokens of thinking that a server counted; None where it did not tell them apart.

    They are ``completion_tokens_details.reasoning_tokens`` of OpenAI's usage, as vLLM, SGLang and Z.ai send it.
    """
    details = usage.get("completion_tokens_details")
    tokens = details.get("reasoning_tokens") if isinstance(details, Mapping) else usage.get("reasoning_tokens")
    return tokens if type(tokens) is int and 0 <= tokens < 2**53 else None


class Notice(str):
    """A line for people; a ``routine`` one reports what is as it should be, and may be displayed less loudly."""

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
"""The ``finish_reason`` of an answer for whose rest the model's context had no room; Z.ai's name for it."""


class ToolCallPiece(NamedTuple):
    """What is new of a tool call.

    ``number`` says which call of the answer it is, from 0. ``id`` and ``name`` stand in the first piece of a call
    alone; ``arguments`` is a piece of JSON text.
    """

    number: int
    id: str = ""
    name: str = ""
    arguments: str = ""

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> ToolCallPiece:
        """Read the list that JSON makes of it.

        :raises ValueError: for anything else; so does TypeError.
        """
        piece = cls(*data)
        if type(piece.number) is not int or not all(isinstance(text, str) for text in piece[1:]):
            raise ValueError("isn't a piece of a tool call")
        return piece


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What a chat model asks for besides the parameters.

    ``tools`` are functions in OpenAI's form, ``tool_choice`` is ``auto``, ``none``, ``required`` or an object that
    names a function; ``schema`` is the JSON schema that the answer has to fit, empty for any JSON object.
    """

    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    as_json: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict)
    schema_name: str = "answer"
    strict: bool | None = None


class Delta(NamedTuple):
    """One piece of an answer as it arrives; a tuple, since one is made for every token.

    ``usage`` counts tokens (``prompt_tokens``, ``completion_tokens``, ``total_tokens``); ``changed`` says
    what the server or this package changed of what was asked or answered. ``notice`` tells people what is being
    waited for, ``retries`` how often the question was asked again before this answer began. ``logprobs`` has the
    odds of the tokens that came, where they were asked for. ``thought`` says that all text before this piece was
    thinking: its end has come, and nothing had marked its beginning. ``tool_calls`` are pieces of the calls that
    the model makes.
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
    """One question with its answer, and all that is known of how it came about.

    Times are seconds; ``created`` is an ISO 8601 time with its zone. ``asked`` is what the user wanted,
    ``sent`` what went over the wire (without the conversation and without the key). ``cell_run`` counts
    the runs of cells in this kernel, so that a loop's turns belong to one run. ``first_token`` is the time to the
    first token, of thinking or of the answer, and ``first_answer`` to the answer's first. ``reasoning_tokens`` are
    those of the thinking: as the server counts them, else the pieces in which it came. A turn ``outside`` was
    asked without the conversation and isn't part of it. ``id`` is 32 hex digits, ``conversation`` 12; both are
    empty for a turn that is not recorded.
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
        """The time to the first token of thinking, in seconds; None where there was no thinking."""
        return self.first_token if self.reasoning else None

    @property
    def spent_on_thinking(self) -> bool:
        """Whether thinking used up all tokens that the answer might have had, so that there is none."""
        return self.finish_reason == "length" and not self.answer and bool(self.reasoning or self.reasoning_tokens)

    def to_json(self) -> dict[str, Any]:
        """Return the turn as plain JSON values: the one form of metadata, export and tape."""
        return asdict(self) | {"changed": list(self.changed)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Turn:
        """Read what :meth:`to_json` wrote; keys of a later version are left out."""
        known = {f.name for f in fields(cls)}
        kept = {key: value for key, value in data.items() if key in known}
        return cls(**kept | {"changed": tuple(map(Change, kept.get("changed", ())))})


class Answer(str):
    """An answer's text that knows its turn; everything a ``str`` does, it does."""

    __slots__ = ("turn",)
    turn: Turn

    def __new__(cls, turn: Turn, text: str | None = None) -> Answer:
        self = super().__new__(cls, turn.answer if text is None else text)
        self.turn = turn
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Answer, (self.turn, str(self))
