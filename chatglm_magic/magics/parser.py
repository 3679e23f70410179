"""The parser of every magic: argparse's definitions and help, over a line whose prompt stays as it was typed.

Options come first. The first word that isn't one, or what follows ``--``, begins the prompt, and from there on the
line is left alone; only the values of options are unquoted, alike on every platform.
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
from .words import WORD, Line, narrow, parse_literal

RESERVED = {*NOT_PARAMETERS, *parameter_names("conversation"), "stop"}
OPTION = re.compile(r"-{1,2}[A-Za-z]")
RAW = re.compile(r"(?:^|\s)--raw(?=\s|$)")
PAIR = re.compile(r"[A-Za-z_]\w*=(?=\S)")
NO_KEYS = (
    "a key does not belong in a cell, which is saved with the notebook: delete it there, then type "
    "%chatglm_config api_key, which asks for it"
)

Magic = TypeVar("Magic", bound=Callable[..., object])


class Parser(argparse.ArgumentParser):
    """argparse's definitions and help, with our errors instead of an exit.

    :param prog: the magic as it is typed.
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
        """Options whose value is all words up to the next option."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message.removeprefix('argument ')} (see {self.prog.replace('%%', '%')} --help)")

    def action_of(self, flag: str) -> argparse.Action | None:
        """Return the option a flag names."""
        return self._option_string_actions.get(flag)

    @property
    def flags(self) -> list[str]:
        """All flags, long and short."""
        return list(self._option_string_actions)

    def add_help_option(self) -> None:
        """Add ``--help``, as the last option."""
        self.add_argument("-h", "--help", action="store_true", help="show this")


def helped(make: Callable[[], Parser]) -> Callable[[Magic], Magic]:
    """Give a magic the help of its parser: IPython asks ``getdoc`` of an object before it reads the docstring."""

    def give(magic: Magic) -> Magic:
        magic.getdoc = lambda: make().format_help()  # type: ignore[attr-defined]
        return magic

    return give


def refuse_keys(line: str) -> None:
    """Refuse a line that seems to hold a key: it would be saved with the notebook, and in IPython's history.

    :raises CommandError: which does not repeat it.
    """
    if API_KEY_PATTERN.search(line):
        raise CommandError(NO_KEYS)


def parse(
    parser: Parser,
    text: str,
    assign: Callable[[Line, int], int | None] | None = None,
    variables: Mapping[str, Any] | None = None,
) -> tuple[argparse.Namespace, str]:
    """Return the options and the prompt, exactly as it stands in the line.

    Full-width letters and signs, and dashes and quotation marks of print, count among the options as their ASCII
    forms; one line says how they were read.

    :param assign: reads ``NAME=…`` at a position among the options into ``Line.assigned``, which becomes
        ``assigned`` of the options, and returns its end; None for another word.
    :param variables: what ``{{name}}`` inserts into an option's value.
    :raises CommandError: for an unknown option, a missing value, or a quotation mark that is not closed.
    """
    line, tokens, position = _read(parser, text, assign, variables)
    if line.changed:
        write_escaped(sys.stderr, f"Read as: {line.as_read(position)}\n")
    options = parser.parse_args(tokens)
    options.assigned = line.assigned
    return options, text[position:]


def _read(
    parser: Parser,
    text: str,
    assign: Callable[[Line, int], int | None] | None,
    variables: Mapping[str, Any] | None,
) -> tuple[Line, list[str], int]:
    """Return a line with its options, and where the prompt begins.

    Only among the options ``--raw`` says that nothing is inserted, and only reading them tells where they end.
    """
    if RAW.search(narrow(text)):
        line = Line(text, variables, raw=True)
        with suppress(CommandError):
            tokens, position = _options(parser, line, assign)
            if "--raw" in tokens:
                return line, tokens, position
    line = Line(text, variables)
    return line, *_options(parser, line, assign)


def _options(
    parser: Parser, line: Line, assign: Callable[[Line, int], int | None] | None
) -> tuple[list[str], int]:
    """Return what stands before the prompt, as argparse reads it, and where the prompt begins."""
    text, tokens = line.text, list[str]()
    position, pending = 0, ""
    while True:
        position = _skip_ascii(text, position)
        if text.startswith("--", position) and text[position + 2 : position + 3].strip() == "":
            position = min(position + 3, len(text))
            break
        begin = line.skip_blanks(position)
        end = assign(line, begin) if assign is not None else None
        flag = _flag(parser, line, begin) if end is None else None
        if end is not None:
            position = end
        elif flag is not None:
            line.take(position, begin)
            found, position = _option(parser, line, begin, *flag)
            if found[0] in parser.takes_words:  # its words follow another option, as in --export --force FILE
                pending = found[0]
            else:
                tokens += found
        elif pending:
            words, position = _words(parser, pending, line, begin)
            tokens, pending = [*tokens, f"{pending}={words}"], ""
        else:
            break
    return [*tokens, pending] if pending else tokens, position


def expect_nothing(parser: Parser, rest: str) -> None:
    """Refuse words that a magic without operands has no use for.

    :raises CommandError: which names the first.
    """
    if rest.strip():
        parser.error(f"unexpected {rest.split()[0]!r}")


def pair(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE, the value as JSON or else as text; a key, which must not stand in a cell, is refused."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, not {text!r}")
    if name in RESERVED:
        raise argparse.ArgumentTypeError(f"{name} is not set by -k; it has an option or a place of its own")
    if is_secret_name(name):
        raise argparse.ArgumentTypeError(NO_KEYS)
    return name, parse_literal(value)


def positive(text: str) -> int:
    """Read a positive whole number."""
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise argparse.ArgumentTypeError(f"expected a positive whole number, not {text[:40]!r}")
    return int(text)


def add_parameters(parser: Parser) -> None:
    """Add the options that are parameters of a request, alike for every magic that sends one."""
    more = parser.add_argument_group("more sampling")
    for row in PARAMETERS.values():
        if row.flags:
            _add_parameter(more if row.group == "more" else parser, row)


def add_common_options(parser: Parser) -> None:
    """Add the options that close the help of every magic that sends one request."""
    add = parser.add_argument
    add("--no-log", action="store_true", help="keep no record of this turn")
    add("--raw", action="store_true", help="leave {{name}} as it is")
    add("--dry-run", action="store_true", help="print the request, send nothing")
    add("-k", dest="extra", action="append", type=pair, default=[], metavar="NAME=VALUE", help="further body key")
    parser.add_help_option()


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


def _or_none(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return None if text.lower() == "none" else convert(narrow(text))

    read.__name__ = convert.__name__
    return read


def _skip_ascii(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t":
        position += 1
    return position


def _flag(parser: Parser, line: Line, position: int) -> tuple[str, int, bool] | None:
    """Return the flag at a place, where it ends, and whether its value is glued to it; None for another word.

    A dash of print begins an option only where it names one: a prompt may begin with such a dash. An editor may
    have made one of two hyphens.
    """
    if not OPTION.match(line.narrow, position):
        return None
    word = WORD.match(line.narrow, position)
    assert word is not None, "an option begins here"
    flag = word[0].partition("=")[0]
    if line.text[position] != "-":
        long = f"--{flag.lstrip('-')}"
        known = (
            long if len(long) > 3 and parser.action_of(long) else flag[:2] if parser.action_of(flag[:2]) else ""
        )
        if known == flag[:2] and not re.fullmatch(r"-[A-Za-z](?:[+.\d][\d.eE+-]*)?", flag):
            return None
        if known == long and flag.startswith("--") and line.text[position] != "－":  # a dash of Chinese is two
            return None
        if not known:
            return None
        end = position + len(flag) if known == long else position + 2
        line.take(position, end, known)
        return known, end, known != long and len(flag) > 2
    if not flag.startswith("--") and len(flag) > 2:  # -t0.5
        line.take(position, position + 2)
        return flag[:2], position + 2, True
    line.take(position, position + len(flag))
    return flag, position + len(flag), False


def _option(parser: Parser, line: Line, position: int, flag: str, end: int, glued: bool) -> tuple[list[str], int]:
    """Read one option with its value; return it as argparse reads it, and where it ends."""
    action = parser.action_of(flag)
    if action is None:
        hint = suggest(flag, parser.flags) or f"{parser.prog} --help lists them."
        raise CommandError(f"no option {flag}. {hint} (Put -- before a prompt that begins with a dash.)")
    equals = line.narrow.startswith("=", end) and not glued
    if action.nargs == 0:
        if equals or glued:
            parser.error(f"{flag} takes no value")
        return [flag], end
    start = end if glued else end + 1 if equals else line.skip_blanks(end)
    line.take(end, start)
    if (action.nargs == "?" or flag in parser.takes_words) and (
        start >= len(line.text) or line.narrow.startswith("--", start)
    ):
        return [flag], end
    if flag in parser.takes_words:
        words, end = _words(parser, flag, line, start)
        return [f"{flag}={words}"], end
    if flag == "-k":
        pair_, end = _pair(parser, line, start)
        return [f"-k={pair_}"], end
    value, end = _value(parser, action, flag, line, start)
    return [f"{flag}={one}" for one in value], end


def _words(parser: Parser, flag: str, line: Line, position: int) -> tuple[str, int]:
    words = []
    while True:
        word, position = line.value(position, f"{flag}", lists=False, escapes=False)
        words.append(str(word))
        position = line.skip_blanks(position)
        if position >= len(line.text) or line.narrow.startswith("--", position):
            return " ".join(words), position


def _pair(parser: Parser, line: Line, position: int) -> tuple[str, int]:
    """Read NAME=VALUE of ``-k``; return it with the value as JSON unless it is a bare word."""
    named = PAIR.match(line.narrow, position)
    if named is None:
        word, end = line.value(position, "-k", lists=False, escapes=False)
        return str(word), end
    name = line.take(named.start(), named.end())
    start = named.end()
    bare = line.is_bare(start)
    value, end = line.value(start, f"-k {name[:-1]}", lists=True, escapes=not bare)
    if bare and isinstance(value, str):
        return f"{name}{value}", end
    try:
        return f"{name}{json.dumps(value, allow_nan=False)}", end
    except (TypeError, ValueError):
        parser.error(f"-k {name[:-1]}: {type(value).__name__} has no form in JSON")


def _value(parser: Parser, action: argparse.Action, flag: str, line: Line, position: int) -> tuple[list[str], int]:
    """Read the value of an option; several where a list is given to one that may be repeated."""
    repeated = isinstance(action, argparse._AppendAction)
    texts = action.dest in ("stop", "system")
    found, end = line.value(position, flag, lists=repeated, escapes=texts)
    if repeated and isinstance(found, list | tuple):
        return [str(one) for one in found], end
    if isinstance(found, str) and (action.type is not None or action.choices):
        found = line.take(position, end) if found == line.text[position:end] else narrow(found)
    return [str(found)], end
