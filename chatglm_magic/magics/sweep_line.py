"""Reads the line of ``%%chatglm_sweep``: parameters with their values and options, in any order, then a prompt."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Any

from ..credentials import names_a_key
from ..errors import CommandError
from .nokeys import NO_KEYS
from .parser import RESERVED, loose

HELP = """%%chatglm_sweep NAME=VALUES … [options]
PROMPT

Ask a prompt at every combination of the parameters' values, outside the conversation; show the answers as a grid.

temperature=0.1,0.5,1    these values
top_p=0.5:0.9:5          5 evenly spaced ones from 0.5 to 0.9
model=glm-4.7,glm-5      any parameter of %chatglm_config, or a key of the request's body; "a, b" is one value

-n, --samples N          answers for each setting, 1 by default
-j, --jobs N             questions under way at once, 16 by default
-o, --out NAME           keep the result in this variable
--resume NAME            the variable or .jsonl file of a sweep: what it has is not asked again;
                         %chatglm_sweep --resume NAME alone asks for what it lacks
--dry-run                say how many requests and at most how many tokens; send nothing
-y, --yes                ask more than 200 times
--raw                    leave {{name}} as it is
-h, --help               show this"""

VALUED = {"-n": "samples", "--samples": "samples", "-j": "jobs", "--jobs": "jobs", "-o": "out", "--out": "out"} | {
    "--resume": "resume"
}
FLAGS = {"--dry-run": "dry_run", "-y": "yes", "--yes": "yes", "--raw": "raw", "-h": "help", "--help": "help"}
OPTIONS = (*VALUED, *FLAGS)
SEE = "(see %chatglm_sweep --help)"

AXIS = re.compile(r"([A-Za-z_]\w*)=")
PART = re.compile(r"\"[^\"]*\"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|[^\s,\"'\[{]+")
WORD = re.compile(r"\"[^\"]*\"|'[^']*'|\S+")


@dataclass
class SweepOrder:
    """A line of the magic, read; ``prompt`` is what stood behind it."""

    axes: dict[str, Any] = field(default_factory=dict)
    samples: int = 1
    jobs: int | None = None
    out: str | None = None
    resume: str | None = None
    dry_run: bool = False
    yes: bool = False
    raw: bool = False
    help: bool = False
    prompt: str = ""


def read(line: str) -> SweepOrder:
    """Read the magic's line.

    :raises CommandError: for what is no option, a parameter without a value, given twice, or one that is a key.
    """
    order, at = SweepOrder(), 0
    while True:
        at += len(line) - at - len(line[at:].lstrip(" \t"))
        rest = line[at:]
        if rest.startswith("--") and rest[2:3].strip() == "":
            order.prompt = rest[3:]
        elif found := AXIS.match(rest):
            at += _axis(order, found[1], rest, found.end())
            continue
        elif re.match(r"-{1,2}[A-Za-z]", rest):
            at += _option(order, rest)
            continue
        else:
            order.prompt = rest
        return order


def _axis(order: SweepOrder, name: str, rest: str, start: int) -> int:
    """Read a parameter's values into the order; return how many characters that were."""
    if names_a_key(name):
        raise CommandError(NO_KEYS)
    if name in RESERVED - {"stop"}:
        raise CommandError(f"{name} can't be swept: it has an option or a place of its own {SEE}")
    if name in order.axes:
        raise CommandError(f"{name} is given twice: put its values behind one {name}=, with commas {SEE}")
    found, at = [], start
    while part := PART.match(rest, at):
        found.append(_value(name, part[0]))
        at = part.end()
        if rest[at : at + 1] != ",":
            break
        at += 1
    if not found or rest[at : at + 1].strip() or rest[at - 1] == ",":
        raise CommandError(f"the values of {name} can't be read: {name}=0.1,0.5 or {name}=0.1:0.9:5 {SEE}")
    order.axes[name] = [value for values in found for value in values]
    return at


def _value(name: str, part: str) -> list[Any]:
    from ..sweeps.grid import is_text, spaced

    if part[0] in "\"'":
        return [part[1:-1]]
    if is_text(name) and part[0] not in "[{":
        return [None if part.lower() == "none" else part]
    return list(spaced(part) or [loose(part)])


def _option(order: SweepOrder, rest: str) -> int:
    """Read an option with its value into the order; return how many characters that were."""
    word = WORD.match(rest)
    assert word is not None, "an option begins here"
    flag, equals, _ = word[0].partition("=")
    if flag in FLAGS and not equals:
        setattr(order, FLAGS[flag], True)
        return len(flag)
    if flag in FLAGS:
        raise CommandError(f"{flag} takes no value {SEE}")
    if flag not in VALUED:
        close = difflib.get_close_matches(flag, OPTIONS, n=1)
        raise CommandError(f"no option {flag}. {f'Did you mean {close[0]}?' if close else SEE}")
    at = len(flag) + (len(equals) or len(rest) - len(flag) - len(rest[len(flag) :].lstrip(" \t")))
    value = WORD.match(rest, at)
    if value is None:
        raise CommandError(f"{flag} needs a value {SEE}")
    name, text = VALUED[flag], value[0].strip("\"'")
    setattr(order, name, _count(flag, text) if name in ("samples", "jobs") else text)
    return value.end()


def _count(flag: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise CommandError(f"{flag} needs a whole number from 1 on, not {text!r} {SEE}")
    return int(text)
