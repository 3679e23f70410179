"""Splits a magic's line into options and a prompt; help text comes from the same definitions.

Options come first. The first word that is no option, or what follows ``--``, begins the prompt, and from
there on the line is left as it was typed; only the values of options are unquoted, alike on every platform.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from ..credentials import names_a_key
from ..errors import CommandError
from ..parameters import NOT_PARAMETERS, PARAMETERS, Parameter, names
from ..render.bundle import FORMATS
from .nokeys import NO_KEYS

RESERVED = {*NOT_PARAMETERS, *names("conversation"), "stop"}
OPTION = re.compile(r"-{1,2}[A-Za-z]")
WORD = re.compile(r"\S+")
QUOTED_PAIR = re.compile(r"([A-Za-z_]\w*)=[\"']")


class Parser(argparse.ArgumentParser):
    """argparse's definitions and help, with errors of ours instead of an exit."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")

    def action_of(self, flag: str) -> argparse.Action | None:
        """Return the option a flag names."""
        return self._option_string_actions.get(flag)

    @property
    def flags(self) -> list[str]:
        """All flags, long and short."""
        return list(self._option_string_actions)


def _or_none(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return None if text.lower() == "none" else convert(text)

    read.__name__ = convert.__name__
    return read


def pair(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE, the value as JSON or else as text; a key, which must not stand in a cell, is refused."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if name in RESERVED:
        raise argparse.ArgumentTypeError(f"{name} is not set by -k; it has an option or a place of its own")
    if names_a_key(name):
        raise argparse.ArgumentTypeError(NO_KEYS)
    return name, loose(value)


def loose(text: str) -> Any:
    """Read a value as a person types it: JSON, Python's True, False and None, or else plain text."""
    words = {"None": None, "none": None, "True": True, "False": False}
    if text in words:
        return words[text]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _usage(prog: str) -> str:
    return f"{prog} [options]\nPROMPT" if prog.startswith("%%") else f"{prog} [options] PROMPT"


def asking_parser(prog: str) -> Parser:
    """Return the parser of ``%chatglm`` and ``%%chatglm``."""
    parser = Parser(
        prog=prog,
        usage=_usage(prog).replace("%", "%%"),  # argparse formats it
        description="Ask the model. The answer streams in and is returned as text that knows its turn.",
        epilog="{{name}} in the prompt inserts a variable; nothing is evaluated. Values hold for this question.",
        add_help=False,
    )
    question_options(parser)
    add = parser.add_argument
    add("-H", "--history", action="store_true", default=None, help="send the earlier turns (the default)")
    add("--no-history", dest="history", action="store_false", help="ask outside the conversation")
    add("-o", "--out", metavar="NAME", help="also keep the answer in this variable")
    add("-f", "--format", choices=FORMATS, default="rich", help="how the answer is shown")
    add("-q", "--quiet", action="store_true", help="show nothing")
    add("--no-stream", action="store_true", help="show the answer when it is whole")
    closing_options(parser)
    return parser


def closing_options(parser: Parser) -> None:
    """Add the options that close the help of every magic that asks one question."""
    add = parser.add_argument
    add("--no-log", action="store_true", help="keep no record of this turn")
    add("--raw", action="store_true", help="leave {{name}} as it is")
    add("--dry-run", action="store_true", help="print the request, send nothing")
    add("-k", dest="extra", action="append", type=pair, default=[], metavar="NAME=VALUE", help="further body key")
    add("-h", "--help", action="store_true", help="show this")


def question_options(parser: Parser) -> None:
    """Add the options that are parameters of a question, alike for every magic that asks one."""
    more = parser.add_argument_group("more sampling")
    for row in PARAMETERS.values():
        if row.flags:
            _add_parameter(more if row.group == "more" else parser, row)


def _add_parameter(group: Any, row: Parameter) -> None:
    """Add the option of a parameter, absent unless typed: None is a value, which leaves it to the server."""
    options: dict[str, Any] = {"dest": row.name, "default": argparse.SUPPRESS, "help": row.help}
    if row.choices:
        options["choices"] = list(row.choices)
    else:
        options["metavar"] = row.metavar
    if row.is_number:
        options["type"] = _or_none(row.type)
    if row.type is list:
        options["action"] = "append"
    group.add_argument(*row.flags, **options)


def parse(parser: Parser, line: str) -> tuple[argparse.Namespace, str]:
    """Return the options and the prompt, exactly as it stands in the line.

    :raises CommandError: for an unknown option, a missing value, or a quotation mark that is not closed.
    """
    tokens, at = [], 0
    while True:
        at = _skip_blanks(line, at)
        if line.startswith("--", at) and line[at + 2 : at + 3].strip() == "":
            at = min(at + 3, len(line))
            break
        if not OPTION.match(line, at):
            break
        option, at = _option(parser, line, at)
        tokens += option
    return parser.parse_args(tokens), line[at:]


def _skip_blanks(line: str, at: int) -> int:
    while at < len(line) and line[at] in " \t":
        at += 1
    return at


def _option(parser: Parser, line: str, at: int) -> tuple[list[str], int]:
    """Read one option with its value from ``at`` on."""
    word = WORD.match(line, at)
    assert word is not None, "an option begins here"
    flag, equals, _ = word[0].partition("=")
    end = at + len(flag)
    if not flag.startswith("--") and len(flag) > 2:  # -t0.5
        flag, end, equals = flag[:2], at + 2, "glued"
    action = parser.action_of(flag)
    if action is None:
        raise _unknown(parser, flag)
    if action.nargs == 0:
        if equals:
            raise CommandError(f"{flag} takes no value (see {parser.prog} --help)")
        return [flag], end
    start = end + (equals == "=") if equals else _skip_blanks(line, end)
    value, end = _value(parser, flag, line, start)
    return [f"{flag}={value}"], end


def _value(parser: Parser, flag: str, line: str, at: int) -> tuple[str, int]:
    if flag == "-k" and (named := QUOTED_PAIR.match(line, at)):  # -k name="two words"
        value, end = _value(parser, "", line, named.end() - 1)
        return f"{named[1]}={json.dumps(value)}", end
    quote = line[at : at + 1]
    if not quote or quote.isspace():
        raise CommandError(f"{flag} needs a value (see {parser.prog} --help)")
    if quote in "\"'":
        close = line.find(quote, at + 1)
        if close < 0:
            raise CommandError(f"the quotation mark after {flag} is not closed")
        return line[at + 1 : close], close + 1
    word = WORD.match(line, at)
    assert word is not None, "a value begins here"
    return word[0], at + len(word[0])


def _unknown(parser: Parser, flag: str) -> CommandError:
    close = difflib.get_close_matches(flag, parser.flags, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"{parser.prog} --help lists them."
    return CommandError(f"no option {flag}. {hint} (Put -- before a prompt that begins with a dash.)")
