"""``%chatglm`` and ``%%chatglm``: their options, what they make of a prompt, and the request as text."""

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
from ..session.draft import View
from ..values import Answer
from .parser import Parser, add_common_options, add_parameters
from .words import insert_variables, report_missing


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
    """Return the help of a magic that asks; the last line names the levels of a model that has not all."""
    levels = session.thinking_levels
    note = "" if levels == THINKING_LEVELS else f"\nThinking levels of the current model: {', '.join(levels)}\n"
    return parser.format_help() + note


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the values of this question alone: only what was typed, so that ``-t none`` unsets."""
    named = [row.name for row in PARAMETERS.values() if row.flags and hasattr(options, row.name)]
    values = {name: getattr(options, name) for name in named}
    return values | dict(options.extra)


def prompt_of(text: str, names: Mapping[str, Any], *, raw: bool) -> str:
    """Return the prompt with its variables in place; a name that does not exist stays, with a note."""
    if raw or not ("{{" in text or "｛｛" in text):
        return text
    prompt, missing = insert_variables(text, names)
    report_missing(missing)
    return prompt


def ask(session: Session, prompt: str, options: argparse.Namespace, view: View, values: dict[str, Any]) -> Answer:
    """Ask with the options of a magic."""
    return session.ask(
        prompt,
        view=view,
        history=options.history is not False,
        record=not options.no_log,
        **values,
    )


def dry_run(session: Session, prompt: str, options: argparse.Namespace, values: dict[str, Any]) -> str:
    """Return the exact request as text, the key masked; nothing is sent."""
    call = session.preview(prompt, history=options.history is not False, **values)
    headers = {"Content-Type": "application/json", **call.headers}
    lines = [f"POST {call.url}"]
    lines += [f"{name}: {value if name in OPEN else _masked(value)}" for name, value in headers.items()]
    return "\n".join([*lines, "", json.dumps(call.body, indent=2, ensure_ascii=False)])


OPEN = ("Content-Type", "Accept", "Accept-Language", "User-Agent")
"""Headers that are shown as they are; any other may hold a key."""


def _masked(value: str) -> str:
    """Show the last four characters of a long key, and nothing of a short one."""
    found = SCHEME.match(value)
    scheme = found[0] if found else ""
    secret = value[len(scheme) :]
    return f"{scheme}…{secret[-4:]}" if len(secret) >= 16 else f"{scheme}…"


def status(session: Session) -> dict[str, str]:
    """Return the rows of the status card."""
    llm = session.llm
    plan = llm.plan("")
    turns = session.turns
    rows = {
        "endpoint": plan.endpoint_url,
        "dialect": "ChatGLM's own (POST /)" if plan.dialect == "chatglm" else "OpenAI's (/v1)",
        "model": llm.model or "the server's own",
        "parameters": ", ".join(f"{name} {value}" for name, value in plan.sent.items() if _told(value))
        or "none set",
        "turns": f"{len(turns)}, of which {len(llm.history)} are sent along",
    }
    if turns:
        rows["last answer"] = " · ".join(part for part in (footer(turns[-1]), describe_speed(turns[-1])) if part)
    return rows


def _told(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def variable_name(name: str | None) -> str | None:
    """Check the name that ``-o`` gives.

    :raises CommandError: if it can't be a variable's.
    """
    if name is not None and (not name.isidentifier() or keyword.iskeyword(name)):
        raise CommandError(f"-o {name}: that can't be a variable's name")
    return name
