"""The parser of every magic: argparse's definitions and help, for a line whose prompt stays as typed.

Options come first. The prompt begins at the first word that isn't an option, or after ``--``, and stays unchanged.
Only the values of options are unquoted, identically on every platform.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from ..credentials import API_KEY_PATTERN, is_secret_name
from ..errors import CommandError
from ..parameters import NOT_PARAMETERS, PARAMETERS, Parameter, parameter_names, suggest
from ..render.text import write_escaped
from .words import WORD, MagicLine, narrow, parse_literal

RESERVED_NAMES = {*NOT_PARAMETERS, *parameter_names("conversation"), "stop"}
"""Keys of the request body that ``-k`` can't set."""

OPTION_START = re.compile(r"-{1,2}[A-Za-z]")
RAW_FLAG = re.compile(r"(?:^|\s)--raw(?=\s|$)")
PAIR_NAME = re.compile(r"[A-Za-z_]\w*=(?=\S)")
KEY_REFUSAL = (
    "a key does not belong in a cell, which is saved with the notebook: delete it there, then type "
    "%chatglm_config api_key, which asks for it"
)

Magic = TypeVar("Magic", bound=Callable[..., object])
ReadAssignment = Callable[[MagicLine, int], int | None]
"""Reads ``NAME=…`` at a position of a line; returns its end, or None for another word."""


class Parser(argparse.ArgumentParser):
    """An argparse parser that raises our errors instead of exiting.

    :param prog: the magic as typed.
    :param operands: what follows the options in the usage line.
    """

    def __init__(self, prog: str, operands: str = "", description: str = "", epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} [options]{operands}".replace("%", "%%"),  # argparse formats it
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
        )

        self.takes_words: set[str] = set()
        """Options whose value extends up to the next option."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message.removeprefix('argument ')} (see {self.prog.replace('%%', '%')} --help)")

    def find_action(self, flag: str) -> argparse.Action | None:
        """Return the option of a flag, or None."""
        return self._option_string_actions.get(flag)

    @property
    def flags(self) -> list[str]:
        """All flags, long and short."""
        return list(self._option_string_actions)

    def add_help_option(self) -> None:
        """Add ``--help``, as the last option."""
        self.add_argument("-h", "--help", action="store_true", help="show this")


def with_help(make_parser: Callable[[], Parser]) -> Callable[[Magic], Magic]:
    """Show a parser's help for ``?`` after a magic: IPython prefers an object's ``getdoc`` to its docstring."""

    def decorate(magic: Magic) -> Magic:
        magic.getdoc = lambda: make_parser().format_help()  # type: ignore[attr-defined]
        return magic

    return decorate


def refuse_keys(line: str) -> None:
    """Reject a line that seems to contain a key, which would be saved in the notebook and in IPython's history.

    :raises CommandError: without the key.
    """
    if API_KEY_PATTERN.search(line):
        raise CommandError(KEY_REFUSAL)


def parse_options(
    parser: Parser,
    text: str,
    assign: ReadAssignment | None = None,
    variables: Mapping[str, Any] | None = None,
) -> tuple[argparse.Namespace, str]:
    """Return the options and the prompt, exactly as typed.

    Among the options, full-width characters, typographic dashes and quotation marks are read as ASCII; a line on
    stderr then shows how they were read.

    :param assign: reads an assignment into ``MagicLine.assigned``, which becomes ``assigned`` of the options.
    :param variables: what ``{{name}}`` inserts into an option's value.
    :raises CommandError: for an unknown option, a missing value, or an unclosed quotation mark.
    """
    line, tokens, position = _read_line(parser, text, assign, variables)
    if line.was_rewritten:
        write_escaped(sys.stderr, f"Read as: {line.text_as_read(position)}\n")
    options = parser.parse_args(tokens)
    options.assigned = line.assigned
    return options, text[position:]


def _read_line(
    parser: Parser,
    text: str,
    assign: ReadAssignment | None,
    variables: Mapping[str, Any] | None,
) -> tuple[MagicLine, list[str], int]:
    """Return a line with its options, and the position of the prompt.

    ``--raw`` counts only among the options, whose end is known only once they have been read.
    """
    if RAW_FLAG.search(narrow(text)):
        line = MagicLine(text, variables, raw=True)
        with suppress(CommandError):
            tokens, position = _read_options(parser, line, assign)
            if "--raw" in tokens:
                return line, tokens, position
    line = MagicLine(text, variables)
    return line, *_read_options(parser, line, assign)


def _read_options(parser: Parser, line: MagicLine, assign: ReadAssignment | None) -> tuple[list[str], int]:
    """Return the options as arguments for argparse, and the position of the prompt."""
    text, tokens = line.text, list[str]()
    position, pending = 0, ""
    while True:
        position = _skip_ascii_blanks(text, position)
        if text.startswith("--", position) and text[position + 2 : position + 3].strip() == "":
            position = min(position + 3, len(text))
            break
        begin = line.skip_blanks(position)
        end = assign(line, begin) if assign is not None else None
        flag = _read_flag(parser, line, begin) if end is None else None
        if end is not None:
            position = end
        elif flag is not None:
            line.read_as(position, begin)
            arguments, position = _read_option(parser, line, begin, *flag)
            if arguments[0] in parser.takes_words:  # its words follow another option, as in --export --force FILE
                pending = arguments[0]
            else:
                tokens += arguments
        elif pending:
            words, position = _read_words(pending, line, begin)
            tokens, pending = [*tokens, f"{pending}={words}"], ""
        else:
            break
    return [*tokens, pending] if pending else tokens, position


def expect_no_operands(parser: Parser, rest: str) -> None:
    """Reject words after the options of a magic without operands.

    :raises CommandError: with the first word.
    """
    if rest.strip():
        parser.error(f"unexpected {rest.split()[0]!r}")


def parse_pair(text: str) -> tuple[str, Any]:
    """Parse NAME=VALUE, the value as JSON or else as text; reject API keys."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    if name in RESERVED_NAMES:
        raise argparse.ArgumentTypeError(f"{name} is not set by -k; it has an option or a place of its own")
    if is_secret_name(name):
        raise argparse.ArgumentTypeError(KEY_REFUSAL)
    return name, parse_literal(value)


