"""Before a sweep sends anything: its grid, answers of an earlier one, and how much it would send."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from ..parameters import PARAMETERS, find_value
from ..render.text import plural
from ..session import resolve_session
from ..values import Turn
from .grid import build_grid
from .result import Sweep
from .runner import request_key
from .stats import is_missing
from .summary import describe_grid

if TYPE_CHECKING:
    from ..session import Session


UNSENT_PARAMETERS = tuple(
    r.name for r in PARAMETERS.values() if r.can_be_swept and not r.in_body and r.name != "dialect"
)
"""Parameters that are no part of a request: cells that differ in them alone ask the same, but are not the same."""


def reuse_answers(sweep: Sweep, other: Sweep) -> None:
    """Put the whole answers of another sweep to the very same requests into the cells of this one.

    :raises ChatGLMError: for a value that no server would take.
    """
    apart = [name for name in UNSENT_PARAMETERS if name in sweep.grid.axes]

    def key(turn: Turn) -> str:
        return json.dumps([request_key(turn), [turn.asked.get(name) for name in apart]], default=str)

    there: dict[str, list[Turn]] = {}
    for turn in other.partial:
        if turn.status == "complete":
            there.setdefault(key(turn), []).append(turn)
    plans = sweep.plan_requests()
    for number, cell in enumerate(sweep.partial.cells):
        found = there.get(key(plans.base(number, cell.prompt)), [])[: len(cell.turns)]
        cell.turns[: len(found)] = found
        cell.version += 1


def forecast(sweep: Sweep) -> str:
    """Say how many requests there are and at most how many tokens; nothing is sent.

    :raises ChatGLMError: for a value that no server would take, or an address that can't be asked.
    """
    plans = sweep.plan_requests()
    wanted = [sum(map(is_missing, cell.turns)) for cell in sweep.partial.cells]
    limits = [_token_limit(base) for base in plans.bases]
    asked = sum(wanted)
    lines = [describe_grid(sweep.partial), plural(asked, "request") + _describe_reused(sweep, asked)]
    found = [(count, limits[n % len(limits)]) for n, count in enumerate(wanted) if count]
    if any(limit is None for _, limit in found):
        lines.append("Tokens: no limit is set (max_token); the server's own holds.")
    elif found:
        most = sum(count * limit for count, limit in found if limit is not None)
        what = "prompt and answer together" if plans.bases[0].dialect == "chatglm" else "for the answers"
        lines.append(f"At most {most:,} tokens ({what})")
    if sweep.grid.samples > 1 and any(base.sent.get("seed") is not None for base in plans.bases):
        lines.append("A seed is set: the samples of a setting will be alike.")
    lines += dict.fromkeys(f"Changed: {what}" for base in plans.bases for what in base.changed)
    return "\n".join([*lines, "Nothing was sent."])


def _describe_reused(sweep: Sweep, asked: int) -> str:
    had = sweep.grid.requests - asked
    return f" ({had:,} of {sweep.grid.requests:,} are there already)" if had else ""


def _token_limit(base: Turn) -> int | None:
    found = find_value(base.sent, "max_token")
    return found if isinstance(found, int) else None


def prepare_sweep(
    prompt: str | Iterable[str],
    axes: dict[str, Any],
    *,
    samples: int,
    jobs: int,
    session: Session | None,
    resume: Sweep | str | Path | None,
) -> Sweep:
    """Return a sweep of which nothing is asked yet, with the answers that ``resume`` has for it."""
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ParameterError(f"jobs must be a positive whole number, not {jobs!r}.")
    result = Sweep(build_grid(prompt, axes, samples), resolve_session(session), jobs)
    if resume is not None:
        before = Sweep.load(resume) if isinstance(resume, str | Path) else resume
        if not isinstance(before, Sweep):
            raise ParameterError(f"resume is a sweep, or the .jsonl file of one, not {type(resume).__name__}.")
        reuse_answers(result, before)
    return result
