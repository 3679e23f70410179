"""How much a sweep would ask for, before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..parameters import value_in
from ..values import Turn
from .showing import shape
from .stats import missing

if TYPE_CHECKING:
    from .result import Sweep


def forecast(sweep: Sweep) -> str:
    """Say how many requests there are and at most how many tokens; nothing is sent.

    :raises ChatGLMError: for a value that no server would take, or an address that can't be asked.
    """
    plans = sweep.plans()
    wanted = [sum(map(missing, cell.turns)) for cell in sweep.partial.cells]
    limits = [_limit(base) for base in plans.bases]
    asked = sum(wanted)
    lines = [shape(sweep.partial), f"{asked:,} request{'s' * (asked != 1)}" + _had(sweep, asked)]
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


def _had(sweep: Sweep, asked: int) -> str:
    had = sweep.grid.requests - asked
    return f" ({had:,} of {sweep.grid.requests:,} are there already)" if had else ""


def _limit(base: Turn) -> int | None:
    found = value_in(base.sent, "max_token")
    return found if isinstance(found, int) else None
