"""What a sweep must have done when it says that it is over, and what it takes over of another one."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from chatglm_magic import Session, sweep
from chatglm_magic.errors import ParameterError
from chatglm_magic.sweeps import Sweep
from chatglm_magic.sweeps.grid import build_grid, is_same_value
from chatglm_magic.sweeps.prepare import prepare_sweep
from chatglm_magic.values import Turn

from ..support.servers import Script, ScriptedServer, answer, by_body, chunk, legacy, reply, sse
from ..support.sweeps import open_session, run_sweep


class SlowStore:
    """Takes a turn only after it has seen whether the sweep is said to be over meanwhile."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.was_over = False
        self.over = threading.Event()

    def put(self, turn: Turn, position: int) -> None:
        if not self.kept:
            self.was_over = self.over.wait(0.5)
        self.kept.append(turn.id)


class SlowSession(Session):
    """A session whose store is slow."""

    slow = SlowStore()

    @property
    def store(self) -> Any:
        return self.slow


def test_a_sweep_is_over_when_every_answer_is_in_the_store() -> None:
    """Also on a slow disk: who waits for it, or is told of its end, finds all of them there."""
    with ScriptedServer(legacy("ok")) as server:
        session = SlowSession()
        session.slow = SlowStore()
        session.settings.endpoint_url = server.url
        result = prepare_sweep("p", {"seed": range(6)}, samples=1, jobs=6, session=session, resume=None)
        result.on_change(lambda: None if result.running or not len(result) else session.slow.over.set())
        result.resume()
        assert not session.slow.was_over
        assert sorted(session.slow.kept) == sorted(turn.id for turn in result) and len(result) == 6


def test_a_stopped_sweep_is_over_when_what_came_is_in_the_store() -> None:
    """The parts of answers too, without those of which nothing had come."""
    hold = threading.Event()

    def choose(body: Any) -> Script:
        return answer("whole") if body["seed"] == 0 else sse([chunk("half"), chunk("x")], hold=hold)

    came = threading.Event()
    with ScriptedServer(by_body(choose)) as server:
        session = open_session(server.url + "v1")
        result = prepare_sweep("p", {"seed": [0, 1]}, samples=1, jobs=2, session=session, resume=None)

        def follow() -> None:
            cells = result.partial.cells
            if cells[0].state == "done" and cells[1].preview_text:
                came.set()

        result.on_change(follow)
        result.resume(wait=False)
        assert came.wait(20)
        result.stop()
        hold.set()
        kept = {(turn.answer, turn.status) for turn in session.history.all.filter(kind="sweep")}
        assert kept == {("whole", "complete"), ("half", "interrupted")}
        assert [cell.state for cell in result.cells] == ["done", "partial"]


def test_a_smaller_sweep_takes_over_no_more_than_it_has_room_for() -> None:
    """Fewer samples than the other one had: the first ones, and not one question more."""
    with ScriptedServer(legacy(lambda body: str(body["temperature"]))) as server:
        session = open_session(server.url)
        first = run_sweep(session, temperature=[0.1, 0.5], samples=3)
        second = run_sweep(session, temperature=[0.5], samples=2, resume=first)
        assert len(server.posts) == 6 and second.complete
        assert [turn.id for turn in second] == [turn.id for turn in first.cells[1].received[:2]]
        assert (len(second), second.progress.total, second.progress.done) == (2, 2, 2)
        assert second.stats()[0].asked == 2 and second.missing() == 0


def test_only_whole_answers_are_taken_over() -> None:
    """What failed, broke off or was never asked is asked."""

    def choose(body: Any) -> Script:
        if body["seed"] == 1:
            return reply({"detail": "boom"}, status=500)
        return sse([chunk("half")], done=False) if body["seed"] == 2 else answer("whole")

    with ScriptedServer(by_body(choose)) as server:
        session = open_session(server.url + "v1")
        first = run_sweep(session, seed=[0, 1, 2])
        assert [turn.status for turn in first] == ["complete", "error", "incomplete"]
        server.asked.clear()
        server.scripts[:] = [answer("now")]
        second = run_sweep(session, seed=[0, 1, 2, 3], resume=first)
        assert sorted(post.body["seed"] for post in server.posts) == [1, 2, 3]
        assert [turn.answer for turn in second] == ["whole", "now", "now", "now"]


