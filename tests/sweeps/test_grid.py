"""Grids: values, their order, what can't be swept, and what would be asked."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from chatglm_magic import Session
from chatglm_magic.errors import ChatGLMError, CommandError, ParameterError
from chatglm_magic.magics.sweep import read_sweep_options
from chatglm_magic.sweeps.grid import axis_values, build_grid, parse_evenly_spaced
from chatglm_magic.sweeps.prepare import forecast, prepare_sweep

from ..support.servers import ScriptedServer, legacy
from ..support.sweeps import open_session


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0.5:0.9:5", [0.5, 0.6, 0.7, 0.8, 0.9]),
        ("0:1:3", [0.0, 0.5, 1.0]),
        ("1:0:3", [1.0, 0.5, 0.0]),
        ("256:1024:4", [256, 512, 768, 1024]),
        ("-1:1:2", [-1, 1]),
        ("0.1:0.3:3", [0.1, 0.2, 0.3]),
    ],
)
def test_a_b_n_is_n_evenly_spaced_numbers_with_both_ends(text: str, numbers: list[float]) -> None:
    """Without the dust of floating point, and whole numbers where ends and steps are whole."""
    found = parse_evenly_spaced(text)
    assert found == numbers and [type(n) for n in found or []] == [type(n) for n in numbers]


@pytest.mark.parametrize("text", ["0:1:1", "0:1:0", "0:1:1001"])
def test_a_number_of_values_that_makes_no_range_is_refused(text: str) -> None:
    """One value is no range, and a thousand is enough."""
    with pytest.raises(ParameterError, match="2 to 1 000"):
        parse_evenly_spaced(text)


@pytest.mark.parametrize("text", ["glm-4:9b:2", "1:2", "a:b:c", "1:2:3:4", "", "1:2:3.5"])
def test_other_texts_are_no_ranges(text: str) -> None:
    """A model's name with colons stays a name."""
    assert parse_evenly_spaced(text) is None


def test_each_value_counts_once_and_in_its_order() -> None:
    """Lists, tuples, generators and ranges are axes; a text and a mapping are one value; True is not 1."""
    assert axis_values("temperature", [0.5, 0.1, 0.5]) == (0.5, 0.1)
    assert axis_values("temperature", (n / 10 for n in range(3))) == (0.0, 0.1, 0.2)
    assert axis_values("max_token", range(1, 4)) == (1, 2, 3)
    assert axis_values("model", "1:2:3") == ("1:2:3",) and axis_values("temperature", "1:2:2") == (1, 2)
    assert axis_values("response_format", {"type": "json_object"}) == ({"type": "json_object"},)
    assert axis_values("flag", [True, 1, None]) == (True, 1, None)
    with pytest.raises(ParameterError, match="no value"):
        axis_values("temperature", [])


def test_numbers_of_numpy_become_pythons() -> None:
    """They could not be sent as JSON otherwise."""
    numpy = pytest.importorskip("numpy")
    assert [type(n) for n in axis_values("temperature", numpy.linspace(0, 1, 3))] == [float] * 3
    assert [type(n) for n in axis_values("max_token", numpy.arange(1, 3))] == [int] * 2


def test_cells_are_the_cartesian_product_with_the_last_axis_fastest() -> None:
    """The order is that of the prompts, then of the axes as they were given."""
    found = build_grid(["p", "q"], {"temperature": [0.1, 1], "top_p": [0.5, 0.9]}, 3)
    product = itertools.product(["p", "q"], [0.1, 1], [0.5, 0.9])
    assert list(found.cells()) == [(p, {"temperature": t, "top_p": top}) for p, t, top in product]
    assert found.requests == 24


@pytest.mark.parametrize(
    ("prompt", "axes", "samples", "says"),
    [
        ([], {}, 1, "needs a prompt"),
        ([1], {}, 1, "needs a prompt"),
        ("p", {}, 0, "samples must be"),
        ("p", {}, True, "samples must be"),
        ("p", {"temprature": [1]}, 1, "Did you mean temperature"),
        ("p", {"sample": [1]}, 1, "Did you mean samples"),
        ("p", {"history": [[]]}, 1, "can't be swept"),
        ("p", {"seed": range(10**9)}, 1, "is the most"),
        ("p", {"seed": range(1000), "max_token": range(1, 1000)}, 1, "is the most"),
        ("p", {}, 10**12, "is the most"),
    ],
)
def test_what_can_not_be_swept_is_refused_in_one_line(prompt: Any, axes: Any, samples: Any, says: str) -> None:
    """Before anything is asked, and before memory is full."""
    with pytest.raises(ParameterError, match=says) as caught:
        build_grid(prompt, axes, samples)
    assert "\n" not in str(caught.value)


def test_top_k_is_no_misspelt_top_p() -> None:
    """Keys of the body that look like fields can be swept, and so can their names on the wire."""
    assert build_grid("p", {"top_k": [1, 2], "min_p": [0.1], "max_tokens": [1], "max_length": [2]}).requests == 2


def test_a_value_no_server_would_take_is_refused_before_anything_is_sent() -> None:
    """The last of many settings is checked first of all."""
    with ScriptedServer(legacy()) as server:
        session = open_session(server.url)
        sweep = prepare_sweep("p", {"temperature": [0.1, 99]}, samples=1, jobs=1, session=session, resume=None)
        with pytest.raises(ParameterError, match="temperature must be"):
            sweep.resume()
        assert server.asked == []


