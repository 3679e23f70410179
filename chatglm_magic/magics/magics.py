"""The magics: each parses its line, calls the code that does the work, and shows the result."""

from __future__ import annotations

import getpass
import sys
import threading
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, needs_local_scope, no_var_expand

from ..errors import CommandError
from ..render.answers import card, grouped_card
from ..render.front_ends import in_notebook, is_final
from ..render.status_line import show_note
from ..render.views import choose_view
from ..session import Session
from ..session.draft import NoView
from ..values import Answer
from . import ask, config, history, serve
from .parser import Parser, expect_no_operands, parse_options, refuse_keys, with_help

if TYPE_CHECKING:
    from ..lenses import Lens
    from ..session.check import ServerCheck
    from ..sweeps import Sweep


def panel_parser() -> Parser:
    """Return the parser of ``%chatglm_panel``."""
    parser = Parser(
        "%chatglm_panel", description="Show the panel: sliders, a prompt box, the answer and earlier turns."
    )
    parser.add_help_option()
    return parser


def check_parser() -> Parser:
    """Return the parser of ``%chatglm_check``."""
    parser = Parser(
        "%chatglm_check",
        description="Find out what the server really honours, with at most ten short requests.\n"
        "The conversation isn't sent, and nothing is recorded.",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the requests, send none")
    parser.add_argument("-o", "--out", metavar="NAME", help="also keep the result in this variable")
    parser.add_help_option()
    return parser


def _sweep_parser() -> Parser:
    from .sweep import sweep_parser

    return sweep_parser()


def _lens_parser() -> Parser:
    from .lens import lens_parser

    return lens_parser()


@magics_class
class ChatGLMMagics(Magics):
    """``%chatglm`` and its companions, for one session."""

    shell: Any

    def __init__(self, shell: Any, session: Session) -> None:
        super().__init__(shell)
        self._session = session
        self._server_switch = serve.ServerSwitch()
        self.shown_answers: list[Answer] = []
        """Answers that this run of the cell has already shown, whose display as ``Out[n]`` is suppressed."""
        self.ends_in_prompt_magic = self.in_cell = False
        session.settings.observe(self._probe_endpoint, names="endpoint_url")

    @with_help(lambda: ask.ask_parser("%chatglm"))
    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def chatglm(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Answer | None:
        """Send a prompt to the model; see ``%chatglm --help``."""
        refuse_keys(line)
        parser = ask.ask_parser("%chatglm" if cell is None else "%%chatglm")
        names = {**self.shell.user_ns, **(local_ns or {})}
        options, text = parse_options(parser, line, variables=names)
        if options.help:
            return self._print(ask.help_text(parser, self._session))
        if cell is not None:
            body = cell.rstrip("\n")
            text = f"{text}\n{body}" if text.strip() else body
        elif not text.strip():
            return self._show_card(ask.status_rows(self._session))
        if not text.strip():
            raise CommandError("%%chatglm needs a prompt: write it below the line. Nothing was sent.")
        out = ask.check_variable_name(options.out)
        prompt = ask.expand_prompt(text, names, raw=options.raw)
        values = ask.explicit_options(options)
        if options.dry_run:
            return self._print(ask.format_request(self._session, prompt, options, values))
        view = NoView() if options.quiet else choose_view(self.shell, options.format, stream=not options.no_stream)
        try:
            answer = self._session.ask(
                prompt, view=view, history=options.history is not False, record=not options.no_log, **values
            )
        finally:
            self._show_store_notices()
        if not options.quiet or self.ends_in_prompt_magic:
            self.shown_answers.append(answer)
        if out:
            self.shell.user_ns[out] = answer
        return answer

    @with_help(config.config_parser)
    @no_var_expand
    @line_magic
    def chatglm_config(self, line: str) -> None:
        """Show or set the session's parameters; see ``%chatglm_config --help``."""
        refuse_keys(line)
        parser = config.config_parser()
        options, rest = parse_options(parser, line)
        if options.help:
            return self._print(parser.format_help())
        if not rest.strip():
            groups = config.parameter_rows(self._session, everything=options.all)
            note = "" if options.all else "What isn't listed has its default: %chatglm_config --all"
            return self._publish(grouped_card(groups, note))
        if rest.split() == ["api_key"]:
            return self._prompt_for_key()
        return config.set_parameters(self._session, config.parse_assignments(rest, self.shell.user_ns))

    @with_help(serve.serve_parser)
    @no_var_expand
    @line_magic
    def chatglm_serve(self, line: str) -> None:
        """Start or stop the local server; see ``%chatglm_serve --help``."""
        refuse_keys(line)
        parser = serve.serve_parser()
        options, rest = parse_options(parser, line)
        if options.help:
            return self._print(parser.format_help())
        if options.stop:
            expect_no_operands(parser, rest)
            return self._print(self._server_switch.stop(self._session))
        return self._print(self._server_switch.start(self._session, serve.parse_model(rest)))

    @with_help(panel_parser)
    @no_var_expand
    @line_magic
    def chatglm_panel(self, line: str) -> None:
        """Show the panel; see ``%chatglm_panel --help``."""
        from ..widgets import panel

        parser = panel_parser()
        options, rest = parse_options(parser, line)
        expect_no_operands(parser, rest)
        if options.help:
            return self._print(parser.format_help())
        if not in_notebook(self.shell):
            return self._print("The panel needs a notebook. Here, use %chatglm PROMPT and %chatglm_config.")
        return self._show_widget(panel(self._session))

    @with_help(history.history_parser)
    @no_var_expand
    @line_magic
    def chatglm_history(self, line: str) -> None:
        """List, search and manage conversations; see ``%chatglm_history --help``."""
        refuse_keys(line)
        options = history.read_history_options(line)
        if options.help:
            return self._print(history.history_parser().format_help())
        if options.action == "--view" and in_notebook(self.shell):
            from ..widgets import history_viewer

            return self._show_widget(history_viewer(self._session))
        if options.action == "--view":
            return self._print("The viewer needs a notebook; here, %chatglm_history lists and --search finds.")
        if options.action == "--show" and in_notebook(self.shell):
            data, metadata = history.turn_bundle(history.find_turn(self._session, options))
            self.shell.display_pub.publish(data=data, metadata=metadata)
            return None
        try:
            return self._print(history.run_history_action(self._session, options))
        finally:
            self._show_store_notices()

    @with_help(_sweep_parser)
    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def chatglm_sweep(self, line: str, cell: str | None = None, local_ns: Any = None) -> Sweep | None:
        """Send a prompt over a grid of parameters; see ``%chatglm_sweep --help``."""
        from . import sweep

        refuse_keys(line)
        names = {**self.shell.user_ns, **(local_ns or {})}
        options = sweep.read_sweep_options(line, names)
        if options.help:
            return self._print(ask.help_text(sweep.sweep_parser(), self._session))
        result = sweep.run_sweep(self.shell, self._session, options, (cell or "").rstrip("\n"), names)
        return self._print(result) if isinstance(result, str) else result

    @with_help(_lens_parser)
    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def chatglm_lens(self, line: str, cell: str | None = None, local_ns: Any = None) -> Lens | None:
        """Show the next-token probabilities of one answer; see ``%chatglm_lens --help``."""
        from . import lens

        refuse_keys(line)
        names = {**self.shell.user_ns, **(local_ns or {})}
        result = lens.run_lens(self._session, line, names, (cell or "").rstrip("\n"))
        if result.lens is None:
            return self._print(result.text)
        if result.out:
            self.shell.user_ns[result.out] = result.lens
        return lens.show_lens(result)

    @with_help(check_parser)
    @no_var_expand
    @line_magic
    def chatglm_check(self, line: str) -> ServerCheck | None:
        """Find out what the server really honours; see ``%chatglm_check --help``."""
        refuse_keys(line)
        parser = check_parser()
        options, rest = parse_options(parser, line)
        expect_no_operands(parser, rest)
        if options.help:
            return self._print(parser.format_help())
        out = ask.check_variable_name(options.out)
        if options.dry_run:
            from ..session.check import describe_trials, plan_trials

            return self._print(describe_trials(plan_trials(self._session.llm)))
        check = self._session.check()
        if out:
            self.shell.user_ns[out] = check
        return check

    def shut_down(self) -> None:
        """Stop observing the session, and stop the local server if it runs."""
        self._session.settings.unobserve(self._probe_endpoint, names="endpoint_url")
        self._server_switch.stop(None)

    def _probe_endpoint(self, change: Any) -> None:
        """Probe an endpoint that a cell has set, unless it is our local server, and print the result.

        A panel probes by itself; its callbacks run between cells or in another thread.
        """
        set_by_cell = self.in_cell and threading.current_thread() is threading.main_thread()
        if set_by_cell and not self._server_switch.has_set(change["new"]):
            self._print(self._session.probe().text)

    def _prompt_for_key(self) -> None:
        from pydantic import SecretStr

        key = getpass.getpass("API key (not shown, not saved): ").strip()
        self._session.llm.api_key = SecretStr(key) if key else None
        self._print("The key is set for this endpoint." if key else "No key is set.")

    def _show_widget(self, widget: Any) -> None:
        data, metadata = self.shell.display_formatter.format(widget)
        if data:  # the panel shows itself
            self.shell.display_pub.publish(data=data, metadata=metadata)

    def _show_store_notices(self) -> None:
        """Show the store's new notices: where turns are saved, or why they can't be.

        Routine ones are left out of a notebook under test, since the path differs between machines.
        """
        for notice in self._session.store.take_notices():
            if not (notice.routine and is_final()):
                show_note(self.shell, notice)

    def _print(self, text: str) -> None:
        from ..render.text import write_escaped

        write_escaped(sys.stdout, text.rstrip("\n") + "\n")

    def _show_card(self, rows: dict[str, str]) -> None:
        self._publish(card(rows))

    def _publish(self, data: dict[str, str]) -> None:
        if in_notebook(self.shell):
            self.shell.display_pub.publish(data=data)
        else:
            self._print(data["text/plain"])
