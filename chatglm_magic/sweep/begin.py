"""``sweep``: asks prompts over a grid of parameters."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ParameterError
from ..session import get_session
from .control import DEFAULT_JOBS
from .grid import grid
from .result import Sweep
from .showing import live

if TYPE_CHECKING:
    from ..session import Session

_last: list[Sweep] = []


def sweep(
    prompt: str | Iterable[str],
    *,
    samples: int = 1,
    jobs: int = DEFAULT_JOBS,
    show: bool = True,
    session: Session | None = None,
    resume: Sweep | str | Path | None = None,
    **axes: Any,
) -> Sweep:
    """Ask a prompt, or each of several, at every combination of parameters; the conversation is left alone.

    .. code-block:: python

        result = sweep("Name a colour.", temperature=[0.1, 0.5, 1.0], top_p="0.5:0.9:5", samples=4)

    :param axes: any parameter: a list of values, ``"a:b:n"`` for n evenly spaced numbers, or one value for all.
        A name that is no field of ``ChatGLM`` is a key of the request's body.
    :param samples: answers for each prompt with each setting, from 1.
    :param jobs: questions under way at once, from 1.
    :param show: in a notebook, show the explorer and return at once; ``wait()`` waits. False, and where there
        is no notebook: return when all is asked.
    :param resume: a sweep, or a file of one: whole answers of it to the very same requests are not asked again.
    :raises ParameterError: before anything is asked, for what can't be asked.
    :raises Interrupted: for an interrupt, which stops the sweep; ``chatglm_magic.sweep.last()`` is what came.
    """
    result = prepared(prompt, axes, samples=samples, jobs=jobs, session=session, resume=resume)
    started(result)
    if not (show and live(result)):
        result.wait()
    return result


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
    result = Sweep(grid(prompt, axes, samples), session or get_session(), jobs)
    if resume is not None:
        from .taking import take_over

        take_over(result, Sweep.load(resume) if isinstance(resume, str | Path) else resume)
    return result


def started(result: Sweep) -> None:
    """Begin to ask what a sweep lacks."""
    _last[:] = [result]
    result.resume(wait=False)


def last() -> Sweep | None:
    """Return the sweep that was begun last, which an interrupt keeps from being returned."""
    return _last[0] if _last else None
