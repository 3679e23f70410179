"""Kills processes that write turns and exports, at random moments, and looks at what they leave.

``python -m tests.support.killing ROUNDS`` does so by itself; a test does ``CHATGLM_SOAK_ROUNDS`` rounds, or 10.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from chatglm_magic.store import History, Query, Store
from chatglm_magic.store.imports import read_turns

from .stores import ROOT, make_turn

PIECES = 8
"""So often a turn grows before it ends."""


def write(folder: Path) -> None:
    """Ask and answer without end, and export now and then; say after each step that it was done."""
    from dataclasses import replace

    store = Store(folder / "h.sqlite")
    number = store.count(Query())
    while True:
        growing = make_turn(f"question {number}", "", conversation=f"{number % 7:012x}", status="incomplete")
        for length in range(PIECES):
            growing = replace(growing, answer=f"爱情word{number} " * length)
            store.put(growing, number)
            _say("put", growing.id, len(growing.answer))
        store.put(replace(growing, status="complete"), number)
        _say("ended", growing.id, number)
        if number % 5 == 0:
            History(store, Query()).export(folder / "out.jsonl", force=True)
            _say("exported", growing.id, number)
        number += 1


def _say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())  # whole lines: a pipe takes so few bytes at once


@dataclass
class Told:
    """What killed processes said they had done."""

    written: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    exports: int = 0
    exported: int = 0
    """So many turns were there, at least, when the last export that was said to be done began."""
    kills: int = 0


def kill_one(folder: Path, told: Told, choice: random.Random) -> None:
    """Start a writer, kill it at some moment, and take note of what it said."""
    command = [sys.executable, "-m", "tests.support.killing", "--write", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        process.stdout.readline()  # it has begun
        time.sleep(choice.uniform(0, 0.3))
    finally:
        process.send_signal(signal.SIGKILL)
    for line in process.stdout.read().decode().splitlines():
        what, id, number = line.split(" ")
        if what == "put":
            told.written[id] = int(number)
        elif what == "ended":
            told.ended[id] = int(number)
        else:
            told.exports, told.exported = told.exports + 1, int(number) + 1
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    told.kills += 1


def check(folder: Path, told: Told) -> None:
    """See that the database is sound, that all that was said is there, and that the export is whole or absent."""
    db = sqlite3.connect(folder / "h.sqlite")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    lengths = dict(db.execute("SELECT id, length(answer) FROM turns JOIN texts USING (number)"))
    states = dict(db.execute("SELECT id, status FROM turns"))
    db.close()
    for id, length in told.written.items():
        assert lengths[id] >= length
    assert all(states[id] == "complete" for id in told.ended)
    store = Store(folder / "h.sqlite")
    assert store.count(Query()) == len(lengths) and store.take_notices() == []
    for id, number in list(told.ended.items())[-20:]:
        assert [row.turn.id for row in store.find(Query(text=f"word{number} 爱情", ids=(id,)))] == [id]
    store.close()
    exported = folder / "out.jsonl"
    if exported.exists() or told.exports:
        assert exported.read_bytes().endswith(b"}\n")
        assert len(read_turns(exported)) >= max(told.exported, 1)


def main(rounds: int) -> Told:
    """Kill so many writers of one store; check it after each."""
    told, choice = Told(), random.Random()
    with tempfile.TemporaryDirectory(prefix="chatglm-killing-") as name:
        for _ in range(rounds):
            kill_one(Path(name), told, choice)
            check(Path(name), told)
    return told


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        write(Path(sys.argv[2]))
    found = main(int(sys.argv[1]))
    print(
        f"{found.kills} kills: {len(found.written)} turns begun, {len(found.ended)} ended, {found.exports} exports"
    )
