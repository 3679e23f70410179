"""How often an answer under way is shown anew: the more it costs, the seldomer."""

from __future__ import annotations

import io
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from chatglm_magic.render.answers import completion_tokens, footer
from chatglm_magic.render.status_line import TerminalStatusLine
from chatglm_magic.render.views import BYTES_PER_SECOND, FRAME_SECONDS, RENDER_TIME_FACTOR, CellView, Throttle
from chatglm_magic.session.draft import Draft
from chatglm_magic.sweeps.cells import Progress
from chatglm_magic.values import Turn
from chatglm_magic.widgets.explorer.box import describe_outcome, progress_html


@pytest.mark.parametrize(
    ("size", "took", "length"),
    [(BYTES_PER_SECOND, 0.0, 10**9), (10, 1 / RENDER_TIME_FACTOR, 10**9), (600 * 1024, 0.0, 100)],
    ids=["large", "slow", "again and again"],
)
def test_a_costly_frame_keeps_the_next_one_waiting(size: int, took: float, length: int) -> None:
    """One of 256 KiB or of a tenth of a second for a second; a cheap one for a twelfth of one."""
    costly, cheap = Throttle(), Throttle()
    assert costly.is_ready() and cheap.is_ready()
    costly.record_frame(size, took, length)
    cheap.record_frame(10, 0.0, length)
    assert not costly.is_ready() and not cheap.is_ready()
    threading.Event().wait(1.5 * FRAME_SECONDS)
    assert cheap.is_ready() and not costly.is_ready()


@pytest.mark.parametrize("tokens", [None, "7", 7.5, -1, 2**53, 10**400, [], {}])
def test_a_count_that_makes_no_sense_is_none(tokens: Any) -> None:
    """A server may say anything; nothing of it stands in the line below an answer."""
    turn = Turn("q", "a", usage={"completion_tokens": tokens})
    assert completion_tokens(turn) == 0 and "tokens" not in footer(turn)
    assert completion_tokens(Turn("q", usage={"completion_tokens": 2**53 - 1})) == 2**53 - 1
    assert "7 tokens" in footer(Turn("q", usage={"completion_tokens": 7}))


@pytest.mark.parametrize(("done", "failed", "came", "width"), [(0, 0, 0, 0), (3, 2, 5, 50), (10, 0, 10, 100)])
def test_the_bar_of_a_sweep_counts_what_failed_too(done: int, failed: int, came: int, width: int) -> None:
    """It is full when nothing more will come; the words say how much of it is an answer."""
    page = progress_html(Progress(10, done, failed, 0, 1.0, None))
    assert f'aria-valuenow="{came}"' in page and f"width:{width:.1f}%" in page and 'aria-valuemax="10"' in page
    assert f"{done} of 10 answers" in page and ("failed" in page) is bool(failed)


@pytest.mark.parametrize(
    ("progress", "words", "is_error"),
    [
        (Progress(48, 48, 0, 0, 31.4, None, spent=31.4), "48 answers · 31 s", False),
        (Progress(48, 45, 3, 0, 31.4, None, spent=31.4), "45 of 48 answers · 3 failed · 31 s", False),
        (Progress(48, 0, 48, 0, 1.0, None, spent=1.0), "All 48 requests failed · 1.0 s", True),
        (Progress(48, 30, 0, 0, 9.0, None, spent=9.0), "Stopped at 30 of 48", False),
        (Progress(48, 30, 2, 0, 9.0, None, spent=9.0), "Stopped at 30 of 48 · 2 failed", False),
        (Progress(48, 30, 0, 0, 0.0, None), "30 of 48 answers", False),
        (Progress(1, 0, 1, 0, 0.0, None), "1 request failed", True),
    ],
)
def test_a_sweep_that_is_over_says_how_it_ended(progress: Progress, words: str, is_error: bool) -> None:
    """How many answers in what time, where it was stopped, and an error where everything failed."""
    assert describe_outcome(progress) == (words, is_error)


class Publisher:
    """Stands for a cell's outputs: keeps what each message would make of them."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.data: dict[str, str] = {}

    def publish(self, data: dict[str, str], **options: Any) -> None:
        """Take in a display or an update."""
        self.data = data
        self.shown.append(data["text/plain"])


def cell_view() -> tuple[CellView, Publisher]:
    publisher = Publisher()
    return CellView(SimpleNamespace(display_pub=publisher)), publisher


def test_a_cell_says_how_long_it_has_waited_or_thought() -> None:
    """For the first token, then for the answer behind the thinking; not in the first second, and not twice."""
    view, publisher = cell_view()
    view.refresh(Draft(Turn("q")))
    assert publisher.shown == []
    draft = Draft(Turn("q"), started=time.monotonic() - 4.2)
    view.refresh(draft)
    view.refresh(draft)
    assert publisher.shown == ["Waiting for the first token… 4 s"]
    thinking, publisher = cell_view()
    draft.add_chunk("", {"reasoning": "Let me see."})
    draft.started -= 9
    thinking.refresh(draft)
    assert publisher.shown == ["Thinking… 9 s"] and "Let me see." in publisher.data["text/html"]
    writing, publisher = cell_view()
    draft.add_chunk("Yes.", {})
    writing.refresh(draft)
    assert publisher.shown == ["Yes."] and "9 s" not in publisher.data["text/html"]


def test_a_wait_that_ends_in_an_error_leaves_nothing_to_see() -> None:
    """The error has an output of its own; a turn without one, or with some text, is displayed."""
    for turn, left in ((Turn("q", status="error", error="gone"), ""), (Turn("q", "ye", status="error"), "ye")):
        view, publisher = cell_view()
        view.refresh(Draft(Turn("q"), started=time.monotonic() - 4.2))
        view.close(turn)
        assert publisher.shown[-1].startswith(left) and bool(publisher.data["text/html"]) is bool(left)


def test_the_line_of_a_terminal_is_written_over_and_taken_away() -> None:
    """Also one that is longer than the terminal is wide, of wide characters; a file gets nothing of it."""
    stream = io.StringIO()
    line = TerminalStatusLine(stream, is_terminal=True)
    line.show("Waiting… 10 s")
    line.show("Done")
    line.clear()
    assert stream.getvalue() == "\rWaiting… 10 s\rDone         \r    \r"
    line.show("等" * 300)
    assert 1 < len(stream.getvalue().rpartition("\r")[2]) < 80
    file = io.StringIO()
    TerminalStatusLine(file).show("Waiting…")
    assert file.getvalue() == ""
