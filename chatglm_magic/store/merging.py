"""What is saved and what still waits for the disk, put together as if it stood in one place."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import islice

from .query import NumbersWithKeys, Query, Summary

UNSAVED = 1 << 48
"""Added to the number of a turn that is not saved yet: it was asked after all that are."""


def merged(
    query: Query, saved: NumbersWithKeys, waiting: NumbersWithKeys, offset: int, limit: int | None
) -> list[int]:
    """Return the numbers of a page of both."""
    key = _sorting(query)
    both = heapq.merge(saved, ((number + UNSAVED, value) for number, value in waiting), key=key)
    return [number for number, _ in islice(both, offset, None if limit is None else offset + limit)]


def _sorting(query: Query) -> Callable[[tuple[int, float | None]], tuple[bool, float, int]]:
    """Return how the statements sort."""
    by_number = query.order == "newest" or (query.order == "position" and query.conversation is None)
    sign = -1 if query.reverse != (query.order == "newest") else 1

    def key(found: tuple[int, float | None]) -> tuple[bool, float, int]:
        number, value = found
        if by_number:
            return False, sign * number, 0
        return value is None, sign * (value or 0), sign * number

    return key


def summaries(saved: Sequence[Summary], waiting: Sequence[Summary], again: Callable[[str], int]) -> list[Summary]:
    """Return conversations of both, the last used first.

    :param again: how many turns of a conversation are saved and wait to be brought up to date.
    """
    old = {summary.id: summary for summary in saved}
    found = []
    for summary in waiting:
        if before := old.pop(summary.id, None):
            turns = before.turns + summary.turns - again(summary.id)
            summary = before._replace(turns=turns, last=summary.last)
        found.append(summary)
    return [*found, *old.values()]
