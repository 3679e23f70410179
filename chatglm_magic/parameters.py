"""The table of parameters, read by all code that lists, validates, describes, sends or displays them.

A row defines the field of ``ChatGLM``, the setting, the option of the magics, the axis of a sweep, the row of the
panel, the line of its code and the key of the request. A new parameter needs only a new row.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ParameterGroup = Literal["sampling", "more", "request", "conversation", "connection", "tape"]
"""The subject of a parameter. The first three are sent in the request body; the panel at first hides ``more``."""

THINKING_LEVELS = ("off", "on", "low", "high", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A field of ``ChatGLM`` that changes a request or how it is sent.

    :param name: the name of the field, the setting and the keyword argument.
    :param type: the type of a value: ``float``, ``int``, ``str``, ``bool``, ``list`` (of ``str``), or ``object``
        for a field with its own form.
    :param default: that of the original class if it has the parameter; None means the server's default.
    :param help: what it does, in a few words.
    :param allowed: a description of the allowed values, to complete "must be …".
    :param minimum: the lowest allowed number, inclusive; ``maximum`` the highest.
    :param neutral: the number at which the parameter has no effect.
    :param slider: the minimum, maximum and step of its slider.
    :param choices: all allowed values of a text parameter.
    :param flags: the options of the magics, the long one last.
    :param wire: its key in each dialect's request body. A dialect without a key doesn't send it.
    :param unsupported: servers that don't accept it, named as by :func:`chatglm_magic.wire.openai.server_of`.
    :param server_maximum: servers with a lower maximum.
    :param synonyms: its names in other classes and servers.
    :param per_call: whether a single call can set it.
    :param shared: whether the session has a setting with the same name.
    :param recorded: whether turns record its value.
    :param changes_answer: whether the answer depends on it.
    """

    name: str
    group: ParameterGroup
    type: type = object
    default: Any = None
    help: str = ""
    allowed: str = ""
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
        """The long option of the magics; empty if there is none."""
        return self.flags[-1] if self.flags else ""

    @property
    def in_body(self) -> bool:
        """Whether it is part of the request body in some dialect."""
        return self.group in ("sampling", "more", "request")

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.type in (float, int)

    @property
    def is_text(self) -> bool:
        """Whether its values are texts, so that ``1:2:3`` is a value and not a range."""
        return self.type in (str, list)

    @property
    def can_be_swept(self) -> bool:
        """Whether it can be an axis of a sweep."""
        return self.per_call and self.group != "conversation"

    def range_for(self, server: str | None) -> tuple[float, float]:
        """Return the range of its slider, limited to what a server accepts."""
        assert self.slider is not None, "only numbers with a slider have a range"
        low, high, _ = self.slider
        return low, min(high, self.server_maximum.get(server or "", high))


def _both_dialects(key: str) -> dict[str, str]:
    return {"chatglm": key, "openai": key}


