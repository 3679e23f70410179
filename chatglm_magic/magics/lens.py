"""``%chatglm_lens``: sends one request and shows its lens."""

from __future__ import annotations

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
    """The result of a line: text to print, or a lens and the name of the variable to assign it to."""

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
        help="kind of probabilities the server returns, if it can't be detected",
    )
    add("-H", "--history", action="store_true", help="send the earlier turns; the lens adds none")
    add("--no-history", dest="history", action="store_false", help="send no earlier turns (the default)")
    add("-o", "--out", metavar="NAME", help="also keep the lens in this variable")
    add("-q", "--quiet", action="store_true", help="show nothing")
    add_common_options(parser)
    return parser


def run_lens(session: Session, line: str, names: Mapping[str, Any], body: str = "") -> LensResult:
    """Run a line of the magic.

    :param names: the variables that ``{{name}}`` can insert.
    :param body: the text below the line of a cell, as typed.
    :raises CommandError: for an unknown option or a missing prompt.
    :raises ChatGLMError: as :func:`chatglm_magic.lenses.ask_lens`.
    """
    from ..lenses import ask_lens
    from ..lenses.request import lens_options

    parser = lens_parser()
    options, text = parse_options(parser, line, variables=names)
    if options.help:
        return LensResult(ask.help_text(parser, session))
    out = ask.check_variable_name(options.out)
    if body:
        text = f"{text}\n{body}" if text.strip() else body
    if not text.strip():
        raise CommandError(f"{PROG} needs a prompt (see {PROG} --help)")
    prompt = ask.expand_prompt(text, names, raw=options.raw)
    if options.dry_run:
        values = lens_options(session, options.top, options.vocabulary, ask.explicit_options(options))
        return LensResult(ask.format_request(session, prompt, options, values))
    lens = ask_lens(
        prompt,
        session,
        options.top,
        history=options.history,
        record=not options.no_log,
        vocabulary=options.vocabulary,
        logprobs=options.logprobs,
        **ask.explicit_options(options),
    )
    return LensResult(lens=lens, out=out, quiet=options.quiet)


def show_lens(result: LensResult) -> Lens | None:
    """Show a lens with its sliders if the front end has widgets, or nothing for ``--quiet``; return it."""
    from ..exploring import display_widget
    from ..render.views import mark_displayed

    if result.lens is not None and result.quiet:
        mark_displayed(result.lens)  # else IPython would show it as the value of the cell
    elif result.lens is not None:
        display_widget(result.lens)
    return result.lens
