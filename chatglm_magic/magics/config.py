"""``%chatglm_config``: displays and sets the session's parameters."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from traitlets import Bool, TraitError

from ..credentials import is_secret_name
from ..errors import CommandError, ParameterError
from ..parameters import PARAMETERS, parameter_names, suggest
from ..render.text import write_escaped
from ..session import Session
from ..session.settings import SETTING_NAMES, ChatGLMSettings
from .parser import KEY_REFUSAL, Parser
from .words import QUOTES, MagicLine, narrow, parse_literal


def config_parser() -> Parser:
    """Return the parser of ``%chatglm_config``."""
    width = max(map(len, SETTING_NAMES)) + 2
    parser = Parser(
        "%chatglm_config",
        " [NAME=VALUE … | api_key | --all]",
        "Show the session's parameters, or set them. None leaves one to the server.\n"
        "api_key asks for the server's key, which is never shown or saved.",
        "\n".join(
            ["parameters:", *(f"  {name:<{width}}{getattr(ChatGLMSettings, name).help}" for name in SETTING_NAMES)]
        ),
    )
    parser.add_argument("--all", action="store_true", help="show the defaults too")
    parser.add_help_option()
    return parser


GROUP_HEADINGS = {
    "connection": "Server",
    "sampling": "Sampling",
    "more": "Sampling",
    "request": "Sampling",
    "conversation": "Conversation",
    "tape": "Tape",
}
"""The heading for each group of parameters, in display order; everything else is below ``Limits``."""

HEADING_EXCEPTIONS = {"model": "Server", "system": "Conversation", "store": "Conversation"}
ALWAYS_LISTED = ("endpoint_url", "model", *parameter_names("sampling"), "with_history", "store")
"""Parameters that are listed even with their default value."""


def parameter_rows(session: Session, *, everything: bool = False) -> dict[str, dict[str, str]]:
    """Return the parameters as rows under headings; a default that isn't sent to ``/v1`` is marked.

    :param everything: whether to include parameters with their default value.
    """
    settings, plan = session.settings, session.llm.plan("")
    unsent = set(parameter_names("sampling")) - session.llm.model_fields_set
    groups: dict[str, dict[str, str]] = {heading: {} for heading in (*GROUP_HEADINGS.values(), "Limits")}
    for name in SETTING_NAMES:
        value = getattr(settings, name)
        essential = name in ALWAYS_LISTED or (name == "tape_mode" and settings.tape is not None)
        if not (everything or essential or value != settings.trait_defaults(name)):
            continue
        group = PARAMETERS[name].group if name in PARAMETERS else ""
        rows = groups[HEADING_EXCEPTIONS.get(name) or GROUP_HEADINGS.get(group, "Limits")]
        text = str(value) if value is not None else "None"
        rows[name] = "not set: the server's default" if plan.dialect == "openai" and name in unsent else text
    groups["Conversation"]["store"] = str(session.store.path or "off: turns are kept in memory only")
    groups["Server"]["api_key"] = "set" if "Authorization" in plan.request.headers else "not set"
    return {heading: rows for heading, rows in groups.items() if rows}


def parse_assignments(text: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Parse ``NAME=VALUE …``; values may be quoted, and lists are in brackets.

    :param variables: what ``{{name}}`` inserts into a value.
    :raises CommandError: for anything but assignments, and for an unknown name.
    """
    line, values, position = MagicLine(text, variables), dict[str, Any](), 0
    while (position := line.skip_blanks(position)) < len(text):
        if text[position].isspace():
            position += 1
            continue
        name, equals, _ = line.narrow[position:].partition("=")
        end = position + len(name)
        name = name.strip()
        if is_secret_name(name.split(maxsplit=1)[0].lstrip("-") if name else name):
            raise CommandError(KEY_REFUSAL)
        if not equals or not name.isidentifier():
            raise CommandError(f"{(name.split() or [''])[0]!r} is not NAME=VALUE (see %chatglm_config --help)")
        if name not in SETTING_NAMES:
            raise CommandError(
                f"no parameter {name}. "
                + (suggest(name, SETTING_NAMES) or f"There are: {', '.join(SETTING_NAMES)}.")
            )
        line.read_as(position, end + 1)
        start = line.skip_blanks(end + 1)
        is_quoted = start >= len(text) or text[start] in QUOTES
        value, position = line.read_value(start, name, lists=True, escapes=name in ("stop", "system"))
        if not is_quoted and isinstance(value, str) and narrow(value).lower() == "none":
            value = None
        elif not is_quoted and isinstance(value, str) and name not in TEXT_PARAMETERS:  # a text 1.10 isn't 1.1
            if value == text[start:position]:
                line.read_as(start, position)
            value = parse_literal(value)
        values[name] = value
    if line.was_rewritten:
        write_escaped(sys.stderr, f"Read as: {line.text_as_read(len(text))}\n")
    return values


TEXT_PARAMETERS = (*(row.name for row in PARAMETERS.values() if row.type is str), "store", "stop")


def set_parameters(session: Session, values: dict[str, Any]) -> None:
    """Set all values, or none of them.

    :raises ParameterError: for the first invalid value.
    """
    trial = ChatGLMSettings()
    typed = {
        name: [value] if name == "stop" and isinstance(value, str) else value for name, value in values.items()
    }
    for name, value in typed.items():
        _set(trial, name, value)
    for name, value in typed.items():
        setattr(session.settings, name, value)


def _set(settings: ChatGLMSettings, name: str, value: Any) -> None:
    try:
        if isinstance(value, bool) and not isinstance(getattr(ChatGLMSettings, name), Bool):
            raise TraitError("a truth value")
        setattr(settings, name, value)
    except TraitError as error:
        if name == "endpoint_url":
            raise ParameterError(str(error)) from None
        expected = PARAMETERS[name].allowed if name in PARAMETERS else ""
        raise ParameterError(
            f"Invalid {name}: {value!r}. Expected {expected or getattr(ChatGLMSettings, name).help}."
        ) from None
