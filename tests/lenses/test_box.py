"""The lens as widgets: what its sliders and tokens do, without a request."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import ipywidgets as w
import pytest
from ipywidgets.widgets.widget import _instances

from chatglm_magic import Lens, lens
from chatglm_magic.widgets import lens_explorer
from chatglm_magic.widgets.lens_box import LensBox
from chatglm_magic.widgets.lens_box.view import MAX_UNSCROLLED_TOKENS

from ..support.logprobs import LlamaServer, make_entry, make_event, open_session, stream_events
from ..support.panels import send_to, set_traits, walk_widgets

HALVES = [("Red", math.log(0.5)), ("Blue", math.log(0.3)), ("Green", math.log(0.2))]
SURE = [("!", math.log(0.98)), ("?", math.log(0.02))]


def seen(*places: list[tuple[str, float]], **options: float) -> tuple[Lens, LlamaServer]:
    """Return a lens of an answer that has the first candidate at each place, and its server, which has ended."""
    entries = [make_entry(top[0], top) for top in places]
    script = stream_events(make_event("".join(top[0][0] for top in places), *entries))
    with LlamaServer(script) as server:
        found = lens("Which <b>colour</b>?", open_session(server.url + "v1"), vocabulary=len(places[0]), **options)
    return found, server


@pytest.fixture
def box() -> Iterator[LensBox]:
    found, _ = seen(SURE, HALVES, SURE)
    shown = lens_explorer(found)
    yield shown
    shown.close()


def marks(box: LensBox) -> list[str]:
    return list(box.view.marks)


def test_it_opens_where_there_was_most_to_choose_from(box: LensBox) -> None:
    """The second token's candidates are shown with their probabilities, the question's text is inert."""
    assert box.index == 1 and "Red" in box.candidates.value and "50.0 %" in box.candidates.value
    assert "Position 2" in box.heading.value and "1.49 bits, open like a choice among ~3" in box.heading.value
    assert "&lt;b&gt;colour&lt;/b&gt;" in box.children[1].value


def test_the_temperature_re_shapes_and_top_p_cuts() -> None:
    """Both sliders change the figures, what does not survive is marked, and the server hears of nothing."""
    found, server = seen(HALVES)
    box = lens_explorer(found)
    box.view.temperature = 0.5
    assert "65.8 %" in box.candidates.value and "temperature 0.5" in box.candidates.value
    box.view.top_p = 0.6
    assert box.candidates.value.count(">cut<") == 2 and "top_p 0.6 keeps 1 token" in box.candidates.value
    box.view.top_p = 1
    assert ">cut<" not in box.candidates.value and "keeps" not in box.candidates.value
    assert len(server.posts) == 1
    box.close()


def test_the_sliders_begin_where_the_answer_was_drawn() -> None:
    """What was asked is shown first, and is what reset leads back to."""
    found, _ = seen(HALVES, temperature=1.5, top_p=0.9)
    box = lens_explorer(found)
    assert (box.view.temperature, box.view.top_p) == (1.5, 0.9)
    assert [(slider["name"], slider["asked"]) for slider in box.view.sliders] == [
        ("temperature", 1.5),
        ("top_p", 0.9),
    ]
    box.close()


@pytest.mark.parametrize(
    ("name", "value", "taken"), [("temperature", 11, 10), ("temperature", -1, 0), ("top_p", 1.5, 1)]
)
def test_a_value_out_of_range_is_not_taken(box: LensBox, name: str, value: float, taken: float) -> None:
    """The page refuses it; of one that sends it all the same the limit is taken."""
    set_traits(box.view, **{name: value})
    assert getattr(box.view, name) == taken and box.status.value == ""


def test_a_token_that_is_chosen_opens_its_distribution(box: LensBox) -> None:
    """So do the buttons for the one before and the one after, which end where the answer ends."""
    set_traits(box.view, index=0)
    assert box.index == 0 and "98.0 %" in box.candidates.value and box.previous.disabled
    box.next.click()
    box.next.click()
    assert box.index == 2 and box.next.disabled and "Position 3" in box.heading.value
    box.select_position(99)
    assert box.index == 2


def test_a_token_that_is_pointed_at_is_shown_while_it_is(box: LensBox) -> None:
    """The pointer shows a token's candidates, and leaves the chosen one as it was."""
    set_traits(box.view, pointed=0)
    assert "98.0 %" in box.candidates.value and "Position 1" in box.heading.value and box.index == 1
    set_traits(box.view, pointed=-1)
    assert "50.0 %" in box.candidates.value and "Position 2" in box.heading.value
    set_traits(box.view, pointed=0)
    box.next.click()
    assert "Position 3" in box.heading.value, "what was chosen last is shown, though the pointer rests"


