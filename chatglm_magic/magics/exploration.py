"""The magics that explore: ``%%chatglm_sweep`` and ``%chatglm_lens``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class, needs_local_scope, no_var_expand

from ..session import Session
from .helping import helped
from .nokeys import refuse_keys

if TYPE_CHECKING:
    from ..lenses import Lens
    from ..sweeps import Sweep


def _sweep_help() -> str:
    from .sweep_line import HELP

    return HELP


def _lens_help() -> str:
    from .lensing import lens_parser

    return lens_parser().format_help()


@magics_class
class ExploringMagics(Magics):
    """What asks outside the conversation, to learn about the model."""

    shell: Any

    def __init__(self, shell: Any, session: Session) -> None:
        super().__init__(shell)
        self._session = session

    @helped(_sweep_help)
    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def chatglm_sweep(self, line: str, cell: str | None = None, local_ns: Any = None) -> Sweep | None:
        """Ask over a grid of parameters; see ``%chatglm_sweep --help``."""
        from . import sweep_line, sweeping

        refuse_keys(line)
        order = sweep_line.read(line)
        if order.help:
            return self._print(sweep_line.HELP)
        body = (cell or "").rstrip("\n")
        found = sweeping.run(self.shell, self._session, order, body, local_ns or {})
        return self._print(found) if isinstance(found, str) else found

    @helped(_lens_help)
    @needs_local_scope
    @no_var_expand
    @line_cell_magic
    def chatglm_lens(self, line: str, cell: str | None = None, local_ns: Any = None) -> Lens | None:
        """Ask once and look at the probabilities; see ``%chatglm_lens --help``."""
        from . import lensing

        refuse_keys(line)
        names = {**self.shell.user_ns, **(local_ns or {})}
        seen = lensing.run(self._session, line, names, (cell or "").rstrip("\n"))
        if seen.lens is None:
            return self._print(seen.text)
        if seen.out:
            self.shell.user_ns[seen.out] = seen.lens
        return lensing.show(seen)

    def _print(self, text: str) -> None:
        from ..render.terminal import visible

        sys.stdout.write(visible(text).rstrip("\n") + "\n")
