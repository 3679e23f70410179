"""``%chatglm_config``: shows and sets the session's parameters."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, TraitError

from ..credentials import names_a_key
from ..errors import CommandError, ParameterError
from ..parameters import PARAMETERS, names, suggest
from ..session import Session
from ..session.settings import NAMES, ChatGLMSettings
from .parser import NO_KEYS, Parser, parse_literal


def config_parser() -> Parser:
    """Return the parser of ``%chatglm_config``."""
    width = max(map(len, NAMES)) + 2
    parser = Parser(
        "%chatglm_config",
        " [NAME=VALUE … | api_key]",
        "Show the session's parameters, or set them. None leaves one to the server.\n"
        "api_key asks for the server's key, which is never shown or saved.",
        "\n".join(["parameters:", *(f"  {name:<{width}}{getattr(ChatGLMSettings, name).help}" for name in NAMES)]),
    )
    parser.add_help_option()
    return parser


def table(session: Session) -> dict[str, str]:
    """Return the parameters as rows; a default that is not sent to ``/v1`` says so."""
    settings, plan = session.settings, session.llm.plan("")
    unsent = set(names("sampling")) - session.llm.model_fields_set
    rows = {}
    for name in NAMES:
        value = getattr(settings, name)
        text = str(value) if value is not None else "None"
        rows[name] = "not set: the server's default" if plan.dialect == "openai" and name in unsent else text
    rows["store"] = str(session.store.path or "off: turns are kept in memory alone")
    return rows | {"api_key": "set" if "Authorization" in plan.call.headers else "not set"}


def assignments(line: str) -> dict[str, Any]:
    """Read ``NAME=VALUE …``; values may be quoted.

    :raises CommandError: for anything but assignments, and for an unknown name.
    """
    found, at = {}, 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        name, equals, rest = line[at:].partition("=")
        name = name.strip()
        if names_a_key(name.split(maxsplit=1)[0].lstrip("-") if name else name):
            raise CommandError(NO_KEYS)
        if not equals or not name.isidentifier():
            raise CommandError(f"{(name.split() or [''])[0]!r} is not NAME=VALUE (see %chatglm_config --help)")
        if name not in NAMES:
            raise CommandError(
                f"no parameter {name}. " + (suggest(name, NAMES) or f"There are: {', '.join(NAMES)}.")
            )
        value, length = _value(rest.lstrip(), text=name in TEXT_PARAMETERS)
        found[name] = value
        at += line[at:].index("=") + 1 + len(rest) - len(rest.lstrip()) + length
    return found


TEXT_PARAMETERS = (*(row.name for row in PARAMETERS.values() if row.type is str), "store")


def _value(rest: str, *, text: bool) -> tuple[Any, int]:
    """Read one value; return it with the length of what was read. A text stays as typed: 1.10 isn't 1.1."""
    if rest[:1] in ("'", '"'):
        close = rest.find(rest[0], 1)
        if close < 0:
            raise CommandError("a quotation mark is not closed")
        return rest[1:close], close + 1
    if rest[:1] == "[":
        close = rest.find("]")
        if close < 0:
            raise CommandError("a list is not closed with ]")
        return parse_literal(rest[: close + 1].replace("'", '"')), close + 1
    word = rest.split(maxsplit=1)[0] if rest.strip() else ""
    if text and word.lower() != "none":
        return word, len(word)
    return parse_literal(word), len(word)


def apply(session: Session, values: dict[str, Any]) -> None:
    """Set all values or none.

    :raises ParameterError: for the first that is refused, saying what the parameter takes.
    """
    trial = ChatGLMSettings()
    typed = {
        name: [value] if name == "stop" and isinstance(value, str) else value for name, value in values.items()
    }
    for name, value in typed.items():
        if problem := _try(trial, name, value):
            raise problem
    for name, value in typed.items():
        setattr(session.settings, name, value)


def _try(settings: ChatGLMSettings, name: str, value: Any) -> ParameterError | None:
    try:
        if isinstance(value, bool) and not isinstance(getattr(ChatGLMSettings, name), Bool):
            raise TraitError("a truth value")
        setattr(settings, name, value)
    except TraitError as error:
        if name == "endpoint_url":
            return ParameterError(str(error))
        expected = PARAMETERS[name].takes if name in PARAMETERS else ""
        return ParameterError(
            f"Invalid {name}: {value!r}. Expected {expected or getattr(ChatGLMSettings, name).help}."
        )
    return None