def test_a_tokens_shade_is_its_openness(box: LensBox) -> None:
    """A token with more entropy has a stronger shade; at temperature 0 none has any."""
    assert marks(box) == ["0-0", "3-3", "0-0"]
    assert box.view.tips[1].count("<tr>") == 3 and "open like a choice among ~3" in box.view.tips[1]
    box.view.temperature = 0
    assert marks(box) == ["0-0"] * 3 and "temperature 0 keeps 1 token" in box.candidates.value


def test_each_stage_is_a_column_of_bars_and_the_cut_a_line() -> None:
    """The model's own, after temperature, after top_p; the line comes after the last candidate that is kept."""
    found, _ = seen(HALVES)
    box = lens_explorer(found)
    box.view.temperature, box.view.top_p = 2.0, 0.7
    table = box.candidates.value
    heads = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table)
    assert heads == ["token", "model", "temperature 2", "top_p 0.7"]
    rows = re.findall(r"<tr.*?</tr>", table, re.DOTALL)[1:]
    assert [row.count("linear-gradient") for row in rows] == [3, 3, 0, 2]
    assert "top_p 0.7 keeps 2 tokens" in rows[2] and "border-top" in rows[2]
    box.close()


def test_a_long_answer_is_whole_and_scrolls() -> None:
    """Each of more than 100 tokens is there, in a part of the page that scrolls; a short answer does not."""
    found, _ = seen(*[SURE] * (MAX_UNSCROLLED_TOKENS + 5))
    box = lens_explorer(found)
    assert box.view.html.count("data-n=") == MAX_UNSCROLLED_TOKENS + 5 and "chatglm-long" in box.view.html
    box.select_position(MAX_UNSCROLLED_TOKENS + 3)
    assert f"Position {MAX_UNSCROLLED_TOKENS + 4}" in box.heading.value
    box.close()
    found, _ = seen(*[SURE] * MAX_UNSCROLLED_TOKENS)
    box = lens_explorer(found)
    assert "chatglm-long" not in box.view.html
    box.close()


def test_the_answer_reads_as_prose() -> None:
    """Blanks and line ends are what they are in the answer, with a sign for a line's end; no token is apart."""
    tokens = [("A", 0.0), (" b", 0.0), ("\n", 0.0), ("c.", 0.0)]
    found, _ = seen(*[[token] for token in tokens])
    box = lens_explorer(found)
    plain = unescape(re.sub(r"<[^>]+>", "", box.view.html))
    assert plain == "A b⏎\nc."
    box.close()


def test_where_the_module_is_not_shown_there_are_plain_sliders(box: LensBox) -> None:
    """They move the same values; once the page shows the module they are gone."""
    plain = [widget for widget in walk_widgets(box) if isinstance(widget, w.FloatSlider)]
    plain[0].value = 0.5
    assert [slider.description for slider in plain] == ["temperature", "top_p"]
    assert box.view.temperature == 0.5 and "temperature 0.5" in box.candidates.value
    send_to(box.view, ready=True)
    assert not [widget for widget in walk_widgets(box) if isinstance(widget, w.FloatSlider)]


def test_what_a_model_says_is_inert() -> None:
    """A token is escaped text in the answer, in what is said of it, and in the table."""
    found, _ = seen([("<img src=x onerror=alert(1)>", math.log(0.6)), ("\u202eevil", math.log(0.4))])
    box = lens_explorer(found)
    for page in (box.candidates.value, box.heading.value, box.view.html, *box.view.tips):
        assert "<img" not in page and "\u202e" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in box.view.html
    box.close()


def test_an_error_in_a_callback_is_told(box: LensBox) -> None:
    """It is a line with its details in the box, not a line in a log."""

    def fail(change: Any) -> None:
        raise IndexError("out of it")

    box.candidates.observe(fail, names="value")
    set_traits(box.view, index=0)
    assert "chatglm-failed" in box.status.value and "IndexError" in box.status.value


def test_closing_closes_every_part() -> None:
    """No widget of it is left in the kernel."""
    found, _ = seen(HALVES)
    before = len(_instances)
    box = lens_explorer(found)
    assert len(_instances) > before
    box.close()
    assert len(_instances) == before