_ROWS = (
    Parameter(
        name="temperature",
        group="sampling",
        type=float,
        default=0.1,
        help="sampling temperature: 0 (greedy) to 10",
        allowed="a number from 0 (greedy) to 10, or None for the server's default",
        minimum=0,
        maximum=10,
        neutral=1,
        slider=(0, 2, 0.05),
        flags=("-t", "--temperature"),
        metavar="T",
        wire=_both_dialects("temperature"),
        server_maximum={"zai": 1},
    ),
    Parameter(
        name="top_p",
        group="sampling",
        type=float,
        default=0.7,
        help="nucleus sampling: probability mass to keep, 0 to 1",
        allowed="a number from 0 to 1, or None for the server's default",
        minimum=0,
        maximum=1,
        neutral=1,
        slider=(0, 1, 0.05),
        flags=("-p", "--top-p"),
        metavar="P",
        wire=_both_dialects("top_p"),
    ),
    Parameter(
        name="max_token",
        group="sampling",
        type=int,
        default=20000,
        help="maximum number of tokens to generate",
        allowed="a positive whole number of tokens, or None for the server's default",
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
        allowed="a whole number of tokens, 0 for all of them, or None for the server's default",
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
        allowed="a number from 0 (off) to 1, or None for the server's default",
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
        allowed="a number from -2 to 2, or None for the server's default",
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
        allowed="a number from -2 to 2, or None for the server's default",
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
        allowed="a number from 0.01 to 2, or None for the server's default",
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
        allowed="a text or a list of texts, or None",
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
        allowed="a whole number, or None",
        flags=("--seed",),
        metavar="N",
        wire=_both_dialects("seed"),
    ),
    Parameter(
        name="system",
        group="request",
        type=str,
        help="system prompt",
        allowed="a text, or None",
        flags=("-s", "--system"),
        metavar="TEXT",
        synonyms=("system_prompt", "prefix_messages"),
    ),
    Parameter(
        name="model",
        group="request",
        type=str,
        help="name of the served model",
        allowed="a text, or None",
        flags=("--model",),
        metavar="NAME",
        wire=_both_dialects("model"),
        synonyms=("model_name", "model_id"),
    ),
    Parameter(
        name="thinking",
        group="request",
        type=str,
        help="reasoning effort",
        allowed="off, on, low, high or max, or None for the server's default",
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
        allowed="chatglm or openai, or None to follow the URL",
        choices=("chatglm", "openai"),
    ),
    Parameter(
        name="history",
        group="conversation",
        allowed="a list of [prompt, answer] pairs of text",
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
        allowed="a whole number from 0 to 100",
        changes_answer=False,
    ),
    Parameter(
        name="max_concurrency",
        group="connection",
        type=int,
        allowed="a positive whole number",
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
        allowed="the path of a file, or None",
        per_call=False,
        recorded=False,
    ),
    Parameter(
        name="tape_mode",
        group="tape",
        type=str,
        allowed="auto, replay or record",
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
"""All parameters by name, in the order in which they are displayed."""

LANGCHAIN_CONFIG = ("callbacks", "tags", "metadata", "run_name", "run_id")
"""Arguments that LangChain reads as its configuration, not as parameters of a model."""

CALL_ARGUMENTS = ("prompt", "prompts", "messages", "input", "config", "stream", "view", "record", "run_manager")
NOT_PARAMETERS = (*CALL_ARGUMENTS, "self", *LANGCHAIN_CONFIG)
"""Names of other arguments, which can't be used as extra keys of the body."""


def parameter_names(*groups: ParameterGroup) -> tuple[str, ...]:
    """Return the names of the parameters in these groups, by default in all."""
    return tuple(row.name for row in PARAMETERS.values() if not groups or row.group in groups)


def answer_parameter_names() -> tuple[str, ...]:
    """Return the names of the parameters that are displayed with an answer."""
    return (*parameter_names("sampling", "more"), "seed", "thinking")


def wire_names(dialect: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the body key of each parameter that a dialect sends."""
    return ((row.name, row.wire[dialect]) for row in PARAMETERS.values() if dialect in row.wire)


def canonical_name(key: str) -> str:
    """Return the parameter name for a body key or a synonym; other names are returned unchanged."""
    return next((row.name for row in PARAMETERS.values() if key in (*row.wire.values(), *row.synonyms)), key)


def find_value(body: Mapping[str, Any], name: str) -> Any:
    """Return a parameter's value in a request body, under any of its names; None if it isn't there."""
    row = PARAMETERS[name]
    keys = (name, *row.wire.values(), *row.synonyms)
    return next((body[key] for key in keys if body.get(key) is not None), None)


def suggest(name: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """Return "Did you mean …?" with the known name that is a synonym or most similar; empty if there is none.

    :param cutoff: the minimum similarity of two names, from 0 to 1.
    """
    canonical = canonical_name(name)
    is_synonym = canonical != name and canonical in known
    matches = [canonical] if is_synonym else difflib.get_close_matches(name, known, 1, cutoff)
    return f"Did you mean {matches[0]}?" if matches else ""
