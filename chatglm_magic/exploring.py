"""``sweep`` and ``lens`` as people call them: ask, and show what the notebook can show."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lenses import Lens, asked
from .render.once import mark, shell
from .render.views import in_notebook
from .session.draft import View
from .sweeps import Sweep
from .sweeps.begin import prepared
from .sweeps.control import DEFAULT_JOBS

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
        A name that is no field of ``ChatGLM`` is a key of the request's body.
    :param samples: answers for each prompt with each setting, from 1.
    :param jobs: questions under way at once, from 1.
    :param show: in a notebook, show the explorer and return at once; ``wait()`` waits. False, and where there
        is no notebook: return when all is asked.
    :param resume: a sweep, or a file of one: whole answers of it to the very same requests are not asked again.
    :raises ParameterError: before anything is asked, for what can't be asked.
    :raises Interrupted: for an interrupt, which stops the sweep; ``chatglm_magic.sweeps.last()`` is what came.
    """
    result = prepared(prompt, axes, samples=samples, jobs=jobs, session=session, resume=resume)
    result.resume(wait=False)
    if not (show and shown(result)):
        result.wait()
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
    **options: Any,
) -> Lens:
    """Ask once, and return the answer with the probabilities of its tokens.

    :param show: in a notebook, show sliders that re-shape them without asking again.

    The other parameters, and what is raised, are those of :func:`chatglm_magic.lenses.asked`.
    """
    found = asked(
        prompt, session, top, history=history, record=record, view=view, vocabulary=vocabulary, **options
    )
    if show:
        shown(found)
    return found


def shown(value: Sweep | Lens) -> bool:
    """Show a value's widgets in the running cell, where there can be any; tell whether that was done.

    ``CHATGLM_MAGIC_RENDER=final`` wants each output to be the same in every run: static ones are.
    """
    final = os.environ.get("CHATGLM_MAGIC_RENDER") == "final"
    if final or not in_notebook(shell()) or importlib.util.find_spec("ipywidgets") is None:
        return False
    from .widgets import explorer, lens_box

    box = explorer(value) if isinstance(value, Sweep) else lens_box(value)
    box._ipython_display_()
    mark(value)
    return True
