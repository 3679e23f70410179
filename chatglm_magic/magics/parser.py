"""The parser of every magic: argparse's definitions and help, over a line whose prompt stays as it was typed.

Options come first. The first word that isn't one, or what follows ``--``, begins the prompt, and from there on the
line is left alone; only the values of options are unquoted, alike on every platform.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from ..credentials import LOOKS_LIKE_A_KEY, names_a_key
from ..errors import CommandError
from ..parameters import NOT_PARAMETERS, PARAMETERS, Parameter, names, suggest

RESERVED = {*NOT_PARAMETERS, *names("conversation"), "stop"}
OPTION = re.compile(r"-{1,2}[A-Za-z]")
WORD = re.compile(r"\S+")
QUOTED_PAIR = re.compile(r"([A-Za-z_]\w*)=[\"']")
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
    if LOOKS_LIKE_A_KEY.search(line):
        raise CommandError(NO_KEYS)


def parse(
    parser: Parser, line: str, assign: Callable[[str, int], int | None] | None = None
) -> tuple[argparse.Namespace, str]:
    """Return the options and the prompt, exactly as it stands in the line.

    :param assign: reads ``NAME=…`` at a position among the options and returns its end; None for another word.
    :raises CommandError: for an unknown option, a missing value, or a quotation mark that is not closed.
    """
    tokens: list[str] = []
    position, pending = 0, ""
    while True:
        position = _skip_blanks(line, position)
        if line.startswith("--", position) and line[position + 2 : position + 3].strip() == "":
            position = min(position + 3, len(line))
            break
        end = assign(line, position) if assign is not None else None
        if end is not None:
            position = end
        elif OPTION.match(line, position):
            option, position = _option(parser, line, position)
            if option in parser.takes_words:  # its words follow another option, as in --export --force FILE
                pending = option
            else:
                tokens.append(option)
        elif pending:
            words, position = _words(parser, pending, line, position)
            tokens, pending = [*tokens, f"{pending}={words}"], ""
        else:
            break
    return parser.parse_args([*tokens, pending] if pending else tokens), line[position:]


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
    if names_a_key(name):
        raise argparse.ArgumentTypeError(NO_KEYS)
    return name, parse_literal(value)


def parse_literal(text: str) -> Any:
    """Read a value as a person types it: JSON, Python's True, False and None, or else plain text."""
    words = {"None": None, "none": None, "True": True, "False": False}
    if text in words:
        return words[text]
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


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
        return None if text.lower() == "none" else convert(text)

    read.__name__ = convert.__name__
    return read


def _skip_blanks(line: str, position: int) -> int:
    while position < len(line) and line[position] in " \t":
        position += 1
    return position


def _option(parser: Parser, line: str, position: int) -> tuple[str, int]:
    """Read one option with its value; return it as argparse reads it, and where it ends."""
    word = WORD.match(line, position)
    assert word is not None, "an option begins here"
    flag, equals, _ = word[0].partition("=")
    end = position + len(flag)
    if not flag.startswith("--") and len(flag) > 2:  # -t0.5
        flag, end, equals = flag[:2], position + 2, "glued"
    action = parser.action_of(flag)
    if action is None:
        hint = suggest(flag, parser.flags) or f"{parser.prog} --help lists them."
        raise CommandError(f"no option {flag}. {hint} (Put -- before a prompt that begins with a dash.)")
    if action.nargs == 0:
        if equals:
            parser.error(f"{flag} takes no value")
        return flag, end
    start = end + (equals == "=") if equals else _skip_blanks(line, end)
    if (action.nargs == "?" or flag in parser.takes_words) and (
        start >= len(line) or line.startswith("--", start)
    ):
        return flag, end
    read = _words if flag in parser.takes_words else _value
    value, end = read(parser, flag, line, start)
    return f"{flag}={value}", end


def _words(parser: Parser, flag: str, line: str, position: int) -> tuple[str, int]:
    first, position = _value(parser, flag, line, position)
    words = [first]
    while (position := _skip_blanks(line, position)) < len(line) and not line.startswith("--", position):
        word, position = _value(parser, flag, line, position)
        words.append(word)
    return " ".join(words), position


def _value(parser: Parser, flag: str, line: str, position: int) -> tuple[str, int]:
    if flag == "-k" and (named := QUOTED_PAIR.match(line, position)):  # -k name="two words"
        value, end = _value(parser, "", line, named.end() - 1)
        return f"{named[1]}={json.dumps(value)}", end
    quote = line[position : position + 1]
    if not quote or quote.isspace():
        parser.error(f"{flag} needs a value")
    if quote in "\"'":
        close = line.find(quote, position + 1)
        if close < 0:
            raise CommandError(f"the quotation mark after {flag} is not closed")
        return line[position + 1 : close], close + 1
    word = WORD.match(line, position)
    assert word is not None, "a value begins here"
    return word[0], position + len(word[0])
