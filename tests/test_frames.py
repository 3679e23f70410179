"""How often an answer under way is shown anew: the more it costs, the seldomer."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from chatglm_magic.render.bundle import counted, footer
from chatglm_magic.render.views import BYTES_PER_SECOND, FRAME, RENDERS, Throttle
from chatglm_magic.values import Turn


@pytest.mark.parametrize(
    ("size", "took", "length"),
    [(BYTES_PER_SECOND, 0.0, 10**9), (10, 1 / RENDERS, 10**9), (600 * 1024, 0.0, 100)],
    ids=["large", "slow", "again and again"],
)
def test_a_costly_frame_keeps_the_next_one_waiting(size: int, took: float, length: int) -> None:
    """One of 256 KiB or of a tenth of a second for a second; a cheap one for a twelfth of one."""
    costly, cheap = Throttle(), Throttle()
    assert costly.ready() and cheap.ready()
    costly.spent(size, took, length)
    cheap.spent(10, 0.0, length)
    assert not costly.ready() and not cheap.ready()
    threading.Event().wait(1.5 * FRAME)
    assert cheap.ready() and not costly.ready()


@pytest.mark.parametrize("tokens", [None, "7", 7.5, -1, 2**53, 10**400, [], {}])
def test_a_count_that_makes_no_sense_is_none(tokens: Any) -> None:
    """A server may say anything; nothing of it stands in the line below an answer."""
    turn = Turn("q", "a", usage={"completion_tokens": tokens})
    assert counted(turn) == 0 and "tokens" not in footer(turn)
    assert counted(Turn("q", usage={"completion_tokens": 2**53 - 1})) == 2**53 - 1
    assert "7 tokens" in footer(Turn("q", usage={"completion_tokens": 7}))