def test_a_dry_run_says_how_much_it_would_be_and_sends_nothing() -> None:
    """25 settings of 4 with 100 tokens each are 100 requests and 10 000 tokens."""
    with ScriptedServer(legacy()) as server:
        axes = {"temperature": [0.1, 0.5, 0.7, 1, 1.5], "top_p": "0.5:0.9:5", "max_token": [100]}
        session = open_session(server.url + "v1")
        sweep = prepare_sweep("p", axes, samples=4, jobs=1, session=session, resume=None)
        told = forecast(sweep)
        assert "100 requests" in told and "At most 10,000 tokens (for the answers)" in told
        assert server.asked == []


def test_a_dry_run_is_honest_about_a_limit_that_is_not_there() -> None:
    """On /v1 an untouched max_token is not sent, so nobody knows; a seed makes samples alike."""
    session = open_session("http://127.0.0.1:9/v1")
    axes: dict[str, Any] = {"temperature": [0.1, 1], "seed": [7]}
    told = forecast(prepare_sweep("p", axes, samples=2, jobs=1, session=session, resume=None))
    assert "no limit is set" in told and "A seed is set" in told
    mixed = forecast(prepare_sweep("p", {"max_token": [None, 5]}, samples=1, jobs=1, session=session, resume=None))
    assert "no limit is set" in mixed


def test_the_line_is_read_in_any_order() -> None:
    """Parameters, options, and what comes behind them is the prompt."""
    order = read_sweep_options(
        "temperature=0.1,0.5 --samples 4 top_p=0.5:0.9:3 -j 8 --yes -o out --resume=r.jsonl Why? -n 3"
    )
    assert order.axes == {"temperature": [0.1, 0.5], "top_p": [0.5, 0.7, 0.9]}
    assert (order.samples, order.jobs, order.yes, order.out) == (4, 8, True, "out")
    assert order.resume == "r.jsonl" and order.prompt == "Why? -n 3"


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        ("model=glm-4:9b:2,'a, b'", "model", ["glm-4:9b:2", "a, b"]),
        ('system="be brief","be long",none', "system", ["be brief", "be long", None]),
        ('stop=["a","b"],x', "stop", [["a", "b"], "x"]),
        ("thinking=off,on", "thinking", ["off", "on"]),
        ("temperature=none,0", "temperature", [None, 0]),
        ("temperature=0.1,0.5:1:3", "temperature", [0.1, 0.5, 0.75, 1.0]),
        ('response_format={"type":"json_object"}', "response_format", [{"type": "json_object"}]),
        ("top_k=1,2", "top_k", [1, 2]),
        ("do_sample=true,false", "do_sample", [True, False]),
    ],
)
def test_values_are_read_as_people_type_them(line: str, name: str, expected: list[Any]) -> None:
    """Quotation marks keep commas, texts stay texts, ranges and single values mix."""
    assert read_sweep_options(line).axes == {name: expected}


def test_the_prompt_begins_where_options_end() -> None:
    """As typed; two dashes end the options, and behind them a parameter is text."""
    assert read_sweep_options("temperature=1 What is 1=2 ?").prompt == "What is 1=2 ?"
    assert read_sweep_options("temperature=1 -- top_p=1  x").prompt == "top_p=1  x"
    assert read_sweep_options("--samples 2 你好 --yes").prompt == "你好 --yes"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("temperature=", "can't be read"),
        ("temperature=,1", "can't be read"),
        ("temperature=1,", "can't be read"),
        ("temperature=0.1, 0.5", "can't be read"),
        ('system="open', "is not closed"),
        ("temperature=1 temperature=2", "given twice"),
        ("api_key=abc", "a key does not belong in a cell"),
        ("history=1", "can't be swept"),
        ("--sample 4", "Did you mean --samples"),
        ("--samples", "needs a value"),
        ("--samples 0", "whole number"),
        ("--jobs x", "whole number"),
        ("--dry-run=1", "takes no value"),
    ],
)
def test_a_line_that_can_not_be_understood_says_so(line: str, says: str) -> None:
    """In one line, with what to do."""
    with pytest.raises(CommandError, match=says):
        read_sweep_options(line)


def test_a_sweep_needs_no_axis() -> None:
    """Samples of one setting are a sweep too, and so is one answer."""
    with ScriptedServer(legacy(lambda body: body["prompt"])) as server:
        sweep = prepare_sweep("p", {}, samples=3, jobs=2, session=open_session(server.url), resume=None).resume()
        assert [turn.answer for turn in sweep] == ["p"] * 3 and sweep.grid.settings == [{}]


@pytest.mark.parametrize("jobs", [0, -1, True, 2.5])
def test_jobs_must_be_a_whole_number(jobs: Any) -> None:
    """One question at once is the least."""
    with pytest.raises(ChatGLMError, match="jobs must be"):
        prepare_sweep("p", {}, samples=1, jobs=jobs, session=Session(), resume=None)


@pytest.mark.parametrize("prompt", [None, 5, [[1]], [{}], b"x", {"a": "b"}, []])
def test_what_is_no_prompt_is_refused(prompt: Any) -> None:
    """In a word, whatever it is."""
    with pytest.raises(ParameterError, match="needs a prompt"):
        build_grid(prompt, {})


def test_very_long_numbers_are_no_range() -> None:
    """They are texts, which the field they are meant for refuses."""
    for text in ("0:1:" + "9" * 5000, "9" * 400 + ":1:3"):
        assert parse_evenly_spaced(text) is None


@pytest.mark.parametrize("before", [5, b"x.jsonl", [1]])
def test_only_a_sweep_can_be_resumed(before: Any) -> None:
    """Or the file of one."""
    with pytest.raises(ParameterError, match="resume is a sweep"):
        prepare_sweep("p", {}, samples=1, jobs=1, session=None, resume=before)
