"""``%chatglm_lens``: sends one request, and hands its lens over to be shown."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from ..errors import CommandError
from ..session import Session
from . import ask
from .parser import Parser, add_common_options, add_parameters, parse_options

if TYPE_CHECKING:
    from ..lenses import Lens

PROG = "%chatglm_lens"


class LensResult(NamedTuple):
    """What came of a line: text to print, or a lens with the name of the variable that is to hold it."""

    text: str = ""
    lens: Lens | None = None
    out: str | None = None
    quiet: bool = False


def lens_parser() -> Parser:
    """Return the parser of ``%chatglm_lens``."""
    from ..lenses.logprobs_kind import LogprobsOption

    parser = Parser(
        PROG,
        " PROMPT",
        "Show the candidates at each token of an answer, and how temperature and top_p reshape them.\n"
        "The server must return probabilities: llama.cpp, vLLM, SGLang, Ollama, and what %chatglm_serve starts.",
        "{{name}} in the prompt inserts a variable; nothing is evaluated. Options apply to this request only.",
    )
    add_parameters(parser)
    add = parser.add_argument
    add("--top", type=int, metavar="N", help="candidates to ask for at each token; all that there are, up to 4096")
    add(
        "--vocabulary",
        type=int,
        metavar="N",
        help="tokens the model knows, for closer bounds where some stay unnamed",
    )
    add(
        "--logprobs",
        choices=get_args(LogprobsOption),
        default="auto",
        help="whose probabilities the server returns, if it can't be found out",
    )
    add("-H", "--history", action="store_true", help="send the earlier turns; the lens adds none")
    add("--no-history", dest="history", action="store_false", help="send no earlier turns (the default)")
    add("-o", "--out", metavar="NAME", help="also keep the lens in this variable")
    add("-q", "--quiet", action="store_true", help="show nothing")
    add_common_options(parser)
    return parser


def run(session: Session, line: str, names: Mapping[str, Any], body: str = "") -> LensResult:
    """Do what a line says.

    :param names: the variables that ``{{name}}`` may insert.
    :param body: what stands below the line of a cell, as it is typed.
    :raises CommandError: for an unknown option, or a line without a prompt.
    :raises ChatGLMError: as :func:`chatglm_magic.lenses.asked`.
    """
    from ..lenses import ask_lens

    parser = lens_parser()
    options, text = parse_options(parser, line, variables=names)
    if options.help:
        return LensResult(ask.help_text(parser, session))
    out = ask.variable_name(options.out)
    if body:
        text = f"{text}\n{body}" if text.strip() else body
    if not text.strip():
        raise CommandError(f"{PROG} needs a prompt (see {PROG} --help)")
    prompt = ask.prompt_of(text, names, raw=options.raw)
    if options.dry_run:
        return LensResult(_dry_run(session, prompt, options))
    found = ask_lens(
        prompt,
        session,
        options.top,
        history=options.history,
        record=not options.no_log,
        vocabulary=options.vocabulary,
        logprobs=options.logprobs,
        **ask.given(options),
    )
    return LensResult(lens=found, out=out, quiet=options.quiet)


def _dry_run(session: Session, prompt: str, options: argparse.Namespace) -> str:
    from ..lenses.request import lens_options

    values = lens_options(session, options.top, options.vocabulary, ask.given(options))
    return ask.dry_run(session, prompt, options, values)


def show(seen: LensResult) -> Lens | None:
    """Show the sliders where there can be any, or nothing if that was asked for; return the cell's value."""
    from ..exploring import display_widget
    from ..render.views import mark_displayed

    if seen.lens is not None and seen.quiet:
        mark_displayed(seen.lens)  # as if it had been shown
    elif seen.lens is not None:
        display_widget(seen.lens)
    return seen.lens
