"""``sweep`` and ``lens`` as people call them: ask, and show what the notebook can show."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lenses import Lens, ask_lens
from .lenses.logprobs_kind import LogprobsOption
from .render.front_ends import current_shell, has_front_end, in_notebook, is_final
from .render.views import mark_displayed
from .session.draft import View
from .sweeps import Sweep
from .sweeps.control import DEFAULT_JOBS
from .sweeps.prepare import prepare_sweep

if TYPE_CHECKING:
    from .session import Session


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
        A name that isn't a field of ``ChatGLM`` is a key of the request's body.
    :param samples: answers for each prompt with each setting, from 1.
    :param jobs: questions under way at once, from 1.
    :param show: in a notebook, display the explorer and return at once; whatever reads the answers waits for
        them. If False, without a notebook, and where no front end watches the notebook (nbconvert, papermill,
        nbval): return when the sweep has ended.
    :param resume: a sweep, or a file of one: whole answers of it to the very same requests are not asked again.
    :raises ParameterError: before anything is asked, for what can't be asked.
    :raises Interrupted: for an interrupt, which stops the sweep; ``chatglm_magic.sweeps.last()`` is what came.
    """
    result = prepare_sweep(prompt, axes, samples=samples, jobs=jobs, session=session, resume=resume)
    result.resume(wait=False)
    display_running_sweep(result, show=show)
    return result


def lens(
    prompt: str,
    session: Session | None = None,
    top: int | None = None,
    *,
    history: bool = False,
    record: bool = True,
    show: bool = True,
    view: View | None = None,
    vocabulary: int | None = None,
    logprobs: LogprobsOption = "auto",
    **options: Any,
) -> Lens:
    """Ask once, and return the answer with the probabilities of its tokens.

    :param show: in a notebook, show sliders that re-shape them without asking again.

    The other parameters, and what is raised, are those of :func:`chatglm_magic.lenses.asked`.
    """
    chosen: dict[str, Any] = {
        "history": history,
        "record": record,
        "view": view,
        "vocabulary": vocabulary,
        "logprobs": logprobs,
    }
    found = ask_lens(prompt, session, top, **chosen, **options)
    if show:
        display_widget(found)
    return found


def display_running_sweep(sweep: Sweep, *, show: bool = True) -> None:
    """Display a running sweep in the running cell, and wait for its end unless somebody watches the notebook.

    :raises Interrupted: for an interrupt while it waits, which stops the sweep.
    """
    watched = has_front_end(current_shell())
    if watched and show and display_widget(sweep):
        return
    sweep.wait()
    if show and not watched:
        display_widget(sweep)  # with all answers: what runs the notebook saves it as it is now


def display_widget(value: Sweep | Lens) -> bool:
    """Display a value's widgets in the running cell, where there can be any; tell whether that was done.

    ``CHATGLM_MAGIC_RENDER=final`` wants each output to be the same in every run: static ones are.
    """
    if is_final() or not in_notebook(current_shell()) or importlib.util.find_spec("ipywidgets") is None:
        return False
    from .widgets import lens_explorer, sweep_explorer

    box = sweep_explorer(value) if isinstance(value, Sweep) else lens_explorer(value)
    box._ipython_display_()
    mark_displayed(value)
    return True
