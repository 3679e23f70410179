"""Loads the extension into a shell, and unloads it completely."""

from __future__ import annotations

import re
import sys
from functools import cached_property
from typing import Any

from ..render.front_ends import captured_outputs, in_notebook
from ..render.views import closing_line
from ..session import get_session
from ..session.session import end_session
from ..values import Answer
from . import input_transforms
from .magics import ChatGLMMagics

ENDS_IN_PROMPT_MAGIC = re.compile(r"(?:\A\s*%%chatglm\b|(?:\A|\n)[ \t]*%chatglm\b[^\n]*\s*\Z)")
"""A cell whose value is the answer returned by the magic, not a variable that holds it."""


class Extension:
    """Everything that loading changes in a shell, and how to undo it."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.session = get_session(shell)
        self.magics = ChatGLMMagics(shell, self.session)
        self._run_number = self._depth = 0
        self._replaced_magics: dict[tuple[str, str], Any] = {}

    def load(self) -> None:
        """Register the magics, input transformers, events, settings, display formatters and completion."""
        shell = self.shell
        self._report_replaced_magics()
        shell.register_magics(self.magics)
        input_transforms.install_transforms(shell)
        shell.events.register("pre_run_cell", self._start_run)
        shell.events.register("post_run_cell", self._end_run)
        shell.configurables.append(self.session.settings)
        self._update_formatters(add=True)
        if getattr(shell, "Completer", None) is not None:
            shell.Completer.custom_matchers.append(self._matcher)

    def unload(self) -> None:
        """Undo :meth:`load`; end the loop thread, the local server and the session."""
        shell = self.shell
        self.magics.shut_down()
        for kind, names in self.magics.magics.items():
            for name in names:
                shell.magics_manager.magics[kind].pop(name, None)
        shell.magics_manager.registry.pop(type(self.magics).__name__, None)
        for (kind, name), other in self._replaced_magics.items():
            shell.magics_manager.magics[kind][name] = other
        input_transforms.remove_transforms(shell)
        shell.events.unregister("pre_run_cell", self._start_run)
        shell.events.unregister("post_run_cell", self._end_run)
        for ours in (self.session.settings, self.magics):  # IPython registers the magics itself
            if ours in shell.configurables:
                shell.configurables.remove(ours)
        self._update_formatters(add=False)
        if getattr(shell, "Completer", None) is not None and self._matcher in shell.Completer.custom_matchers:
            shell.Completer.custom_matchers.remove(self._matcher)
        end_session()
        if "chatglm_magic.client.loop" in sys.modules:
            from ..client.loop import LOOP

            LOOP.stop()

    def _report_replaced_magics(self) -> None:
        """Report which magics of other packages are replaced until the extension is unloaded."""
        names = ((kind, name) for kind, magics in self.magics.magics.items() for name in magics)
        for kind, name in names:
            other = self.shell.magics_manager.magics[kind].get(name)
            module = getattr(other, "__module__", "") or ""
            if other is None or module.startswith("chatglm_magic"):
                continue
            self._replaced_magics[kind, name] = other
            sign = "%" if kind == "line" else "%%"
            sys.stderr.write(
                f"{sign}{name} of {module or 'another package'} is replaced; "
                "%unload_ext chatglm_magic brings it back.\n"
            )

    def _start_run(self, info: Any) -> None:
        self._depth += 1
        self.magics.in_cell = True
        if self._depth > 1:  # %%capture and similar magics run the rest of the cell as a nested cell
            return
        self._run_number += 1
        if self._run_number == 1:
            input_transforms.mark_loaded(self.shell)
        self.magics.ends_in_prompt_magic = bool(ENDS_IN_PROMPT_MAGIC.search(info.raw_cell or ""))
        self.magics.shown_answers.clear()
        self.session.cell = (getattr(info, "cell_id", None), self._run_number)

    def _end_run(self, result: Any) -> None:
        self._depth = max(0, self._depth - 1)
        self.magics.in_cell = self._depth > 0
        if self.magics.shown_answers and (captured := captured_outputs(self.shell)) is not None:
            # IPython adds an empty output for a value that is already displayed.
            captured[:] = [output for output in captured if output["data"]]

    def _update_formatters(self, *, add: bool) -> None:
        """Add or remove the formatters of an ``Answer``; one that this run has shown isn't shown twice."""
        display = self.shell.display_formatter
        registry = [
            (display.formatters["text/plain"], self._print_pretty),
            (display.mimebundle_formatter, self._mime_bundle),
        ]
        if in_notebook(self.shell):
            registry.append((display.ipython_display_formatter, self._suppress_output))
        for formatter, function in registry:
            if add:
                formatter.for_type(Answer, function)
            else:
                formatter.pop(Answer, None)

    def _is_shown(self, answer: Answer) -> bool:
        return any(answer is shown for shown in self.magics.shown_answers)

    def _suppress_output(self, answer: Answer) -> None:
        if not self._is_shown(answer):
            raise NotImplementedError  # IPython then uses the other formatters, with an Out[n]

    def _mime_bundle(self, answer: Answer) -> tuple[dict[str, Any], dict[str, Any]] | None:
        if not in_notebook(self.shell):
            return None
        from ..render.answers import mime_bundle

        return mime_bundle(answer.turn)

    def _print_pretty(self, answer: Answer, printer: Any, cycle: bool) -> None:
        """Print an answer, or only its footer if the answer has been streamed to the terminal."""
        from ..render.text import escape_controls, escape_unencodable

        if len(printer.stack) > 1:
            printer.text(escape_unencodable(str.__repr__(answer), sys.stdout))
        elif not in_notebook(self.shell) and self._is_shown(answer):
            printer.text(escape_unencodable(escape_controls(closing_line(answer.turn)), sys.stdout))
        else:
            printer.text(escape_unencodable(escape_controls(str(answer)), sys.stdout))

    @cached_property
    def _matcher(self) -> Any:
        """The matcher for IPython's completer, whose module is slow to import."""
        from .completion import make_matcher

        return make_matcher(self.shell)


_extensions: dict[int, Extension] = {}


def load_extension(shell: Any) -> None:
    """Load the extension into a shell, once."""
    if id(shell) not in _extensions:
        extension = Extension(shell)
        extension.load()
        _extensions[id(shell)] = extension


def unload_extension(shell: Any) -> None:
    """Unload the extension from a shell."""
    extension = _extensions.pop(id(shell), None)
    if extension is not None:
        extension.unload()
