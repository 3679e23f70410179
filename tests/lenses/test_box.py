"""The lens as widgets: what its sliders and tokens do, without a request."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from ipywidgets.widgets.widget import _instances

from chatglm_magic import Lens, lens
from chatglm_magic.widgets import lens_explorer
from chatglm_magic.widgets.lens_box import LensBox
from chatglm_magic.widgets.lens_box.strip import PAGE

from ..support.logprobs import LlamaServer, make_entry, make_event, open_session, stream_events

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


def test_it_opens_where_there_was_most_to_choose_from(box: LensBox) -> None:
    """The second token's candidates are shown with their probabilities, the question's text is inert."""
    assert box.index == 1 and "Red" in box.bars.value and "50.0 %" in box.bars.value
    assert "&lt;b&gt;colour&lt;/b&gt;" in box.children[1].value
    assert "chatglm-open" in box.strip.tokens[1]._dom_classes


def test_the_temperature_re_shapes_and_top_p_cuts() -> None:
    """Both sliders change the figures, what does not survive is marked, and the server hears of nothing."""
    found, server = seen(HALVES)
    box = lens_explorer(found)
    box.temperature.slider.value = 0.5
    assert box.temperature.number.value == 0.5 and "65.8 %" in box.bars.value
    box.top_p.number.value = 0.6
    assert box.top_p.slider.value == 0.6 and box.bars.value.count(">cut<") == 2
    box.top_p.reset.click()
    assert ">cut<" not in box.bars.value
    assert len(server.posts) == 1


def test_the_sliders_begin_where_the_answer_was_drawn() -> None:
    """What was asked is shown first, and reset leads back to it; a high temperature widens its slider."""
    found, _ = seen(HALVES, temperature=1.5, top_p=0.9)
    box = lens_explorer(found)
    assert box.temperature.value == 1.5 and box.top_p.value == 0.9
    box.temperature.number.value = 8
    assert box.temperature.slider.value == box.temperature.slider.max == 8
    box.temperature.reset.click()
    assert box.temperature.value == box.temperature.slider.value == 1.5


def test_a_token_that_is_clicked_opens_its_distribution(box: LensBox) -> None:
    """So do the buttons for the one before and the one after, which end where the answer ends."""
    box.strip.tokens[0].click()
    assert box.index == 0 and "98.0 %" in box.bars.value and box.earlier.disabled
    box.later.click()
    box.later.click()
    assert box.index == 2 and box.later.disabled
    assert [("chatglm-open" in token._dom_classes) for token in box.strip.tokens] == [False, False, True]


def test_the_strip_marks_how_much_there_is_to_choose_from(box: LensBox) -> None:
    """A token with more entropy has a higher mark; at temperature 0 none has any."""

    def marks() -> list[str]:
        return [next(c for c in t._dom_classes if c.startswith("chatglm-low-")) for t in box.strip.tokens]

    assert marks() == ["chatglm-low-0", "chatglm-low-1", "chatglm-low-0"]
    assert box.strip.tokens[1].tooltip == "1.49 bits"
    box.temperature.number.value = 0
    assert marks() == ["chatglm-low-0"] * 3 and "100 %" in box.bars.value


def test_a_long_answer_is_shown_a_page_at_a_time() -> None:
    """The widgets do not grow with the answer, and the last token can be reached from the first page."""
    found, _ = seen(*[SURE] * (PAGE + 5))
    box = lens_explorer(found)
    assert len(box.strip.tokens) == PAGE
    box.strip.later.click()
    assert box.strip.first == PAGE and box.strip.later.disabled
    assert sum(token.layout.display is None for token in box.strip.tokens) == 5
    box.look_at(3)
    assert box.strip.first == 0 and "chatglm-open" in box.strip.tokens[3]._dom_classes


def test_what_a_model_says_is_inert() -> None:
    """A token is text on a button and escaped in the table."""
    found, _ = seen([("<img src=x onerror=alert(1)>", math.log(0.6)), ("\u202eevil", math.log(0.4))])
    box = lens_explorer(found)
    assert "<img" not in box.bars.value and "\u202e" not in box.bars.value
    assert box.strip.tokens[0].description.startswith("<img")


def test_an_error_in_a_callback_is_told(box: LensBox) -> None:
    """It is a line with its details in the box, not a line in a log."""
    box._found = ()
    box.strip.tokens[0].click()
    assert "chatglm-failed" in box.status.value and "IndexError" in box.status.value


def test_closing_closes_every_part() -> None:
    """No widget of it is left in the kernel."""
    found, _ = seen(HALVES)
    before = len(_instances)
    box = lens_explorer(found)
    assert len(_instances) > before
    box.close()
    assert len(_instances) == before
