"""The one table of parameters: whatever lists, bounds, explains, sends or shows one of them reads it here.

A row makes the field of ``ChatGLM``, the setting, the option of the magics, the axis of a sweep, the row of the
panel, the line of its code and the key of the request. The next parameter costs one row.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Group = Literal["sampling", "more", "request", "conversation", "connection", "tape"]
"""What a parameter is about. The first three go into the body of a request; ``more`` is folded away at first."""

THINKING_LEVELS = ("off", "on", "low", "high", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A field of ``ChatGLM`` by which a request, or how it is sent, can be changed.

    :param name: of the field, of the setting and of the keyword argument.
    :param type: of a value: ``float``, ``int``, ``str``, ``bool``, ``list`` (of ``str``), or ``object`` where the
        field has a form of its own.
    :param default: the original class' value where it has the parameter; None leaves it to the server.
    :param help: what it does, in few words.
    :param takes: which values are allowed, to complete "must be …".
    :param minimum: the lowest allowed number, included; ``maximum`` the highest.
    :param neutral: the number at which the parameter changes nothing.
    :param slider: the range and the step of its slider.
    :param choices: all allowed values, if they are words.
    :param flags: the options of the magics, the long one last.
    :param wire: its key in each dialect's request body. A parameter without a key in a dialect isn't sent there.
    :param unsupported: servers that don't take it, as :func:`chatglm_magic.wire.openai.server_of` names them.
    :param server_maximum: a lower maximum of such a server.
    :param synonyms: what other classes and servers call it.
    :param per_call: whether one call may set it for itself.
    :param shared: whether the session has a setting of the same name.
    :param recorded: whether a turn says what was set.
    :param changes_answer: whether another value can mean another answer.
    """

    name: str
    group: Group
    type: type = object
    default: Any = None
    help: str = ""
    takes: str = ""
    minimum: float | None = None
    maximum: float | None = None
    neutral: float | None = None
    slider: tuple[float, float, float] | None = None
    choices: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    metavar: str | None = None
    wire: Mapping[str, str] = field(default_factory=dict)
    unsupported: frozenset[str] = frozenset()
    server_maximum: Mapping[str, float] = field(default_factory=dict)
    synonyms: tuple[str, ...] = ()
    per_call: bool = True
    shared: bool = True
    recorded: bool = True
    changes_answer: bool = True

    @property
    def flag(self) -> str:
        """The long option of the magics, empty if there is none."""
        return self.flags[-1] if self.flags else ""

    @property
    def in_body(self) -> bool:
        """Whether it is part of a request's body in some dialect."""
        return self.group in ("sampling", "more", "request")

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.type in (float, int)

    @property
    def is_text(self) -> bool:
        """Whether its values are texts, so that ``1:2:3`` is one of them and no range."""
        return self.type in (str, list)

    @property
    def can_be_swept(self) -> bool:
        """Whether a sweep can have it as an axis."""
        return self.per_call and self.group != "conversation"

    def range_for(self, server: str | None) -> tuple[float, float]:
        """Return the range of its slider, as far as a server allows it."""
        assert self.slider is not None, "only numbers with a slider have a range"
        low, high, _ = self.slider
        return low, min(high, self.server_maximum.get(server or "", high))


def _both(key: str) -> dict[str, str]:
    return {"chatglm": key, "openai": key}


