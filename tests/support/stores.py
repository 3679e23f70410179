"""What the tests of the store share: turns, stores that are closed in time, and processes of their own."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatglm_magic.store import Query, Store
from chatglm_magic.values import Turn

ROOT = Path(__file__).parents[2]
CONVERSATION = "c0ffee000001"


def make_turn(prompt: str = "What is love?", answer: str = "A question.", **fields: Any) -> Turn:
    """Return a turn with an id of its own."""
    given = {"id": uuid.uuid4().hex, "conversation": CONVERSATION, "created": "2025-06-01T12:00:00+00:00"}
    return Turn(prompt, answer, **given | fields)


@contextmanager
def open_store(path: Path | None, **options: Any) -> Iterator[Store]:
    """A store that lets go of its file at the end."""
    store = Store(path, **options)
    try:
        yield store
    finally:
        store.close()


def list_prompts(store: Store, query: Query | None = None) -> list[str]:
    """Return the prompts of the turns found."""
    return [row.turn.prompt for row in store.find(query or Query())]


def is_sound(path: Path) -> bool:
    """Tell whether SQLite finds nothing wrong with a file and its indexes."""
    db = sqlite3.connect(path)
    try:
        return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        db.close()


@contextmanager
def start_code(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process of its own that runs code with these arguments; at the end it is killed."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def run_code(code: str, *arguments: object) -> str:
    """Run code in a process of its own; return what it printed."""
    with start_code(code, *arguments) as process:
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    return printed


HOLDS = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
db.execute("COMMIT")
print("released", flush=True)
"""


@contextmanager
def hold_lock(path: Path) -> Iterator[Callable[[], None]]:
    """Let another process hold a database for itself; what is yielded lets it go."""
    with start_code(HOLDS, path) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "held\n"

        def release() -> None:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "released\n"

        yield release


SERIES = (
    "(WITH RECURSIVE s (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < ?) SELECT * FROM s)"
)


def fill_store(path: Path, turns: int) -> None:
    """Fill a store with copies of one turn, by SQLite alone."""
    with open_store(path) as store:
        store.put(make_turn("爱情 question", model="m", duration=1.0, asked={"temperature": 0.5, "top_p": 0.5}), 0)
    db = sqlite3.connect(path)
    db.execute(
        "INSERT INTO turns SELECT value + 1, printf('%032x', value), conversation, value, status, kind, model,"
        " temperature + value % 7, top_p, max_token, tokens, value % 1000, created_at + value, 1"
        " FROM turns, generate_series(1, ?)".replace("generate_series(1, ?)", SERIES),
        (turns - 1,),
    )
    columns = (
        "prompt, answer, reasoning, system, endpoint, dialect, asked, sent, changed, turns_sent, turns_left_out"
    )
    more = "finish_reason, usage, first_token, first_answer, reasoning_tokens, created, error"
    more += ", cell_id, cell_run, outside, version"
    db.execute(
        f"INSERT INTO texts SELECT value + 1, {columns}, {more} FROM texts, {SERIES}",
        (turns - 1,),
    )
    db.execute(f"INSERT INTO words (rowid, text) SELECT value + 1, 'question 爱 情' FROM {SERIES}", (turns - 1,))
    db.commit()
    db.close()
