"""A sweep as a value: picked from, tabulated, saved, loaded and shown."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
from IPython.lib.pretty import pretty

from chatglm_magic.errors import ChatGLMError, CommandError, ParameterError
from chatglm_magic.sweeps import Stats, Sweep
from chatglm_magic.sweeps.grid import Grid
from chatglm_magic.values import Answer, Turn


def made(samples: int = 2, prompts: tuple[str, ...] = ("p",), **axes: Any) -> Sweep:
    """A whole sweep that was never asked: each answer says where it stands."""
    found = Sweep(Grid(prompts, {name: tuple(values) for name, values in axes.items()}, samples))
    for cell in found.cells:
        for sample in range(samples):
            text = f"{cell.prompt} {' '.join(map(str, cell.setting.values()))} {sample}"
            usage = {"completion_tokens": 3}
            cell.turns[sample] = Turn(cell.prompt, text, asked=dict(cell.setting), sent={"x": 1}, usage=usage)
    return found


def test_iterating_yields_the_turns_cell_by_cell() -> None:
    """Iteration, length, turns and answers agree; an empty sweep is still true."""
    sweep = made(temperature=[0.1, 0.5])
    assert [turn.answer for turn in sweep] == ["p 0.1 0", "p 0.1 1", "p 0.5 0", "p 0.5 1"]
    assert len(sweep) == 4 and list(sweep) == sweep.turns
    assert all(isinstance(found, Answer) and found.turn in sweep.turns for found in sweep.answers)
    empty = Sweep(Grid(("p",)))
    assert len(empty) == 0 and empty and not empty.complete and not empty.running


def test_sel_picks_by_value() -> None:
    """One value, several, or a prompt; numbers but for rounding; the axes keep their names."""
    sweep = made(prompts=("p", "q"), temperature=[0.1, 0.3], top_p=[0.5, 0.9])
    one = sweep.sel(temperature=0.1 + 0.2, top_p=0.9, prompt="q")
    assert [turn.answer for turn in one] == ["q 0.3 0.9 0", "q 0.3 0.9 1"]
    assert one.axes == {"temperature": (0.3,), "top_p": (0.9,)} and one.grid.samples == 2
    both = sweep.sel(top_p=[0.9, 0.5], prompt="p")
    assert both.axes["top_p"] == (0.5, 0.9) and len(both) == 8
    assert sweep.cell(prompt="q", temperature=0.1, top_p=0.5).answers == ["q 0.1 0.5 0", "q 0.1 0.5 1"]
    with pytest.raises(ParameterError, match="There are 4 such cells: say which by temperature, top_p"):
        sweep.cell(prompt="q")


def test_sel_takes_lists_that_are_values_themselves() -> None:
    """A stop of two texts is one value of its axis."""
    sweep = made(stop=[["a", "b"], ["c"]])
    assert len(sweep.sel(stop=["a", "b"])) == 2 and len(sweep.sel(stop=[["a", "b"], ["c"]])) == 4


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ({"temprature": 1}, "no axis temprature"),
        ({"temperature": 0.2}, r"0.2 isn't part of the sweep. Available: 0.1, 0.5"),
        ({"temperature": True}, "isn't part of the sweep"),
        ({"temperature": []}, "no value"),
    ],
)
def test_sel_says_what_there_is(at: dict[str, Any], says: str) -> None:
    """For an axis or a value that does not exist."""
    with pytest.raises(ParameterError, match=says):
        made(temperature=[0.1, 0.5]).sel(**at)


def test_a_part_is_as_it_was_when_it_was_picked() -> None:
    """What comes later, and what is changed in the part, does not show in the other."""
    sweep = made(temperature=[0.1, 0.5])
    part = sweep.sel(temperature=0.1)
    part.cells[0].turns[0] = None
    assert len(part) == 1 and len(sweep) == 4


def test_the_table_has_a_row_an_answer() -> None:
    """Values, sample, text and figures in columns of their own."""
    pandas = pytest.importorskip("pandas")
    sweep = made(temperature=[0.1, 0.5], top_p=[0.9])
    sweep.cells[1].turns[1] = None
    table = sweep.to_dataframe()
    assert isinstance(table, pandas.DataFrame) and len(table) == 3
    assert list(table["temperature"]) == [0.1, 0.1, 0.5] and list(table["sample"]) == [0, 1, 0]
    assert list(table["answer"]) == ["p 0.1 0.9 0", "p 0.1 0.9 1", "p 0.5 0.9 0"]
    assert list(table["length"]) == [11] * 3 and list(table["tokens"]) == [3] * 3
    assert table.groupby("temperature")["length"].mean().to_dict() == {0.1: 11, 0.5: 11}
    assert list(Sweep(Grid(("p",))).to_dataframe().columns)[:2] == ["prompt", "sample"]


def test_a_table_with_half_a_character_can_be_written() -> None:
    """A lone surrogate in an answer, which no file can hold, becomes visible; other values stay what they are."""
    pytest.importorskip("pandas")
    sweep = made(1, ("\ud83d",), stop=[["a", "b"]])
    table = sweep.to_dataframe()
    assert table["answer"][0].startswith(r"\ud83d ") and table["stop"][0] == ["a", "b"]
    assert table.to_csv().encode()


def test_the_table_keeps_the_values_of_its_axes() -> None:
    """Under an axis' name stands what was asked for, also where the server calls its model otherwise."""
    pytest.importorskip("pandas")
    sweep = made(model=["glm-5", "glm-4.7"], length=[1, 2])
    table = sweep.to_dataframe()
    assert list(table["model"]) == ["glm-5"] * 4 + ["glm-4.7"] * 4 and list(table["length"]) == [1, 1, 2, 2] * 2


