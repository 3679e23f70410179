"""What a page's typesetter gets to read of our outputs and widgets: formulas of answers, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets as w
import pytest

from chatglm_magic import Session
from chatglm_magic.lenses import Lens
from chatglm_magic.magics.history import turn_bundle
from chatglm_magic.render.answers import card, live_html, mime_bundle
from chatglm_magic.render.outer import disable_typesetting, html_output
from chatglm_magic.sweeps import Sweep
from chatglm_magic.sweeps.grid import Grid
from chatglm_magic.values import Candidate, Change, TokenLogprobs, Turn
from chatglm_magic.widgets import lens_explorer, panel
from chatglm_magic.widgets.look import Html, Typeset
from chatglm_magic.widgets.transcript import Transcript

from .support.explorers import open_explorer
from .support.markup import read_typeset_text
from .support.panels import walk_widgets
from .support.viewers import open_viewer

TRAP = r"$\unicode[x;background:url(http://127.0.0.1:9/)]{65}$"
TURN = Turn(
    prompt=TRAP,
    answer=r"One $\alpha$ and 5 $.",
    reasoning=TRAP,
    status="incomplete",
    error=TRAP,
    model=TRAP,
    system=TRAP,
    finish_reason=TRAP,
    changed=(Change(TRAP),),
    asked={"system": TRAP},
    endpoint=TRAP,
    created="2026-01-01T12:00:00+00:00",
    id=f"{1:032x}",
    conversation="0123456789ab",
)


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """A session whose history has the turn."""
    monkeypatch.setenv("CHATGLM_MAGIC_HOME", str(tmp_path))
    session = Session()
    session.store.add([(TURN, 0)])
    yield session
    session.close()


def read_widget(box: Any) -> str:
    """Return what a typesetter reads of all HTML in a widget, but for its style sheets."""
    parts = list(walk_widgets(box))
    values = [part.value for part in parts if isinstance(part, w.HTML | w.HTMLMath)]
    messages = [message for part in parts if isinstance(part, Transcript) for message in part.all_messages]
    # The page puts all of a message's blocks into an element that is closed to typesetters.
    values += [f'<div class="mathjax_ignore">{"".join(message.blocks)}</div>' for message in messages]
    assert any(TRAP.replace("$", "") in value for value in values), "the trap is shown"
    return "".join(read_typeset_text(value) for value in values if not value.startswith("<style>"))


def make_sweep() -> Sweep:
    """Return a sweep that has ended with the turn."""
    sweep = Sweep(Grid((TRAP,), {"system": (TRAP, "b")}, 1))
    sweep.cells[0].turns[0] = TURN
    return sweep


def make_lens() -> Lens:
    """Return a lens whose tokens are traps."""
    return Lens.from_turn(
        TURN, [TokenLogprobs(Candidate(TRAP, -0.1), (Candidate(TRAP, -0.1), Candidate("b", -3.0)))] * 2, 2
    )


@pytest.mark.row("X1")
def test_the_typesetter_of_the_test_reads_what_stands_open() -> None:
    """The control: the same text in plain HTML, and in a widget of ipywidgets' own."""
    assert read_typeset_text(f"<div><p>{TRAP}</p></div>") == TRAP
    assert read_typeset_text(w.HTMLMath(f"<b>{TRAP}</b>").value) == TRAP
    assert read_typeset_text(f'<p class="mathjax_ignore">{TRAP}<b class="mathjax_process">$x$</b></p>') == "$x$"


@pytest.mark.row("X1")
def test_no_output_has_other_formulas_than_an_answers(session: Session) -> None:
    """Cells, ``--show``, the status card, lists, sweeps, heat maps and lenses."""
    sweep = make_sweep()
    answers = [mime_bundle(TURN)[0], turn_bundle(TURN)[0], html_output("", live_html(TURN.answer, TRAP, TRAP))]
    assert [read_typeset_text(data["text/html"]) for data in answers] == [r"$\alpha$"] * 3
    others = [card({TRAP: TRAP})["text/html"], session.history.filter(conversation=None)._repr_html_()]
    others += [sweep._repr_html_(), sweep.plot()._repr_html_(), make_lens()._repr_html_()]
    assert ["unicode" in html for html in others] == [True] * 5
    assert [read_typeset_text(html) for html in others] == [""] * 5


@pytest.mark.row("X1")
def test_no_widget_has_other_formulas_than_an_answers(session: Session) -> None:
    """Viewer, panel, sweep explorer and lens."""
    session.resume(TURN.conversation)
    shown = panel(session)
    pages = [
        disable_typesetting("".join(message.blocks)) for message in shown.transcript.all_messages
    ]  # as the page does
    assert [read_typeset_text(page) for page in pages] == ["", r"$\alpha$"]
    assert all(TRAP.replace("$", "") in page for page in pages), "the trap is shown"
    with open_viewer(session=session) as viewer:
        viewer.type("Show", "all turns")
        viewer.open(viewer.lines[0])
        assert read_widget(viewer.box) == r"$\alpha$"
    with open_explorer(make_sweep()) as explorer:
        explorer.open(explorer.tiles[0].title)
        assert read_widget(explorer.box) == r"$\alpha$"
    assert read_widget(lens_explorer(make_lens())) == ""


@pytest.mark.parametrize("kind", [Html, Typeset])
def test_a_widget_closes_whatever_it_is_given(kind: type[w.HTML]) -> None:
    """At its making and later; nothing stays nothing."""
    shown = kind(f"<b>{TRAP}</b>")
    assert read_typeset_text(shown.value) == "" and TRAP in shown.value
    shown.value = f"<i>{TRAP}</i>"
    assert read_typeset_text(shown.value) == "" and "<i>" in shown.value
    shown.value = ""
    assert shown.value == ""
