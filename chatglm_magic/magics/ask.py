"""``%chatglm`` and ``%%chatglm``: their options, their prompt, ``--dry-run`` and the status card."""

from __future__ import annotations

import argparse
import json
import keyword
from collections.abc import Mapping
from typing import Any

from ..credentials import SCHEME
from ..errors import CommandError
from ..parameters import PARAMETERS, THINKING_LEVELS
from ..render.answers import FORMATS, describe_speed, footer
from ..session import Session
from .parser import Parser, add_common_options, add_parameters
from .words import insert_variables, report_missing

UNMASKED_HEADERS = ("Content-Type", "Accept", "Accept-Language", "User-Agent")
"""Headers that can't contain a key."""


def ask_parser(prog: str) -> Parser:
    """Return the parser of ``%chatglm`` and ``%%chatglm``."""
    parser = Parser(
        prog,
        "\nPROMPT" if prog.startswith("%%") else " PROMPT",
        "Stream the answer and return it as a str with a .turn attribute.",
        "{{name}} in the prompt inserts a variable; nothing is evaluated. Options apply to this request only.",
    )
    add_parameters(parser)
    add = parser.add_argument
    add("-H", "--history", action="store_true", default=None, help="send the earlier turns (the default)")
    add(
        "--no-history",
        dest="history",
        action="store_false",
        help="send no earlier turns, and leave this one out of them",
    )
    add("-o", "--out", metavar="NAME", help="also keep the answer in this variable")
    add("-f", "--format", choices=FORMATS, default="rich", help="how the answer is shown")
    add("-q", "--quiet", action="store_true", help="show nothing")
    add("--no-stream", action="store_true", help="show the answer when it is complete")
    add_common_options(parser)
    return parser


def help_text(parser: Parser, session: Session) -> str:
    """Return the help of a magic that sends a prompt, with the model's thinking levels if it lacks some."""
    levels = session.thinking_levels
    note = "" if levels == THINKING_LEVELS else f"\nThinking levels of the current model: {', '.join(levels)}\n"
    return parser.format_help() + note


def explicit_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters that were typed as options; ``-t none`` is None, which selects the server default."""
    typed = [row.name for row in PARAMETERS.values() if row.flags and hasattr(options, row.name)]
    return {name: getattr(options, name) for name in typed} | dict(options.extra)


def expand_prompt(text: str, names: Mapping[str, Any], *, raw: bool) -> str:
    """Insert variables into a prompt; an unknown name stays as typed, and is reported."""
    if raw or not ("{{" in text or "｛｛" in text):
        return text
    prompt, missing = insert_variables(text, names)
    report_missing(missing)
    return prompt


def format_request(session: Session, prompt: str, options: argparse.Namespace, values: dict[str, Any]) -> str:
    """Return the exact request as text, with the key masked, without sending it."""
    request = session.preview(prompt, history=options.history is not False, **values)
    headers = {"Content-Type": "application/json", **request.headers}
    lines = [f"POST {request.url}"]
    lines += [
        f"{name}: {value if name in UNMASKED_HEADERS else _mask_header(value)}" for name, value in headers.items()
    ]
    return "\n".join([*lines, "", json.dumps(request.body, indent=2, ensure_ascii=False)])


def _mask_header(value: str) -> str:
    """Mask a key except for the last four characters of a long one."""
    match = SCHEME.match(value)
    scheme = match[0] if match else ""
    secret = value[len(scheme) :]
    return f"{scheme}…{secret[-4:]}" if len(secret) >= 16 else f"{scheme}…"


def status_rows(session: Session) -> dict[str, str]:
    """Return the rows of the status card."""
    llm = session.llm
    plan = llm.plan("")
    turns = session.turns
    parameters = [
        f"{name} {value}"
        for name, value in plan.sent.items()
        if isinstance(value, int | float | str) and not isinstance(value, bool)
    ]
    rows = {
        "endpoint": plan.endpoint_url,
        "dialect": "ChatGLM (POST /)" if plan.dialect == "chatglm" else "OpenAI (/v1)",
        "model": llm.model or "server default",
        "parameters": ", ".join(parameters) or "none set",
        "turns": f"{len(turns)}, {len(llm.history)} in context",
    }
    if turns:
        rows["last answer"] = " · ".join(part for part in (footer(turns[-1]), describe_speed(turns[-1])) if part)
    return rows


def check_variable_name(name: str | None) -> str | None:
    """Return the name given by ``-o``.

    :raises CommandError: if it can't be the name of a variable.
    """
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise CommandError(f"-o {name}: that can't be a variable's name")
    return name