def positive_int(text: str) -> int:
    """Parse a positive integer."""
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise argparse.ArgumentTypeError(f"expected a positive whole number, not {text[:40]!r}")
    return int(text)


def add_parameters(parser: Parser) -> None:
    """Add the options that are parameters of a request."""
    more = parser.add_argument_group("more sampling")
    for row in PARAMETERS.values():
        if row.flags:
            _add_parameter(more if row.group == "more" else parser, row)


def add_common_options(parser: Parser) -> None:
    """Add the options that every magic that sends one request has, and ``--help``."""
    add = parser.add_argument
    add("--no-log", action="store_true", help="keep no record of this turn")
    add("--raw", action="store_true", help="leave {{name}} as it is")
    add("--dry-run", action="store_true", help="print the request, send nothing")
    add(
        "-k",
        dest="extra",
        action="append",
        type=parse_pair,
        default=[],
        metavar="NAME=VALUE",
        help="further body key",
    )
    parser.add_help_option()


def _add_parameter(group: Any, row: Parameter) -> None:
    """Add the option of a parameter. Its default is suppressed, since None is a value: the server default."""
    options: dict[str, Any] = {"dest": row.name, "default": argparse.SUPPRESS, "help": row.help}
    if row.choices:
        options["choices"] = list(row.choices)
    else:
        options["metavar"] = row.metavar
    if row.is_number:
        options["type"] = _none_or(row.type)
    if row.type is list:
        options["action"] = "append"
    group.add_argument(*row.flags, **options)


