"""Loads the extension into a shell, and takes it out again without a trace."""

from __future__ import annotations

import re
import sys
from typing import Any

from ..render.front_ends import captured_outputs, in_notebook
from ..render.views import closing_line
from ..session import get_session
from ..session.session import end_session
from ..values import Answer
from . import input_transforms
from .magics import ChatGLMMagics

ENDS_IN_QUESTION = re.compile(r"(?:\A\s*%%chatglm\b|(?:\A|\n)[ \t]*%chatglm\b[^\n]*\s*\Z)")
"""A cell whose last value is the answer of the magic itself, not a variable that holds it."""


class Extension:
    """All that loading changes in one shell, with what is needed to undo it."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.session = get_session(shell)
        self.magics = ChatGLMMagics(shell, self.session)
        self._run = self._depth = 0
        self._before: dict[tuple[str, str], Any] = {}

    def load(self) -> None:
        """Register magics, transformers, completion, events, display formatters and the settings."""
        shell = self.shell
        self._announce_others()
        shell.register_magics(self.magics)
        input_transforms.install(shell)
        shell.events.register("pre_run_cell", self._new_run)
        shell.events.register("post_run_cell", self._run_ended)
        shell.configurables.append(self.session.settings)
        self._formatters(add=True)
        if getattr(shell, "Completer", None) is not None:
            shell.Completer.custom_matchers.append(self._complete)

    def unload(self) -> None:
        """Undo all of it; end the loop's thread, the local server and the session."""
        shell = self.shell
        self.magics.end()
        for kind, names in self.magics.magics.items():
            for name in names:
                shell.magics_manager.magics[kind].pop(name, None)
        shell.magics_manager.registry.pop(type(self.magics).__name__, None)
        for (kind, name), other in self._before.items():
            shell.magics_manager.magics[kind][name] = other
        input_transforms.remove(shell)
        shell.events.unregister("pre_run_cell", self._new_run)
        shell.events.unregister("post_run_cell", self._run_ended)
        for ours in (self.session.settings, self.magics):  # IPython has added the magics by itself
            if ours in shell.configurables:
                shell.configurables.remove(ours)
        self._formatters(add=False)
        if getattr(shell, "Completer", None) is not None and self._complete in shell.Completer.custom_matchers:
            shell.Completer.custom_matchers.remove(self._complete)
        end_session()
        if "chatglm_magic.client.loop" in sys.modules:
            from ..client.loop import LOOP

            LOOP.stop()

    def _announce_others(self) -> None:
        """Say which magics of other packages ours take the place of; unloading brings them back."""
        names = ((kind, name) for kind, all_ in self.magics.magics.items() for name in all_)
        for kind, name in names:
            other = self.shell.magics_manager.magics[kind].get(name)
            module = getattr(other, "__module__", "") or ""
            if other is None or module.startswith("chatglm_magic"):
                continue
            self._before[kind, name] = other
            sign = "%" if kind == "line" else "%%"
            sys.stderr.write(
                f"{sign}{name} of {module or 'another package'} is replaced; "
                "%unload_ext chatglm_magic brings it back.\n"
            )

    def _new_run(self, info: Any) -> None:
        self._depth += 1
        self.magics.in_cell = True
        if self._depth > 1:  # %%capture and the like run the rest of the cell as a cell of its own
            return
        self._run += 1
        if self._run == 1:
            input_transforms.end_loading(self.shell)
        self.magics.ends_in_question = bool(ENDS_IN_QUESTION.search(info.raw_cell or ""))
        self.magics.shown.clear()
        self.session.cell = (getattr(info, "cell_id", None), self._run)

    def _run_ended(self, result: Any) -> None:
        self._depth = max(0, self._depth - 1)
        self.magics.in_cell = self._depth > 0
        if self.magics.shown and (captured := captured_outputs(self.shell)) is not None:
            # IPython adds an empty output for a value that is displayed already.
            captured[:] = [output for output in captured if output["data"]]

    def _formatters(self, *, add: bool) -> None:
        """Show an ``Answer`` as an answer; what this run has just shown is not shown twice."""
        display = self.shell.display_formatter
        registry = [
            (display.formatters["text/plain"], self._pretty),
            (display.mimebundle_formatter, self._bundle),
        ]
        if in_notebook(self.shell):
            registry.append((display.ipython_display_formatter, self._swallow))
        for formatter, function in registry:
            if add:
                formatter.for_type(Answer, function)
            else:
                formatter.pop(Answer, None)

    def _was_shown(self, answer: Answer) -> bool:
        return any(answer is shown for shown in self.magics.shown)

    def _swallow(self, answer: Answer) -> None:
        if not self._was_shown(answer):
            raise NotImplementedError  # IPython then goes on to the other formatters, with an Out[n]

    def _bundle(self, answer: Answer) -> tuple[dict[str, Any], dict[str, Any]] | None:
        if not in_notebook(self.shell):
            return None
        from ..render.answers import mime_bundle

        return mime_bundle(answer.turn)

    def _pretty(self, answer: Answer, printer: Any, cycle: bool) -> None:
        """A terminal has written ``Out[n]:`` before it asks: after a streamed answer its footer goes there."""
        from ..render.text import escape_controls, escape_unencodable

        if len(printer.stack) > 1:
            printer.text(escape_unencodable(str.__repr__(answer), sys.stdout))
        elif not in_notebook(self.shell) and self._was_shown(answer):
            printer.text(escape_unencodable(escape_controls(closing_line(answer.turn)), sys.stdout))
        else:
            printer.text(escape_unencodable(escape_controls(str(answer)), sys.stdout))

    @property
    def _complete(self) -> Any:
        """The completer's matcher; made on first use, its module takes a while to import."""
        if not hasattr(self, "_matcher"):
            from .completion import make_matcher

            self._matcher = make_matcher(self.shell)
        return self._matcher


_loaded: dict[int, Extension] = {}


def load(shell: Any) -> None:
    """Load the extension into a shell, once."""
    if id(shell) not in _loaded:
        extension = Extension(shell)
        extension.load()
        _loaded[id(shell)] = extension


def unload(shell: Any) -> None:
    """Take the extension out of a shell."""
    extension = _loaded.pop(id(shell), None)
    if extension is not None:
        extension.unload()
