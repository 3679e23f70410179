"""How far a sweep is, as a bar and in words."""

from __future__ import annotations

from ...render.answers import escape
from ...sweeps.cells import Progress


def told(progress: Progress) -> str:
    """Say how much is there, what failed, and how long the rest will take."""
    parts = [f"{progress.done} of {progress.total} answers"]
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    if progress.left is not None:
        parts.append(f"about {_time(progress.left)} left")
    return " · ".join(parts)


def bar(progress: Progress) -> str:
    """Return safe HTML; a screen reader finds the bar and is not told of each answer.

    It is full only when nothing is under way, also while failures are asked again.
    """
    came = min(progress.done + progress.failed, progress.total - progress.pending)
    width = 100 * came / progress.total
    words = escape(told(progress))
    return (
        f'<div class="chatglm-progress" role="progressbar" aria-label="Answers" aria-valuemin="0" '
        f'aria-valuemax="{progress.total}" aria-valuenow="{came}" aria-valuetext="{words}">'
        f'<div style="width:{width:.1f}%"></div></div><div class="chatglm-small">{words}</div>'
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