def _none_or(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return None if text.lower() == "none" else convert(narrow(text))

    read.__name__ = convert.__name__
    return read


def _skip_ascii_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t":
        position += 1
    return position


def _read_flag(parser: Parser, line: MagicLine, position: int) -> tuple[str, int, bool] | None:
    """Return the flag at a position, its end, and whether its value is attached to it; None for another word.

    A typographic dash begins an option only if that option exists, because a prompt may begin with such a dash. An
    editor may have replaced two hyphens with it.
    """
    if not OPTION_START.match(line.narrow, position):
        return None
    word = WORD.match(line.narrow, position)
    assert word is not None
    flag = word[0].partition("=")[0]
    if line.text[position] != "-":
        long = f"--{flag.lstrip('-')}"
        known = (
            long
            if len(long) > 3 and parser.find_action(long)
            else flag[:2]
            if parser.find_action(flag[:2])
            else ""
        )
        if known == flag[:2] and not re.fullmatch(r"-[A-Za-z](?:[+.\d][\d.eE+-]*)?", flag):
            return None
        if (
            known == long and flag.startswith("--") and line.text[position] != "－"
        ):  # a Chinese dash is two of them
            return None
        if not known:
            return None
        end = position + len(flag) if known == long else position + 2
        line.read_as(position, end, known)
        return known, end, known != long and len(flag) > 2
    if not flag.startswith("--") and len(flag) > 2:  # -t0.5
        line.read_as(position, position + 2)
        return flag[:2], position + 2, True
    line.read_as(position, position + len(flag))
    return flag, position + len(flag), False


def _read_option(
    parser: Parser, line: MagicLine, position: int, flag: str, end: int, is_attached: bool
) -> tuple[list[str], int]:
    """Read an option and its value; return the arguments for argparse, and the end."""
    action = parser.find_action(flag)
    if action is None:
        hint = suggest(flag, parser.flags) or f"{parser.prog} --help lists them."
        raise CommandError(f"no option {flag}. {hint} (Put -- before a prompt that begins with a dash.)")
    equals = line.narrow.startswith("=", end) and not is_attached
    if action.nargs == 0:
        if equals or is_attached:
            parser.error(f"{flag} takes no value")
        return [flag], end
    start = end if is_attached else end + 1 if equals else line.skip_blanks(end)
    line.read_as(end, start)
    if (action.nargs == "?" or flag in parser.takes_words) and (
        start >= len(line.text) or line.narrow.startswith("--", start)
    ):
        return [flag], end
    if flag in parser.takes_words:
        words, end = _read_words(flag, line, start)
        return [f"{flag}={words}"], end
    if flag == "-k":
        pair, end = _read_pair(parser, line, start)
        return [f"-k={pair}"], end
    values, end = _read_values(action, flag, line, start)
    return [f"{flag}={value}" for value in values], end


def _read_words(flag: str, line: MagicLine, position: int) -> tuple[str, int]:
    words = []
    while True:
        word, position = line.read_value(position, flag, lists=False, escapes=False)
        words.append(str(word))
        position = line.skip_blanks(position)
        if position >= len(line.text) or line.narrow.startswith("--", position):
            return " ".join(words), position


def _read_pair(parser: Parser, line: MagicLine, position: int) -> tuple[str, int]:
    """Read NAME=VALUE of ``-k``; return it with the value as JSON, unless it is an unquoted word."""
    match = PAIR_NAME.match(line.narrow, position)
    if match is None:
        word, end = line.read_value(position, "-k", lists=False, escapes=False)
        return str(word), end
    name = line.read_as(match.start(), match.end())
    start = match.end()
    is_bare = line.is_bare(start)
    value, end = line.read_value(start, f"-k {name[:-1]}", lists=True, escapes=not is_bare)
    if is_bare and isinstance(value, str):
        return f"{name}{value}", end
    try:
        return f"{name}{json.dumps(value, allow_nan=False)}", end
    except (TypeError, ValueError):
        parser.error(f"-k {name[:-1]}: {type(value).__name__} has no form in JSON")


def _read_values(action: argparse.Action, flag: str, line: MagicLine, position: int) -> tuple[list[str], int]:
    """Read the value of an option; a repeatable option accepts a list, and gets several values."""
    is_repeatable = isinstance(action, argparse._AppendAction)
    is_text = action.dest in ("stop", "system")
    value, end = line.read_value(position, flag, lists=is_repeatable, escapes=is_text)
    if is_repeatable and isinstance(value, list | tuple):
        return [str(item) for item in value], end
    if isinstance(value, str) and (action.type is not None or action.choices):
        value = line.read_as(position, end) if value == line.text[position:end] else narrow(value)
    return [str(value)], end