_ROWS = (
    Parameter(
        name="temperature",
        group="sampling",
        type=float,
        default=0.1,
        help="sampling temperature: 0 (greedy) to 10",
        takes="a number from 0 (greedy) to 10, or None for the server's default",
        minimum=0,
        maximum=10,
        neutral=1,
        slider=(0, 2, 0.05),
        flags=("-t", "--temperature"),
        metavar="T",
        wire=_both("temperature"),
        server_maximum={"zai": 1},
    ),
    Parameter(
        name="top_p",
        group="sampling",
        type=float,
        default=0.7,
        help="nucleus sampling: probability mass to keep, 0 to 1",
        takes="a number from 0 to 1, or None for the server's default",
        minimum=0,
        maximum=1,
        neutral=1,
        slider=(0, 1, 0.05),
        flags=("-p", "--top-p"),
        metavar="P",
        wire=_both("top_p"),
    ),
    Parameter(
        name="max_token",
        group="sampling",
        type=int,
        default=20000,
        help="maximum number of tokens to generate",
        takes="a positive whole number of tokens, or None for the server's default",
        minimum=1,
        slider=(1, 20000, 1),
        flags=("-m", "--max-token"),
        metavar="N",
        wire={"chatglm": "max_length", "openai": "max_tokens"},
        synonyms=("max_tokens", "max_length", "max_new_tokens", "max_completion_tokens"),
    ),
    Parameter(
        name="top_k",
        group="more",
        type=int,
        help="sample from the K most likely tokens; 0 is off",
        takes="a whole number of tokens, 0 for all of them, or None for the server's default",
        minimum=0,
        neutral=0,
        slider=(0, 100, 1),
        flags=("--top-k",),
        metavar="K",
        wire={"openai": "top_k"},
        unsupported=frozenset({"ollama"}),
    ),
    Parameter(
        name="min_p",
        group="more",
        type=float,
        help="drop tokens below this share of the most likely one's probability",
        takes="a number from 0 (off) to 1, or None for the server's default",
        minimum=0,
        maximum=1,
        neutral=0,
        slider=(0, 1, 0.01),
        flags=("--min-p",),
        metavar="P",
        wire={"openai": "min_p"},
        unsupported=frozenset({"zai", "ollama"}),
    ),
    Parameter(
        name="presence_penalty",
        group="more",
        type=float,
        help="penalty for tokens that occurred: -2 to 2, 0 is off",
        takes="a number from -2 to 2, or None for the server's default",
        minimum=-2,
        maximum=2,
        neutral=0,
        slider=(-2, 2, 0.05),
        flags=("--presence-penalty",),
        metavar="X",
        wire={"openai": "presence_penalty"},
        unsupported=frozenset({"zai"}),
    ),
    Parameter(
        name="frequency_penalty",
        group="more",
        type=float,
        help="penalty for each time a token occurred: -2 to 2, 0 is off",
        takes="a number from -2 to 2, or None for the server's default",
        minimum=-2,
        maximum=2,
        neutral=0,
        slider=(-2, 2, 0.05),
        flags=("--frequency-penalty",),
        metavar="X",
        wire={"openai": "frequency_penalty"},
        unsupported=frozenset({"zai"}),
    ),
    Parameter(
        name="repetition_penalty",
        group="more",
        type=float,
        help="divide the logits of tokens that occurred: 0.01 to 2, 1 is off",
        takes="a number from 0.01 to 2, or None for the server's default",
        minimum=0.01,
        maximum=2,
        neutral=1,
        slider=(0.5, 2, 0.05),
        flags=("--repetition-penalty",),
        metavar="X",
        wire={"openai": "repetition_penalty"},
        unsupported=frozenset({"zai", "ollama"}),
        synonyms=("repeat_penalty",),
    ),
    Parameter(
        name="stop",
        group="request",
        type=list,
        help="stop sequence; repeatable",
        takes="a text or a list of texts, or None",
        flags=("--stop",),
        metavar="TEXT",
        wire={"openai": "stop"},
        synonyms=("stop_sequences", "stop_words"),
    ),
    Parameter(
        name="seed",
        group="request",
        type=int,
        help="seed for repeatable sampling",
        takes="a whole number, or None",
        flags=("--seed",),
        metavar="N",
        wire=_both("seed"),
    ),
    Parameter(
        name="system",
        group="request",
        type=str,
        help="system prompt",
        takes="a text, or None",
        flags=("-s", "--system"),
        metavar="TEXT",
        synonyms=("system_prompt", "prefix_messages"),
    ),
    Parameter(
        name="model",
        group="request",
        type=str,
        help="name of the served model",
        takes="a text, or None",
        flags=("--model",),
        metavar="NAME",
        wire=_both("model"),
        synonyms=("model_name", "model_id"),
    ),
    Parameter(
        name="thinking",
        group="request",
        type=str,
        help="reasoning effort",
        takes="off, on, low, high or max, or None for the server's default",
        choices=THINKING_LEVELS,
        flags=("--thinking",),
        synonyms=("reasoning", "reasoning_effort", "enable_thinking"),
    ),
    Parameter(name="model_kwargs", group="request", per_call=False, shared=False),
    Parameter(
        name="endpoint_url",
        group="connection",
        type=str,
        help="send to another server (without the session's API key)",
        flags=("--endpoint",),
        metavar="URL",
        synonyms=("base_url", "url", "api_base", "openai_api_base", "endpoint"),
        recorded=False,
    ),
    Parameter(
        name="dialect",
        group="connection",
        type=str,
        help="protocol of the server; None follows the URL",
        takes="chatglm or openai, or None to follow the URL",
        choices=("chatglm", "openai"),
    ),
    Parameter(
        name="history",
        group="conversation",
        takes="a list of [prompt, answer] pairs of text",
        shared=False,
    ),
    Parameter(name="with_history", group="conversation", type=bool, recorded=False),
    Parameter(
        name="timeout",
        group="connection",
        synonyms=("request_timeout", "read_timeout"),
        shared=False,
        changes_answer=False,
    ),
    Parameter(
        name="max_retries",
        group="connection",
        type=int,
        default=2,
        takes="a whole number from 0 to 100",
        changes_answer=False,
    ),
    Parameter(
        name="max_concurrency",
        group="connection",
        type=int,
        takes="a positive whole number",
        per_call=False,
        shared=False,
        changes_answer=False,
    ),
    Parameter(
        name="api_key",
        group="connection",
        synonyms=("openai_api_key", "zhipuai_api_key", "key", "token"),
        per_call=False,
        shared=False,
        changes_answer=False,
    ),
    Parameter(
        name="headers",
        group="connection",
        synonyms=("default_headers",),
        per_call=False,
        shared=False,
        changes_answer=False,
    ),
    Parameter(
        name="stream_usage",
        group="connection",
        type=bool,
        per_call=False,
        shared=False,
        changes_answer=False,
    ),
    Parameter(name="insecure", group="connection", type=bool, per_call=False, changes_answer=False),
    Parameter(
        name="tape",
        group="tape",
        type=str,
        takes="the path of a file, or None",
        per_call=False,
        recorded=False,
    ),
    Parameter(
        name="tape_mode",
        group="tape",
        type=str,
        takes="auto, replay or record",
        choices=("auto", "replay", "record"),
        per_call=False,
        recorded=False,
    ),
    Parameter(
        name="tape_timing",
        group="tape",
        type=bool,
        per_call=False,
        recorded=False,
        changes_answer=False,
    ),
)

