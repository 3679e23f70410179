"""Heat maps: where cells stand, what is printed, and colours that survive grey, dark themes and dull eyes."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from typing import Any

import pytest

from chatglm_magic.errors import ParameterError
from chatglm_magic.sweeps import LABELS, Sweep
from chatglm_magic.sweeps.grid import Grid
from chatglm_magic.sweeps.heatmap import build_tables, cell_text, share_colour
from chatglm_magic.values import Turn


def made(samples: int = 1, prompts: tuple[str, ...] = ("p",), **axes: Any) -> Sweep:
    """A sweep whose n-th cell has answers of n characters."""
    found = Sweep(Grid(prompts, {name: tuple(values) for name, values in axes.items()}, samples))
    for number, cell in enumerate(found.cells, 1):
        cell.turns[:] = [Turn(cell.prompt, "x" * number)] * samples
    return found


class Cells(HTMLParser):
    """What stands in each cell of a page's tables, with its style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.styles: list[str] = []
        self.tags: list[str] = []
        self._open = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        self._open = tag in ("td", "th")
        if self._open:
            self.rows[-1].append("")
            if tag == "td":
                self.styles.append(dict(attrs).get("style") or "")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in ("td", "th")


Rgb = tuple[float, float, float]

LIGHT, DARK, DIMMED = (255, 255, 255), (17, 17, 17), (30, 30, 30)
"""The grounds of JupyterLab's two themes, and of VS Code's dark one."""


def mixed(top: Rgb, opacity: float, ground: Rgb) -> Rgb:
    """Return what a colour that is not quite opaque looks like on a ground."""
    red, green, blue = (a * opacity + b * (1 - opacity) for a, b in zip(top, ground, strict=True))
    return red, green, blue


def seen(share: float, ground: Rgb) -> Rgb:
    """Return the colour of a share as it looks on a theme's ground."""
    *parts, opacity = map(float, share_colour(share).removeprefix("rgba(").rstrip(")").split(","))
    return mixed((parts[0], parts[1], parts[2]), opacity, ground)


