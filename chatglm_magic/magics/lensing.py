"""What ``%chatglm_lens`` does with its line: asks once, and hands the lens over to be shown."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import CommandError
from ..session import Session
from . import asking
from .parser import Parser, closing_options, parse, question_options

if TYPE_CHECKING:
    from ..lenses import Lens

PROG = "%chatglm_lens"


class Seen(NamedTuple):
    """What came of a line: text to print, or a lens with the name of the variable that is to hold it."""

    text: str = ""
    lens: Lens | None = None
    out: str | None = None
    quiet: bool = False


def lens_parser() -> Parser:
    """Return the parser of ``%chatglm_lens``."""
    parser = Parser(
        prog=PROG,
        usage="%%chatglm_lens [options] PROMPT",  # argparse formats it
        description="Ask once, and show for each token of the answer which others could have stood there, and "
        "what temperature and top_p make of them. The server must give probabilities: llama.cpp, vLLM, and "
        "what %%chatglm_serve starts.",
        epilog="{{name}} in the prompt inserts a variable; nothing is evaluated. Values hold for this question.",
        add_help=False,
    )
    question_options(parser)
    add = parser.add_argument
    add("--top", type=int, metavar="N", help="candidates to ask for at each token; all that there are, up to 4096")
    add(
        "--vocabulary",
        type=int,
        metavar="N",
        help="tokens the model knows, for closer bounds where some stay unnamed",
    )
    add("-H", "--history", action="store_true", help="send the earlier turns; the lens is no turn of its own")
    add("--no-history", dest="history", action="store_false", help="ask outside the conversation (the default)")
    add("-o", "--out", metavar="NAME", help="also keep the lens in this variable")
    add("-q", "--quiet", action="store_true", help="show nothing")
    closing_options(parser)
    return parser


def run(session: Session, line: str, names: Mapping[str, Any], body: str = "") -> Seen:
    """Do what a line says.

    :param names: the variables that ``{{name}}`` may insert.
    :param body: what stands below the line of a cell, as it is typed.
    :raises CommandError: for an unknown option, or a line without a prompt.
    :raises ChatGLMError: as :func:`chatglm_magic.lenses.asked`.
    """
    from ..lenses import asked

    parser = lens_parser()
    options, text = parse(parser, line)
    if options.help:
        return Seen(parser.format_help())
    out = asking.variable_name(options.out)
    if body:
        text = f"{text}\n{body}" if text.strip() else body
    if not text.strip():
        raise CommandError(f"{PROG} needs a prompt (see {PROG} --help)")
    prompt = asking.prompt_of(text, names, raw=options.raw)
    if options.dry_run:
        return Seen(_dry_run(session, prompt, options))
    found = asked(
        prompt,
        session,
        options.top,
        history=options.history,
        record=not options.no_log,
        vocabulary=options.vocabulary,
        **asking.given(options),
    )
    return Seen(lens=found, out=out, quiet=options.quiet)


def _dry_run(session: Session, prompt: str, options: argparse.Namespace) -> str:
    from ..lenses.request import question

    values = question(session, options.top, options.vocabulary, asking.given(options))
    return asking.dry_run(session, prompt, options, values)


def show(seen: Seen) -> Lens | None:
    """Show the sliders where there can be any, or nothing if that was asked for; return the cell's value."""
    from ..exploring import display_widget
    from ..render.once import mark

    if seen.lens is not None and seen.quiet:
        mark(seen.lens)  # as if it had been shown
    elif seen.lens is not None:
        display_widget(seen.lens)
    return seen.lens
