"""Prepare a sweep: its grid, the answers of an earlier sweep, and an estimate of the requests."""

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
from .runner import turn_request_key
from .stats import is_missing
from .summary import describe_grid

if TYPE_CHECKING:
    from ..session import Session


UNSENT_PARAMETERS = tuple(
    r.name for r in PARAMETERS.values() if r.can_be_swept and not r.in_body and r.name != "dialect"
)
"""Parameters that aren't sent: cells that differ only in them send the same request, but are distinct."""


def reuse_answers(sweep: Sweep, other: Sweep) -> None:
    """Copy another sweep's complete answers to the same requests into the cells of this one.

    :raises ChatGLMError: for a value that no server accepts.
    """
    unsent = [name for name in UNSENT_PARAMETERS if name in sweep.grid.axes]

    def key(turn: Turn) -> str:
        return json.dumps([turn_request_key(turn), [turn.asked.get(name) for name in unsent]], default=str)

    available: dict[str, list[Turn]] = {}
    for turn in other.partial:
        if turn.status == "complete":
            available.setdefault(key(turn), []).append(turn)
    plans = sweep.plan_requests()
    for number, cell in enumerate(sweep.partial.cells):
        turns = available.get(key(plans.base(number, cell.prompt)), [])[: len(cell.turns)]
        cell.turns[: len(turns)] = turns
        cell.version += 1


def forecast(sweep: Sweep) -> str:
    """Describe how many requests and at most how many tokens a sweep needs; nothing is sent.

    :raises ChatGLMError: for a value that no server accepts, or an invalid endpoint.
    """
    plans = sweep.plan_requests()
    missing = [sum(map(is_missing, cell.turns)) for cell in sweep.partial.cells]
    limits = [_token_limit(base) for base in plans.bases]
    requests = sum(missing)
    lines = [describe_grid(sweep.partial), plural(requests, "request") + _describe_reused(sweep, requests)]
    pairs = [(count, limits[n % len(limits)]) for n, count in enumerate(missing) if count]
    if any(limit is None for _, limit in pairs):
        lines.append("Tokens: no limit is set (max_token); the server default applies.")
    elif pairs:
        most = sum(count * limit for count, limit in pairs if limit is not None)
        what = "prompt and answer together" if plans.bases[0].dialect == "chatglm" else "for the answers"
        lines.append(f"At most {most:,} tokens ({what})")
    if sweep.grid.samples > 1 and any(base.sent.get("seed") is not None for base in plans.bases):
        lines.append("A seed is set: the samples of a setting will be alike.")
    lines += dict.fromkeys(f"Changed: {what}" for base in plans.bases for what in base.changed)
    return "\n".join([*lines, "Nothing was sent."])


def _describe_reused(sweep: Sweep, requests: int) -> str:
    reused = sweep.grid.requests - requests
    return f" ({reused:,} of {sweep.grid.requests:,} are there already)" if reused else ""


def _token_limit(base: Turn) -> int | None:
    limit = find_value(base.sent, "max_token")
    return limit if isinstance(limit, int) else None


def prepare_sweep(
    prompt: str | Iterable[str],
    axes: dict[str, Any],
    *,
    samples: int,
    jobs: int,
    session: Session | None,
    resume: Sweep | str | Path | None,
) -> Sweep:
    """Return a new sweep with the matching answers of ``resume``; nothing is sent."""
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise ParameterError(f"jobs must be a positive whole number, not {jobs!r}.")
    result = Sweep(build_grid(prompt, axes, samples), resolve_session(session), jobs)
    if resume is not None:
        earlier = Sweep.load(resume) if isinstance(resume, str | Path) else resume
        if not isinstance(earlier, Sweep):
            raise ParameterError(f"resume is a sweep, or the .jsonl file of one, not {type(resume).__name__}.")
        reuse_answers(result, earlier)
    return result