def luminance(found: Rgb) -> float:
    """Return how light a colour is, 0 to 1."""
    parts = [part / 255 for part in found]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: Rgb, b: Rgb) -> float:
    """Return the contrast of two colours as WCAG defines it, 1 to 21."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_greatest_is_the_darkest_in_a_light_theme_and_the_brightest_in_a_dark_one() -> None:
    """In grey the order of the colours is that of the figures, and the greatest is farthest from the ground."""
    on_light = [luminance(seen(n / 200, LIGHT)) for n in range(201)]
    on_dark = [luminance(seen(n / 200, DARK)) for n in range(201)]
    assert all(a > b for a, b in itertools.pairwise(on_light))
    assert all(a < b for a, b in itertools.pairwise(on_dark))
    assert on_light[0] - on_light[-1] > 0.4 and on_dark[-1] - on_dark[0] > 0.1
    assert share_colour(-1) == share_colour(0) and share_colour(2) == share_colour(1)


@pytest.mark.parametrize(("ground", "text"), [(LIGHT, (0, 0, 0)), (DARK, LIGHT), (DIMMED, LIGHT)])
def test_what_is_written_in_a_cell_can_be_read(ground: Rgb, text: Rgb) -> None:
    """The answer and the greyer facts have a contrast of at least 4.5 with every colour, in every theme."""
    for n in range(501):
        tint = seen(n / 500, ground)
        assert contrast(tint, mixed(text, 0.87 if ground == LIGHT else 1.0, tint)) >= 4.5
        assert contrast(tint, mixed(text, 0.87 * 0.85 if ground == LIGHT else 0.85, tint)) >= 4.5
    assert contrast((0, 0, 0), LIGHT) == pytest.approx(21)


@pytest.mark.parametrize("values", [(37.4, 40, 43), (900, 950, 1000)])
def test_a_small_difference_is_not_stretched_over_all_colours(values: tuple[float, ...]) -> None:
    """Speeds from 37.4 to 43.0 look alike; a figure that doubles has all colours, and the least the faintest."""
    plot = made(temperature=[0.1, 0.5]).plot("length")
    plot.least, plot.most = values[0], values[-1]
    shares = [plot.colour_share(value) for value in values]
    assert 0.3 < shares[0] < shares[1] < shares[2] < 0.7
    plot.least, plot.most = 20.0, 40.0
    assert [plot.colour_share(value) for value in (20, 30, 40)] == [0, 0.5, 1]


def test_a_share_has_the_colour_of_its_place_between_0_and_1() -> None:
    """A diversity of 0.02 is no more than that, whatever the other cells have."""
    plot = made(2, temperature=[0.1, 0.5]).plot("diversity")
    plot.least, plot.most = 0.0, 0.02
    assert plot.colour_share(0.02) == 0.02 and plot.background(0.5) == share_colour(0.5)


def test_cells_stand_at_their_values() -> None:
    """Two axes: the first one down, the second one across; or the other way round."""
    sweep = made(temperature=[0.1, 0.5], top_p=[0.7, 0.8, 0.9])
    (table,) = build_tables(sweep)
    assert (table.row, table.column, table.title) == ("temperature", "top_p", "")
    assert [[dict(c.setting) for c in row] for row in table.cells] == [
        [{"temperature": t, "top_p": p} for p in (0.7, 0.8, 0.9)] for t in (0.1, 0.5)
    ]
    (turned,) = build_tables(sweep, rows="top_p")
    assert (turned.row, turned.column) == ("top_p", "temperature")
    assert [c.setting["temperature"] for c in turned.cells[0]] == [0.1, 0.5]
    (across,) = build_tables(sweep, columns="temperature")
    assert (across.row, across.column) == ("top_p", "temperature")


def test_further_axes_become_small_multiples() -> None:
    """One map for each value of a third axis, and for each pair with a fourth; fixed values make none."""
    sweep = made(temperature=[0.1, 0.5], top_p=[0.7, 0.9], max_token=[5, 6], model=["a", "b"], seed=[1])
    found = build_tables(sweep)
    assert [table.title for table in found] == [
        f"max_token {n} · model {m}" for n, m in ((5, "a"), (5, "b"), (6, "a"), (6, "b"))
    ]
    for table in found:
        assert {
            f"max_token {c.setting['max_token']} · model {c.setting['model']}" for r in table.cells for c in r
        } == {table.title}
    assert len({id(cell) for table in found for row in table.cells for cell in row}) == len(sweep.cells) == 16


def test_prompts_are_an_axis() -> None:
    """Several prompts stand one below the other."""
    (table,) = build_tables(made(prompts=("p", "q"), temperature=[0.1, 0.5]))
    assert (table.row, table.rows, table.column) == ("prompt", ("p", "q"), "temperature")


@pytest.mark.parametrize(
    ("axes", "rows", "columns"),
    [({}, ("",), ("",)), ({"seed": [1]}, ("",), ("",)), ({"seed": [1, 2]}, ("",), (1, 2))],
)
def test_one_axis_is_a_row_and_none_is_a_cell(axes: Any, rows: Any, columns: Any) -> None:
    """There is something to see all the same."""
    (table,) = build_tables(made(**axes))
    assert (table.rows, table.columns) == (rows, columns)
    assert made(**axes).plot().html() and made(**axes).plot().text()


def test_values_that_python_takes_for_equal_stay_apart() -> None:
    """1 and True are two cells."""
    (table,) = build_tables(made(flag=[1, True]))
    assert len({id(cell) for cell in table.cells[0]}) == 2


def test_the_number_is_printed_in_each_cell_with_its_colour() -> None:
    """The least is the faintest, the most the strongest; the heads name the values."""
    sweep = made(temperature=[0.1, 0.5], top_p=[0.7, 0.9])
    page = Cells(sweep.plot("length").html())
    assert page.rows == [["", "top_p"], ["temperature", "0.7", "0.9"], ["0.1", "1", "2"], ["0.5", "3", "4"]]
    tiles = [style for style in page.styles if "rgba" in style]
    assert f"background:{share_colour(0)}" in tiles[0] and f"background:{share_colour(1)}" in tiles[3]
    assert "script" not in page.tags and "svg" not in page.tags


def test_one_scale_is_used_for_all_small_multiples() -> None:
    """The same figure has the same colour in each of them."""
    sweep = made(temperature=[0.1, 0.5], top_p=[0.7, 0.9], seed=[1, 2])
    plot = sweep.plot("length")
    assert (plot.least, plot.most) == (1, 8)


def test_one_value_alone_has_the_colour_of_the_middle() -> None:
    """Neither the least nor the most, and there is no scale to explain."""
    plot = made(temperature=[0.1]).plot("length")
    assert plot.least == plot.most == 1
    assert plot.background(1) == share_colour(0.5) and "aria-hidden" not in plot.html()


def test_a_figure_that_is_not_defined_is_an_empty_cell() -> None:
    """Diversity of one sample, or of no answer yet: a dash on no ground, and no error."""
    sweep = made(temperature=[0.1, 0.5])
    page = Cells(sweep.plot("diversity").html())
    assert page.rows[-1][1:] == ["–", "–"] and not any("background:rgba" in style for style in page.styles)
    sweep.cells[0].turns[0] = None
    sweep.cells[0].version += 1
    assert Cells(sweep.plot("length").html()).rows[-1][1:] == ["–", "2"]


@pytest.mark.parametrize("figure", LABELS)
def test_every_figure_can_be_drawn(figure: str) -> None:
    """As HTML and as text."""
    plot = made(2, temperature=[0.1, 0.5]).plot(figure)
    assert LABELS[figure].split(" (")[0] in plot.html() and LABELS[figure] in plot.text()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"figure": "lenght"}, "There are: diversity"),
        ({"rows": "top_k"}, "no axis top_k"),
        ({"rows": "temperature", "columns": "temperature"}, "both the rows and the columns"),
    ],
)
def test_a_plot_of_what_is_not_there_is_refused(how: dict[str, str], says: str) -> None:
    """With what there is."""
    with pytest.raises(ParameterError, match=says):
        made(temperature=[0.1, 0.5]).plot(**how)


def test_diversity_is_drawn_by_default_and_length_for_single_samples() -> None:
    """One answer has no diversity."""
    assert made(2, temperature=[1]).plot().figure == "diversity"
    assert made(1, temperature=[1]).plot().figure == "length"


# --- what is written in a cell ---------------------------------------------------------------------------------


def filled(*answers: str | None) -> Sweep:
    """A sweep of one cell with these answers; None for a request that failed."""
    found = Sweep(Grid(("p",), {"temperature": (1.0,)}, len(answers)))
    found.cells[0].turns[:] = [
        Turn("p", text, finish_reason="stop") if text is not None else Turn("p", status="error", error="no route")
        for text in answers
    ]
    return found


@pytest.mark.parametrize(
    ("answers", "answer", "facts"),
    [
        (("red", "red", "red"), "red", "3 × the same · 3 chars"),
        (("blue", "red", "red"), "red", "2 of 3 different · avg 3 chars"),
        (("a", "bb", "ccc"), "a", "all different · avg 2 chars"),
        (("red",), "red", "3 chars"),
        (("red", None), "red", "3 chars"),
    ],
)
def test_equal_answers_are_counted(answers: tuple[str | None, ...], answer: str, facts: str) -> None:
    """A cell shows its most frequent answer, and how many of its answers are different."""
    sweep = filled(*answers)
    assert cell_text(sweep.cells[0], sweep.plot())[2:] == (answer, facts)


def test_a_cell_of_failures_says_why() -> None:
    """The word, the count, and the reason in the place of an answer."""
    sweep = filled(None, None)
    assert cell_text(sweep.cells[0], sweep.plot()) == ("", "✕ failed 2 of 2", "no route", "")


def test_a_saved_grid_has_the_answers() -> None:
    """Without a kernel each cell still shows its figure, its answer and its facts; of very many cells, numbers."""
    page = filled("<b>red</b>", "<b>red</b>")._repr_html_()
    assert "0.00" in page and "&lt;b&gt;red&lt;/b&gt;" in page and "2 × the same" in page
    large = made(seed=range(101))._repr_html_()
    assert "101 cells, the first 100 are listed." in large and large.count("chars") == 0
