"""The functions ``sweep`` and ``lens``: send the requests and display the result in the notebook."""

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
    """Send one or several prompts with every combination of parameters, outside the conversation.

    .. code-block:: python

        result = sweep("Name a colour.", temperature=[0.1, 0.5, 1.0], top_p="0.5:0.9:5", samples=4)

    :param axes: any parameter: a list of values, ``"a:b:n"`` for n evenly spaced numbers, or a single value.
        A name that isn't a field of ``ChatGLM`` is a key of the request body.
    :param samples: answers per prompt and combination, at least 1.
    :param jobs: maximum number of concurrent requests, at least 1.
    :param show: in a notebook, display the explorer and return at once; reading an answer waits for it. If False,
        without a notebook, or without a front end (nbconvert, papermill, nbval), return when the sweep has ended.
    :param resume: a sweep, or a file of one, whose complete answers to identical requests are reused.
    :raises ParameterError: before anything is sent, for invalid parameters.
    :raises Interrupted: after an interrupt, which stops the sweep; ``chatglm_magic.sweeps.last()`` returns it.
    """
    result = prepare_sweep(prompt, axes, samples=samples, jobs=jobs, session=session, resume=resume)
    run_and_display(result, show=show)
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
    """Send a prompt once; return the answer with the probabilities of its tokens.

    :param show: in a notebook, display sliders that reshape the probabilities without another request.

    The other parameters and the errors are those of :func:`chatglm_magic.lenses.ask_lens`.
    """
    explicit: dict[str, Any] = {
        "history": history,
        "record": record,
        "view": view,
        "vocabulary": vocabulary,
        "logprobs": logprobs,
    }
    result = ask_lens(prompt, session, top, **explicit, **options)
    if show:
        display_widget(result)
    return result


def run_and_display(sweep: Sweep, *, show: bool = True) -> None:
    """Start a sweep and display it in the current cell; without a front end, wait until it has ended.

    :raises Interrupted: after an interrupt, which stops the sweep.
    """
    with sweep.stop_on_interrupt():
        sweep.resume(wait=False)
        is_watched = has_front_end(current_shell())
        if is_watched and show and display_widget(sweep):
            return
        sweep.wait()
        if show and not is_watched:
            display_widget(sweep)  # with all answers, because the notebook is saved in this state


def display_widget(value: Sweep | Lens) -> bool:
    """Display a value's widget in the current cell if possible; return whether it was displayed.

    With ``CHATGLM_MAGIC_RENDER=final``, every output must be the same in every run, so it is static.
    """
    if is_final() or not in_notebook(current_shell()) or importlib.util.find_spec("ipywidgets") is None:
        return False
    from .widgets import lens_explorer, sweep_explorer

    box = sweep_explorer(value) if isinstance(value, Sweep) else lens_explorer(value)
    box._ipython_display_()
    mark_displayed(value)
    return True
