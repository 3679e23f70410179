"""Beginning a sweep: the grid, what an earlier one has of it, the first questions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from ..session import session_of
from .grid import grid
from .result import Sweep

if TYPE_CHECKING:
    from ..session import Session


def prepared(
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
        raise ParameterError(f"jobs must be a whole number from 1 on, not {jobs!r}.")
    result = Sweep(grid(prompt, axes, samples), session_of(session), jobs)
    if resume is not None:
        from .taking import take_over

        before = Sweep.load(resume) if isinstance(resume, str | Path) else resume
        if not isinstance(before, Sweep):
            raise ParameterError(f"resume is a sweep, or the .jsonl file of one, not {type(resume).__name__}.")
        take_over(result, before)
    return result