PARAMETERS: dict[str, Parameter] = {row.name: row for row in _ROWS}
"""Every parameter by its name, in the order in which people are shown them."""

LANGCHAIN_CONFIG = ("callbacks", "tags", "metadata", "run_name", "run_id")
"""Arguments of LangChain's own that belong to its configuration, and are no parameters of a model."""

NOT_PARAMETERS = (
    *("prompt", "prompts", "messages", "input", "config", "stream", "view", "record", "run_manager", "self"),
    *LANGCHAIN_CONFIG,
)
"""Names that mean something else where parameters are named."""


def parameter_names(*groups: Group) -> tuple[str, ...]:
    """Return the names of the parameters of these groups, or of all."""
    return tuple(row.name for row in PARAMETERS.values() if not groups or row.group in groups)


def answer_parameter_names() -> tuple[str, ...]:
    """Return the names of what is told beside an answer: the sampling, the seed and the thinking."""
    return (*parameter_names("sampling", "more"), "seed", "thinking")


def wire_names(dialect: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the key of each parameter that a dialect has a key for."""
    return ((row.name, row.wire[dialect]) for row in PARAMETERS.values() if dialect in row.wire)


def canonical_name(key: str) -> str:
    """Return the name of the parameter that a key of a request's body stands for; other keys are their own."""
    return next((row.name for row in PARAMETERS.values() if key in (*row.wire.values(), *row.synonyms)), key)


def find_value(body: Mapping[str, Any], name: str) -> Any:
    """Return a parameter's value in a request's body, under whichever of its names; None if it is not there."""
    row = PARAMETERS[name]
    keys = (name, *row.wire.values(), *row.synonyms)
    return next((body[key] for key in keys if body.get(key) is not None), None)


def suggest(name: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """Return "Did you mean …?" for the known name that is meant or most alike; empty if there is none.

    :param cutoff: how much alike two names must be, 0 to 1.
    """
    ours = canonical_name(name)
    close = [ours] if ours != name and ours in known else difflib.get_close_matches(name, known, 1, cutoff)
    return f"Did you mean {close[0]}?" if close else ""