def test_a_saved_sweep_is_read_as_it_was(tmp_path: Path) -> None:
    """Grid, places, turns with all that is known of them, and what is missing; Chinese stays readable."""
    sweep = made(prompts=("为什么？", "q"), temperature=[0.1, 0.5], stop=[["a", "b"], None])
    sweep.cells[2].turns[1] = None
    path = sweep.save(tmp_path / "s.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 15 and "为什么？" in lines[0] and json.loads(lines[1])["prompt"] == "为什么？"
    assert path.stat().st_mode & 0o777 == 0o600
    again = Sweep.load(path)
    assert [cell.turns for cell in again.cells] == [cell.turns for cell in sweep.cells]
    assert again.axes == {"prompt": ("为什么？", "q"), "temperature": (0.1, 0.5), "stop": (["a", "b"], None)}
    assert again.stats() == sweep.stats() and again.missing() == 1


def test_saving_writes_over_nothing_by_accident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is there, a link, a folder, another ending and a path out of here are refused."""
    monkeypatch.chdir(tmp_path)
    sweep = made(temperature=[0.1])
    sweep.save("s.jsonl")
    os.symlink("s.jsonl", "link.jsonl")
    for name in ("s.jsonl", "link.jsonl", ".", "s.txt", "../s.jsonl"):
        with pytest.raises(CommandError):
            sweep.save(name)
    assert sweep.save("s.jsonl", force=True).exists() and sorted(os.listdir()) == ["link.jsonl", "s.jsonl"]


HEAD = {"sweep": 1, "prompts": ["p"], "axes": {"temperature": [0.1]}, "samples": 1, "places": [[0, 0]]}
TURN = {"prompt": "p", "answer": "x"}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "line 1 isn't JSON"),
        (["[]"], "line 1 isn't an object"),
        ([{**HEAD, "sweep": 2}], "of this version"),
        ([{**HEAD, "axes": []}], "isn't a grid"),
        ([{**HEAD, "axes": {"temperature": []}}], "isn't a grid"),
        ([{**HEAD, "samples": 10**9}], "is the most"),
        ([{**HEAD, "samples": "4"}], "samples must be"),
        ([{**HEAD, "prompts": [1]}], "needs a prompt"),
        ([{**HEAD, "axes": {"history": [[]]}}], "can't be swept"),
        ([{**HEAD, "places": [[0, 1]]}, TURN], "not in the grid"),
        ([{**HEAD, "places": [[-1, 0]]}, TURN], "not in the grid"),
        ([{**HEAD, "places": [[True, 0]]}, TURN], "not in the grid"),
        ([{**HEAD, "places": [[0, 0], [0, 0]]}, TURN, TURN], "twice"),
        ([HEAD, TURN, TURN], "should have 1 answers and has 2"),
        ([HEAD, {**TURN, "evil": 1}], "line 2: there is no key 'evil'"),
        ([HEAD, {**TURN, "baseline": 1}], "line 2: there is no key 'baseline'"),
        ([HEAD, {**TURN, "answer": 5}], "line 2: answer must be"),
        ([HEAD, {**TURN, "prompt": "other"}], "line 2 isn't an answer to its prompt"),
        ([HEAD, "{", ""], "line 2 isn't JSON"),
        ([HEAD, "[" * 100_000, ""], "line 2 isn't JSON"),
        ([HEAD, "\udcff", ""], "line 2 isn't JSON"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused_by_its_line(tmp_path: Path, lines: list[Any], says: str) -> None:
    """Whatever somebody has put into it."""
    path = tmp_path / "s.jsonl"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CommandError, match=re.escape(says)):
        Sweep.load(path)


@pytest.mark.parametrize("cut", [1, 30, -1])
def test_of_a_file_that_breaks_off_all_that_is_whole_is_read(tmp_path: Path, cut: int) -> None:
    """A full disk, or a copy that was not finished: the whole answers are there, and the rest can be asked."""
    sweep = made(temperature=[0.1, 0.5])
    path = sweep.save(tmp_path / "s.jsonl")
    data = path.read_bytes()
    last = data[:-1].rindex(b"\n") + 1
    path.write_bytes(data[: last + cut if cut > 0 else last])
    with pytest.warns(UserWarning, match=r"is truncated: 1 of its answers are missing. resume\(\)"):
        again = Sweep.load(path)
    assert list(again) == list(sweep)[:3] and again.missing() == 1
    path.write_bytes(data[:-1])
    assert list(Sweep.load(path)) == list(sweep)


def test_it_is_no_pickle_and_says_what_to_do_instead() -> None:
    """A sweep may be running: it is saved, or picked from."""
    for attempt in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match=r"save\(\) writes it"):
            attempt(made(temperature=[0.1]))


def test_numbers_beyond_all_reason_break_nothing(tmp_path: Path) -> None:
    """In a server's usage, in what is picked, in an axis' name."""
    sweep = made(temperature=[0.1, 0.5])
    for cell in sweep.cells:
        cell.turns[:] = [
            Turn(**{**_fields(turn), "usage": {"completion_tokens": 10**400}}) for turn in cell.received
        ]
    assert sweep.stats()[0].tokens is None and "4 of 4" in sweep._repr_html_()
    with pytest.raises(ParameterError, match="isn't part of the sweep"):
        sweep.sel(temperature=10**400)
    with pytest.raises(ParameterError, match="no figure"):
        sweep.plot([1])  # type: ignore[arg-type]
    lines = [json.dumps({**HEAD, "axes": {"\x1b[31m\n": [0.1, 0.5]}, "places": []}), ""]
    (tmp_path / "s.jsonl").write_text("\n".join(lines))
    assert repr(Sweep.load(tmp_path / "s.jsonl")).isprintable()


def test_a_file_that_is_not_there_is_an_error_in_one_line(tmp_path: Path) -> None:
    """So is a link, which is never followed."""
    made(temperature=[0.1]).save(tmp_path / "s.jsonl")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "s.jsonl")
    for name in ("nothing.jsonl", "link.jsonl"):
        with pytest.raises(CommandError, match=name):
            Sweep.load(tmp_path / name)


def test_it_shows_itself_as_text_and_as_html_without_times() -> None:
    """Two runs with the same answers look the same, whatever they took."""
    sweep, other = made(temperature=[0.1, 0.5]), made(temperature=[0.1, 0.5])
    for cell in other.cells:
        cell.turns[:] = [Turn(**{**_fields(turn), "duration": 9.9, "first_token": 1.1}) for turn in cell.received]
    assert pretty(sweep) == pretty(other) and sweep._repr_html_() == other._repr_html_()
    assert "4 of 4 answers" in pretty(sweep) and "Diversity" in pretty(sweep)
    assert repr(sweep) == "<Sweep of 2 temperature × 2 samples: 4 of 4 answers>" == pretty([sweep])[1:-1]


def _fields(turn: Turn | None) -> dict[str, Any]:
    return {name: getattr(turn, name) for name in Turn.__slots__}


def test_text_of_the_model_is_no_markup_anywhere() -> None:
    """Answers, prompts, values and errors are escaped; control characters are visible."""
    evil = "<img src=x onerror=alert(1)>\x1b]0;x\x07</script>\"'\ud800"
    sweep = Sweep(Grid((evil,), {"model": (evil, "b")}, 1))
    sweep.cells[0].turns[0] = Turn(evil, evil, finish_reason=evil)
    sweep.cells[1].turns[0] = Turn(evil, "", status="error", error=evil)
    for page in (sweep._repr_html_(), sweep.plot()._repr_html_(), Sweep(Grid((evil, "b")))._repr_html_()):
        assert "<img" not in page and "<script" not in page and "</script" not in page and "\x1b" not in page
        page.encode()
    shown = pretty(sweep) + pretty(sweep.plot())
    assert "\x1b" not in shown and "\x07" not in shown
    shown.encode()


def test_failures_are_named_with_their_number() -> None:
    """One line for each different reason."""
    sweep = Sweep(Grid(("p",), {"seed": tuple(range(5))}))
    for cell, error in zip(sweep.cells, ["boom", "boom", "gone", "boom", None], strict=True):
        cell.turns[0] = Turn("p", "", status="error", error=error) if error else Turn("p", "x")
    assert "3 × boom" in pretty(sweep) and "1 × gone" in sweep._repr_html_() and "4 failed" in repr(sweep)


def test_figures_are_counted_anew_when_an_answer_comes() -> None:
    """And only then."""
    sweep = made(temperature=[0.1])
    (first,) = sweep.stats()
    assert isinstance(first, Stats) and sweep.stats()[0] is first
    sweep._cell_grid.finish((0, 1), Turn("p", "quite another text"))
    assert sweep.stats()[0].length != first.length


def test_a_table_without_pandas_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line."""
    import sys

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ChatGLMError, match="pip install pandas"):
        made(temperature=[0.1]).to_dataframe()