def test_a_sweep_is_taken_over_from_its_file(tmp_path: Any) -> None:
    """By its path, as text or as Path."""
    with ScriptedServer(legacy("ok")) as server:
        session = open_session(server.url)
        path = run_sweep(session, seed=[1, 2]).save(tmp_path / "s.jsonl")
        for given in (path, str(path)):
            again = sweep("p", seed=[1, 2], session=session, show=False, resume=given)
            assert again.complete and len(server.posts) == 2


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([True, 1, 1.0, False, 0, 0.0, None], (True, 1, False, 0, None)),
        ([1, True, 1], (1, True)),
        ([1.0, 1], (1.0,)),
        (["1", 1], ("1", 1)),
        ([[1], [1], [True]], ([1], [True])),
        ([{"a": 1}, {"a": 1}], ({"a": 1},)),
        (0, (0,)),
        (None, (None,)),
        (False, (False,)),
    ],
)
def test_each_value_of_an_axis_is_asked_once_and_true_is_not_one(given: Any, kept: tuple[Any, ...]) -> None:
    """Numbers that are equal are one value, whatever their type; truth, text and number are three."""
    axis = build_grid("p", {"flag": given}).axes["flag"]
    assert [(type(value), value) for value in axis] == [(type(value), value) for value in kept]


def test_true_and_one_are_two_cells_that_can_be_told_apart() -> None:
    """Each is sent as it is, and found by its own value."""
    with ScriptedServer(legacy(lambda body: repr(body["flag"]))) as server:
        result = run_sweep(open_session(server.url), flag=[True, 1, False, 0])
        assert [result.cell(flag=value).answers for value in (True, 1, False, 0)] == [
            ["True"],
            ["1"],
            ["False"],
            ["0"],
        ]
        assert len(server.posts) == 4 and isinstance(result, Sweep)


def test_numbers_are_the_same_but_for_rounding() -> None:
    """0.1 + 0.2 is 0.3; huge ones are compared as they are; truth isn't a number."""
    assert (
        is_same_value(0.1 + 0.2, 0.3)
        and is_same_value(1, 1.0)
        and is_same_value(10**400, 10**400)
        and is_same_value("a", "a")
        and is_same_value([1], [1])
    )
    assert (
        not is_same_value(0.3, 0.3001)
        and not is_same_value(True, 1)
        and not is_same_value(0, False)
        and not is_same_value("1", 1)
    )
    assert (
        not is_same_value(10**400, 10**400 + 1) and not is_same_value(1e-13, 1e-11) and is_same_value(0.0, 1e-13)
    )


@pytest.mark.parametrize("samples", [100_001, 50_001])
def test_a_grid_may_have_a_hundred_thousand_requests_and_not_one_more(samples: int) -> None:
    """Counted over prompts, values and samples."""
    axes = {} if samples > 100_000 else {"seed": [1, 2]}
    with pytest.raises(ParameterError, match="100,000 is the most"):
        build_grid("p", axes, samples)
    assert build_grid("p", axes, samples - 1).requests == 100_000


@pytest.mark.parametrize(("text", "count"), [("0:1:2", 2), ("0:1:1000", 1000)])
def test_a_range_has_two_values_at_least_and_a_thousand_at_most(text: str, count: int) -> None:
    """One fewer, and one more, is refused."""
    assert len(build_grid("p", {"temperature": text}).axes["temperature"]) == count
    for wrong in ("0:1:1", "0:1:1001", "0:1:0"):
        with pytest.raises(ParameterError, match="2 to 1 000"):
            build_grid("p", {"temperature": wrong})
