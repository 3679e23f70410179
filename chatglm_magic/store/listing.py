"""Lists of what there is: conversations and models."""

from __future__ import annotations

import sqlite3

from .query import Summary

TITLE = 80

CONVERSATIONS = """
WITH page AS (
    SELECT conversation, count(*) AS turns, min(number) AS first, max(number) AS last
    FROM turns GROUP BY conversation ORDER BY last DESC LIMIT ? OFFSET ?)
SELECT conversation, (
        SELECT substr(prompt, 1, 400) FROM turns JOIN texts USING (number)
        WHERE turns.conversation = page.conversation ORDER BY position, number LIMIT 1),
    turns, (SELECT created FROM texts WHERE number = first), (SELECT created FROM texts WHERE number = last)
FROM page ORDER BY last DESC"""
# From one name to the next along the index, since a thousand turns share a handful of them.
MODELS = """
WITH RECURSIVE found (model) AS (
    SELECT min(model) FROM turns
    UNION ALL SELECT (SELECT min(model) FROM turns WHERE model > found.model) FROM found WHERE model IS NOT NULL)
SELECT model FROM found WHERE model IS NOT NULL
ORDER BY (SELECT max(number) FROM turns WHERE turns.model = found.model) DESC LIMIT ?"""


def conversations(db: sqlite3.Connection, offset: int, limit: int) -> list[Summary]:
    """Return a page of conversations, the last used first."""
    return [
        Summary(id, _title(prompt), turns, created, last)
        for id, prompt, turns, created, last in db.execute(CONVERSATIONS, (limit, offset))
    ]


def models(db: sqlite3.Connection, limit: int) -> list[str]:
    """Return the names of models, the last used first."""
    return [name for (name,) in db.execute(MODELS, (limit,))]


def _title(prompt: str | None) -> str:
    line = " ".join((prompt or "").split())
    return line if len(line) <= TITLE else line[: TITLE - 1].rstrip() + "…"
