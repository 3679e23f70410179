"""``%%chatglm_sweep``: parses the line, prepares and shows the sweep, rejects one that is large by accident."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..credentials import is_secret_name
from ..errors import ChatGLMError, CommandError
from ..session import Session
from . import ask
from .parser import KEY_REFUSAL, RESERVED_NAMES, Parser, parse_options, positive_int
from .words import MagicLine, narrow, parse_literal

if TYPE_CHECKING:
    from ..sweeps import Sweep

MAX_REQUESTS_WITHOUT_YES = 200

AXIS_NAME = re.compile(r"([A-Za-z_]\w*)=")
UNKNOWN_AXIS = re.compile(r"\s*([^\W\d]\w*)\s*=\S")


def sweep_parser() -> Parser:
    """Return the parser of ``%%chatglm_sweep``."""
    parser = Parser(
        "%%chatglm_sweep",
        " NAME=VALUES …\nPROMPT",
        "Send a prompt with every combination of the parameters' values, outside the conversation, and show the\n"
        "answers as a grid.",
        "parameters: any of %chatglm_config, or a key of the request's body\n"
        "  temperature=0.1,0.5,1  these values\n"
        "  top_p=0.5:0.9:5        5 evenly spaced values from 0.5 to 0.9\n"
        '  system="a, b",none     quotation marks keep a comma\n\n'
        "%chatglm_sweep --resume NAME alone sends what that sweep lacks.",
    )
    add = parser.add_argument
    add(
        "-n", "--samples", type=positive_int, default=1, metavar="N", help="answers for each setting, 1 by default"
    )
    add("-j", "--jobs", type=positive_int, metavar="N", help="concurrent requests, 16 by default")
    add("-o", "--out", metavar="NAME", help="also keep the sweep in this variable")
    add("--resume", metavar="NAME", help="variable or .jsonl file of a sweep whose answers are reused")
    add("--dry-run", action="store_true", help="count requests and tokens, send nothing")
    add("-y", "--yes", action="store_true", help=f"send more than {MAX_REQUESTS_WITHOUT_YES} requests")
    add("--raw", action="store_true", help="leave {{name}} as it is")
    parser.add_help_option()
    return parser


def read_sweep_options(text: str, variables: Mapping[str, Any] | None = None) -> argparse.Namespace:
    """Return the options, with the parameters as ``axes`` and the text after them as ``prompt``.

    :param variables: what ``{{name}}`` inserts: a value, or for a parameter also a list of values.
    :raises CommandError: for an unknown option, and a parameter that has no value, is repeated, or names a key.
    """
    parser = sweep_parser()

    def assign(line: MagicLine, position: int) -> int | None:
        match = AXIS_NAME.match(line.narrow, position)
        if match is None:
            return None
        line.read_as(match.start(), match.end())
        return _read_axis(parser, line, match[1], match.end())

    options, prompt = parse_options(parser, text, assign, variables)
    options.prompt, options.axes = prompt, options.assigned
    return options


def run_sweep(
    shell: Any, session: Session, options: argparse.Namespace, body: str, names: Mapping[str, Any]
) -> Sweep | str:
    """Run a sweep and return it; for ``--dry-run``, return the text to print.

    The variable of ``-o`` is set before the first request, so that an interrupt loses nothing.

    :raises ChatGLMError: for a sweep that can't be sent, or needs ``--yes``.
    :raises Interrupted: on an interrupt; the answers so far are kept.
    """
    from ..exploring import run_and_display

    out = ask.check_variable_name(options.out)
    sweep = _prepare(session, options, body, names)
    if options.dry_run:
        from ..sweeps.prepare import forecast

        return forecast(sweep)
    count = sweep.missing()
    if count > MAX_REQUESTS_WITHOUT_YES and not options.yes:
        raise CommandError(
            f"this sweep would send {count:,} requests: add --yes to run it, or --dry-run to estimate tokens"
        )
    if out:
        shell.user_ns[out] = sweep
    run_and_display(sweep)
    return sweep


def _read_axis(parser: Parser, line: MagicLine, name: str, position: int) -> int:
    """Read the values of a parameter; return their end."""
    from ..sweeps.grid import is_text_parameter

    if is_secret_name(name):
        raise CommandError(KEY_REFUSAL)
    if name in RESERVED_NAMES - {"stop"}:
        parser.error(f"{name} can't be swept: it has an option or a place of its own")
    if name in line.assigned:
        parser.error(f"{name} is given twice: put its values behind one {name}=, with commas")
    values: list[Any] = []
    invalid = f"the values of {name} can't be read: {name}=0.1,0.5 or {name}=0.1:0.9:5"
    while True:
        if line.narrow[position : position + 1] in ("", " ", "\t", "\n", ","):
            parser.error(invalid)
        value, end = line.read_value(position, name, lists=True, escapes=name in ("stop", "system"), stops=",")
        is_bare = line.narrow.startswith("{{", position) or line.is_bare(position)
        values += _expand_values(name, value, is_bare=is_bare)
        if is_bare and value == line.text[position:end] and not is_text_parameter(name):
            line.read_as(position, end)
        position = end
        if line.narrow[position : position + 1] != ",":
            break
        line.read_as(position, position + 1)
        position += 1
    if line.narrow[position : position + 1].strip():
        parser.error(invalid)
    line.assigned[name] = values
    return position


def _expand_values(name: str, value: Any, *, is_bare: bool) -> list[Any]:
    """Return the values of one part between commas: several for a range or a variable with a list."""
    from ..sweeps.grid import is_text_parameter, parse_evenly_spaced

    if not isinstance(value, str):
        is_list = is_bare and not isinstance(value, Mapping) and hasattr(value, "__iter__")
        return list(value) if is_list else [value]
    if not is_bare:
        return [value]
    if is_text_parameter(name):
        return [None if narrow(value).lower() == "none" else value]
    return list(parse_evenly_spaced(narrow(value)) or [parse_literal(value)])


def _prepare(session: Session, options: argparse.Namespace, body: str, names: Mapping[str, Any]) -> Sweep:
    from ..sweeps.control import DEFAULT_JOBS
    from ..sweeps.prepare import prepare_sweep

    resumed = _find_sweep(options.resume, names) if options.resume else None
    if body.strip() and (unknown := UNKNOWN_AXIS.match(narrow(options.prompt))):
        from ..sweeps.grid import SWEPT_PARAMETERS

        parameters = ", ".join(SWEPT_PARAMETERS)
        raise CommandError(
            f"no parameter {unknown[1]}. There are: {parameters}, and keys of the request's body. "
            "(Put -- before a prompt that begins so.)"
        )
    text = f"{options.prompt}\n{body}" if options.prompt.strip() and body else options.prompt or body
    if resumed is not None and not text.strip():
        if options.axes or options.samples > 1 or options.jobs is not None:
            raise CommandError(
                "--resume with parameters, -n or -j needs the prompt too; alone it resumes that sweep"
            )
        return resumed
    if not text.strip():
        raise CommandError("there is no prompt: write it below the line (see %chatglm_sweep --help)")
    prompt, jobs = ask.expand_prompt(text, names, raw=options.raw), options.jobs or DEFAULT_JOBS
    return prepare_sweep(prompt, options.axes, samples=options.samples, jobs=jobs, session=session, resume=resumed)


def _find_sweep(name: str, names: Mapping[str, Any]) -> Sweep:
    """Return the sweep in a variable or a file.

    :raises ChatGLMError: if there is none.
    """
    from ..sweeps import Sweep

    value = names.get(name)
    if isinstance(value, Sweep):
        return value
    if name.endswith(".jsonl"):
        return Sweep.load(name)
    what = "isn't a sweep" if name in names else "does not exist"
    raise ChatGLMError(f"--resume {name}: that variable {what}; name one, or a .jsonl file.", kind="not_found")
