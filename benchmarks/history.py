"""What a history of many turns costs: opening a page, searching, counting, in English and Chinese.

``python benchmarks/history.py [FOLDER]``; about 3 minutes and 2 GB in the folder, by default a temporary one.
First 100 000 turns as they are stored, with the search index; then ten times as many rows, without an index for
the new ones. Each figure is the median of several rounds, each in a store that has just been opened.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from timing import header, line

from chatglm_magic.store import Query, Store
from chatglm_magic.values import Turn

ROUNDS = 5
MANY = 100_000
TIMES = 10
PAGE = 20
CORPUS = Path(__file__).parent.parent / "training" / "corpus"
OPEN, SEARCH = 1000, 100
"""Milliseconds that are promised."""
RARE = "麒麟 zebrafish"
"""Stands in one of a thousand turns."""

NEWEST = Query(order="newest")
OPENING = {
    "newest": NEWEST,
    "one conversation": Query(conversation="0" * 11 + "7"),
    "longest first": Query(order="duration", reverse=True),
    "temperature 0.3 to 0.4": Query(order="newest", temperature=(0.3, 0.4)),
    "a model that few turns have": Query(order="newest", model="rare"),
}
WORDS = {
    "English, in most turns": "the",
    "English, the beginning of a word": "temp",
    "English, three words": "what is temperature",
    "English, rare": "zebrafish",
    "English, absent": "xylophone",
    "Chinese, one character": "的",
    "Chinese, two characters": "温度",
    "Chinese, four characters": "语言模型",
    "Chinese, rare": "麒麟",
    "Chinese, absent": "貔貅",
    "both together": "麒麟 zebra",
}


def sentences(name: str) -> list[str]:
    """Return the questions and answers of a language that the built-in model was taught."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, str) and len(value) > 8:
            found.append(value)
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(part)

    walk(tomllib.loads((CORPUS / f"{name}.toml").read_text(encoding="utf-8")))
    return found


def turns() -> Iterator[tuple[Turn, int]]:
    """Yield turns with answers of about a thousand letters or three hundred characters, half of them Chinese."""
    choice = random.Random(1)
    languages = ((sentences("en"), " ", 12), (sentences("zh"), "", 12))
    for at in range(MANY):
        source, between, pieces = languages[at % 2]
        yield (
            Turn(
                choice.choice(source),
                between.join(choice.choices(source, k=pieces)) + f" {RARE}" * (at % 1000 == 500),
                id=f"{choice.getrandbits(128):032x}",
                conversation=f"{at // PAGE:012x}",
                created=datetime.fromtimestamp(1.75e9 + 60 * at, UTC).isoformat(),
                model="rare" if at % 10_000 == 7 else choice.choice(("glm-4", "glm-4.5", "chatglm3")),
                asked={"temperature": choice.random(), "top_p": choice.random()},
                usage={"completion_tokens": choice.randrange(500)},
                duration=choice.random() * 20,
            ),
            at % PAGE,
        )


def fill(path: Path) -> None:
    """Store the turns, and print what that took."""
    store, all_turns = Store(path), turns()
    size, spent = 0, 0.0
    while some := list(islice(all_turns, 5000)):
        size += sum(len(turn.prompt.encode()) + len(turn.answer.encode()) for turn, _ in some)
        began = time.perf_counter()
        store.add(some)
        spent += time.perf_counter() - began
    store.close()
    mean = 1000 * spent / MANY
    print(f"{MANY:,} turns with {size / 1e6:.0f} MB of text: {mean:.2f} ms each, a file of {file_size(path)}")


MULTIPLIED = """
WITH RECURSIVE times (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM times WHERE n < ?)
INSERT INTO turns SELECT number + n * ?, printf('%d-%s', n, id), printf('%d-%s', n, conversation), position,
    status, kind, model, temperature, top_p, max_token, tokens, duration, created_at + n * 86400 * 100, 1
FROM times CROSS JOIN turns"""
MULTIPLIED_TEXTS = """
WITH RECURSIVE times (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM times WHERE n < ?)
INSERT INTO texts SELECT number + n * ?, prompt, answer, reasoning, system, endpoint, dialect, asked, sent,
    changed, turns_sent, turns_left_out, finish_reason, usage, first_token, created, error, cell_id, cell_run,
    outside, version
FROM times CROSS JOIN texts"""


def multiply(path: Path) -> None:
    """Copy the rows, but for the search index's, inside the database."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA cache_size = -400000")
    db.execute(MULTIPLIED, (TIMES - 1, MANY))
    db.execute(MULTIPLIED_TEXTS, (TIMES - 1, MANY))
    db.commit()
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    print(f"\n{MANY * TIMES:,} turns, a file of {file_size(path)}")


def opened(path: Path, look: Callable[[Store], object]) -> float:
    """Return the seconds that a look takes in a store that is opened for it."""
    store = Store(path)
    began = time.perf_counter()
    look(store)
    took = time.perf_counter() - began
    store.close()
    return took


def measure(path: Path, what: str, look: Callable[[Store], object], promise: float | None = None) -> None:
    """Print the median of several looks in milliseconds, and whether the promise about them holds."""
    took = 1000 * statistics.median(opened(path, look) for _ in range(ROUNDS))
    line(what, ratio=took, promise=promise, unit="ms")


def pages(path: Path) -> None:
    """Open a page of turns in several ways, and the list of conversations."""
    for what, query in OPENING.items():
        measure(path, f"a page: {what}", lambda store, query=query: store.find(query, limit=PAGE), OPEN)
    measure(path, "the page in the middle", lambda store: store.find(NEWEST, offset=MANY // 2, limit=PAGE))
    measure(path, "a page of conversations", lambda store: store.conversations(limit=PAGE), OPEN)
    measure(path, "the models' names", lambda store: store.models())
    measure(path, "count of all", lambda store: store.count(Query()))
    measure(path, "count of a model", lambda store: store.count(Query(model="glm-4")))


def searches(path: Path) -> None:
    """Search for the newest page of each, and count them all."""
    for what, text in WORDS.items():
        query = Query(text=text, order="newest")
        measure(path, f"{what}: {text}", lambda store, query=query: store.find(query, limit=PAGE), SEARCH)
        measure(path, "    count", lambda store, query=query: store.count(query))


def file_size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"


def main() -> None:
    """Fill a store, look into it; make it ten times as large, and look again."""
    header()
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        path = Path(folder) / "history.sqlite"
        fill(path)
        pages(path)
        searches(path)
        multiply(path)
        pages(path)


if __name__ == "__main__":
    main()
