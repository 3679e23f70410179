"""Heat maps: where cells stand, what is printed, and colours that survive grey, dark themes and dull eyes."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from typing import Any

import pytest

from chatglm_magic.errors import ParameterError
from chatglm_magic.sweeps import LABELS, Sweep
from chatglm_magic.sweeps.grid import Grid
from chatglm_magic.sweeps.heatmap import colour, contrast, css, ink, luminance, tables
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


def test_lightness_falls_all_the_way() -> None:
    """In grey the order of the colours is the order of the figures."""
    steps = [luminance(colour(n / 200)) for n in range(201)]
    assert all(a > b for a, b in itertools.pairwise(steps)) and steps[0] > 0.85 and steps[-1] < 0.05
    assert colour(-1) == colour(0) and colour(2) == colour(1)


def test_the_number_in_every_cell_can_be_read() -> None:
    """A contrast of 4.5 at least with the cell's own ground, whatever the theme."""
    assert min(contrast(colour(n / 500), ink(colour(n / 500))) for n in range(501)) >= 4.5
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)


def test_cells_stand_at_their_values() -> None:
    """Two axes: the first one down, the second one across; or the other way round."""
    sweep = made(temperature=[0.1, 0.5], top_p=[0.7, 0.8, 0.9])
    (table,) = tables(sweep)
    assert (table.row, table.column, table.title) == ("temperature", "top_p", "")
    assert [[dict(c.setting) for c in row] for row in table.cells] == [
        [{"temperature": t, "top_p": p} for p in (0.7, 0.8, 0.9)] for t in (0.1, 0.5)
    ]
    (turned,) = tables(sweep, rows="top_p")
    assert (turned.row, turned.column) == ("top_p", "temperature")
    assert [c.setting["temperature"] for c in turned.cells[0]] == [0.1, 0.5]
    (across,) = tables(sweep, columns="temperature")
    assert (across.row, across.column) == ("top_p", "temperature")


def test_further_axes_become_small_multiples() -> None:
    """One map for each value of a third axis, and for each pair with a fourth; fixed values make none."""
    sweep = made(temperature=[0.1, 0.5], top_p=[0.7, 0.9], max_token=[5, 6], model=["a", "b"], seed=[1])
    found = tables(sweep)
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
    (table,) = tables(made(prompts=("p", "q"), temperature=[0.1, 0.5]))
    assert (table.row, table.rows, table.column) == ("prompt", ("p", "q"), "temperature")


@pytest.mark.parametrize(
    ("axes", "rows", "columns"),
    [({}, ("",), ("",)), ({"seed": [1]}, ("",), ("",)), ({"seed": [1, 2]}, ("",), (1, 2))],
)
def test_one_axis_is_a_row_and_none_is_a_cell(axes: Any, rows: Any, columns: Any) -> None:
    """There is something to see all the same."""
    (table,) = tables(made(**axes))
    assert (table.rows, table.columns) == (rows, columns)
    assert made(**axes).plot().html() and made(**axes).plot().text()


def test_values_that_python_takes_for_equal_stay_apart() -> None:
    """1 and True are two cells."""
    (table,) = tables(made(flag=[1, True]))
    assert len({id(cell) for cell in table.cells[0]}) == 2


def test_the_number_is_printed_in_each_cell_with_its_colour() -> None:
    """The least is lightest, the most darkest; the heads name the values."""
    sweep = made(temperature=[0.1, 0.5], top_p=[0.7, 0.9])
    page = Cells(sweep.plot("length").html())
    assert page.rows == [["", "top_p"], ["temperature", "0.7", "0.9"], ["0.1", "1", "2"], ["0.5", "3", "4"]]
    tiles = [style for style in page.styles if "background:#" in style]
    assert "background:#fff7d6;color:#000000" in tiles[0] and "background:#081d58;color:#ffffff" in tiles[3]
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
    assert plot.colours(1) == (css(colour(0.5)), css(ink(colour(0.5)))) and "aria-hidden" not in plot.html()


def test_a_figure_that_is_not_defined_is_an_empty_cell() -> None:
    """Diversity of one sample, or of no answer yet: a dash on no ground, and no error."""
    sweep = made(temperature=[0.1, 0.5])
    page = Cells(sweep.plot("diversity").html())
    assert page.rows[-1][1:] == ["–", "–"] and not any("background:#" in style for style in page.styles)
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
