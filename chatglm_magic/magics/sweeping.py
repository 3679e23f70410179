"""What ``%%chatglm_sweep`` does with its parsed line: prepares, asks for leave, begins, shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ChatGLMError, CommandError
from ..session import Session
from . import asking
from .sweep_line import SEE, SweepOrder

if TYPE_CHECKING:
    from ..sweeps import Sweep

FREE = 200
"""Requests that a cell may send without ``--yes``."""


def run(shell: Any, session: Session, order: SweepOrder, body: str, local_ns: Mapping[str, Any]) -> Sweep | str:
    """Do what a line says; return the sweep, or for ``--dry-run`` what to print.

    The variable of ``-o`` is set before the first question, so that an interrupt loses nothing.

    :raises ChatGLMError: for a sweep that can't be asked, or is too large to be asked by accident.
    :raises Interrupted: for an interrupt; what came is kept.
    """
    from ..exploring import present

    names = {**shell.user_ns, **local_ns}
    out = asking.variable_name(order.out)
    sweep = _prepared(session, order, body, names)
    if order.dry_run:
        from ..sweeps.forecast import forecast

        return forecast(sweep)
    count = sweep.missing()
    if count > FREE and not order.yes:
        raise CommandError(
            f"this would ask {count:,} times; --yes does it, --dry-run says how many tokens that may be"
        )
    if out:
        shell.user_ns[out] = sweep
    sweep.resume(wait=False)
    present(sweep)
    return sweep


def _prepared(session: Session, order: SweepOrder, body: str, names: Mapping[str, Any]) -> Sweep:
    from ..sweeps.begin import prepared
    from ..sweeps.control import DEFAULT_JOBS

    before = _named(order.resume, names) if order.resume else None
    text = f"{order.prompt}\n{body}" if order.prompt.strip() and body else order.prompt or body
    if before is not None and not text.strip():
        if order.axes or order.samples > 1 or order.jobs is not None:
            raise CommandError(
                "--resume with parameters, -n or -j needs the prompt too; alone it goes on with that sweep"
            )
        return before
    if not text.strip():
        raise CommandError(f"there is no prompt: write it below the line {SEE}")
    prompt, jobs = asking.prompt_of(text, names, raw=order.raw), order.jobs or DEFAULT_JOBS
    return prepared(prompt, order.axes, samples=order.samples, jobs=jobs, session=session, resume=before)


def _named(name: str, names: Mapping[str, Any]) -> Sweep:
    """Return the sweep of a variable, or of a file.

    :raises ChatGLMError: if there is none.
    """
    from ..sweeps import Sweep

    found = names.get(name)
    if isinstance(found, Sweep):
        return found
    if name.endswith(".jsonl"):
        return Sweep.load(name)
    what = "is no sweep" if name in names else "does not exist"
    raise ChatGLMError(f"--resume {name}: that variable {what}; name one, or a .jsonl file.", kind="not_found")
