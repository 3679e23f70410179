"""A running sweep whose answers are read: the reader waits, or says so where it can't."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from chatglm_magic.errors import Interrupted
from chatglm_magic.sweeps import Sweep

from ..support.explorers import start_sweep
from ..support.inside import strike_within
from ..support.servers import ScriptedServer, by_body, legacy
from ..support.sweeps import wait_until

READERS: dict[str, Callable[[Any], object]] = {
    "len": len,
    "iter": lambda sweep: [turn.answer for turn in sweep],
    "turns": lambda sweep: [turn.answer for turn in sweep.turns],
    "answers": lambda sweep: sweep.answers,
    "stats": lambda sweep: [stats.answers for stats in sweep.stats()],
    "cells": lambda sweep: [len(cell.answers) for cell in sweep.cells],
    "cell": lambda sweep: len(sweep.cell(temperature=0.5).answers),
    "sel": lambda sweep: len(sweep.sel(temperature=0.5)),
    "table": lambda sweep: len(sweep.to_dataframe()),
    "plot": lambda sweep: sweep.plot("length").text(),
}


class Held:
    """A sweep of two answers, of which the second one comes when it is released."""

    def __init__(self, server: ScriptedServer, release: threading.Event) -> None:
        self.sweep = start_sweep(server, temperature=[0.1, 0.5], jobs=1)
        self.release = release
        wait_until(lambda: len(self.sweep.partial) == 1)

    def read_in_thread(self, read: Callable[[Sweep], object]) -> tuple[threading.Thread, list[object]]:
        """Begin to read in another thread; return it with the list that gets what was read."""
        results: list[object] = []
        thread = threading.Thread(target=lambda: results.append(read(self.sweep)))
        thread.start()
        return thread, results


@pytest.fixture
def held() -> Any:
    release = threading.Event()

    def answer(body: Any) -> Any:
        def script(connection: Any, asked: Any) -> None:
            if body["temperature"] == 0.5:
                release.wait(20)
            legacy("ok")(connection, asked)

        return script

    with ScriptedServer(by_body(answer)) as server:
        made = Held(server, release)
        yield made
        release.set()
        made.sweep.stop()


@pytest.mark.parametrize("name", READERS)
def test_reading_waits_for_the_last_answer(held: Held, name: str) -> None:
    """Whatever reads a sweep gets all of it, and not what happens to be there."""
    read = READERS[name]
    before = read(held.sweep.partial)
    thread, results = held.read_in_thread(read)
    thread.join(0.1)
    assert thread.is_alive() and not results
    held.release.set()
    thread.join(20)
    assert results == [read(held.sweep.partial)] and results != [before]


def test_the_partial_sweep_grows_without_waiting(held: Held) -> None:
    """``partial`` gives one answer of two, and both once they are there; it is the same view all along."""
    partial = held.sweep.partial
    assert (len(partial), partial.progress.done, partial.running) == (1, 1, True)
    assert partial.stats()[1].answers == 0 and len(partial.to_dataframe()) == 1
    held.release.set()
    held.sweep.wait()
    assert (len(partial), partial.running) == (2, False)


def test_what_shows_a_running_sweep_does_not_wait(held: Held) -> None:
    """Its repr and its HTML say that it is running."""
    assert "1 of 2 answers, running" in repr(held.sweep)
    assert "1 of 2 answers, running" in held.sweep._repr_html_()


def test_saving_waits_and_saving_the_partial_sweep_does_not(held: Held, tmp_path: Any) -> None:
    """A file of a running sweep holds all answers; ``partial.save`` writes those that are there."""
    assert len(Sweep.load(held.sweep.partial.save(tmp_path / "part.jsonl"))) == 1
    thread, results = held.read_in_thread(lambda sweep: sweep.save(tmp_path / "all.jsonl"))
    held.release.set()
    thread.join(20)
    assert len(Sweep.load(tmp_path / "all.jsonl")) == 2 and results


def test_an_interrupt_ends_the_reading_and_not_the_sweep(held: Held) -> None:
    """The reader is told how much is there; the sweep goes on and can be read again."""
    strike_within("waiting.py:wait_with_progress", 0)
    with pytest.raises(Interrupted, match=r"sweep continues \(1 of 2 answers\)"):
        len(held.sweep)
    assert held.sweep.running
    held.release.set()
    assert len(held.sweep) == 2


def test_a_follower_that_reads_is_told_to_read_the_partial_sweep(held: Held) -> None:
    """On the thread that sends the requests waiting would never end."""
    errors: list[object] = []

    def follow() -> None:
        try:
            len(held.sweep)
        except RuntimeError as error:
            errors.append(str(error))

    held.sweep.on_change(follow)
    held.release.set()
    held.sweep.wait()
    assert all("partial" in str(error) for error in errors)
