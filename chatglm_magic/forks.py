"""Fork-safe locks.

The forking thread acquires every registered lock first, so the child never inherits one that is held by a thread
which doesn't exist there.
"""

from __future__ import annotations

import logging  # noqa: F401 - its hook must be registered before ours: a fork takes our locks first
import os
import threading
from enum import IntEnum
from typing import Any
from weakref import WeakKeyDictionary

PATIENCE = 2.0
"""Seconds that a fork waits for one lock at most; the child then has one of its own."""

IMPORT_PATIENCE = 60.0
"""Seconds for the lock of imports: they end by themselves, and a child can't do without their end."""


class Rank(IntEnum):
    """The order in which locks are taken, by a fork as by a question: the later one inside the earlier one."""

    SESSION = 1
    PARAMETERS = 2
    STORING = 3
    FIRST_USE = 4
    MODEL = 5
    CLIENT = 6
    LOOP = 7
    STORE = 8


_ranks: WeakKeyDictionary[Any, Rank] = WeakKeyDictionary()
_forking = threading.RLock()
_door = threading.RLock()
"""Held while a lock is made, and by a fork once it has all there are: who has one may be making another."""

_asked: list[Any] = []
_held: list[Any] = []
"""Of those that a fork asked for."""


def lock(rank: Rank) -> Any:
    """Make a ``threading.RLock`` for what a child goes on using."""
    made = threading.RLock()
    with _door:
        _ranks[made] = rank
    return made


def _hold() -> None:
    _forking.acquire()
    _door.acquire()
    while missing := [one for one in _ranks if one not in _asked]:
        _door.release()
        for one in sorted(missing, key=lambda one: _ranks[one]):
            _asked.append(one)
            if one.acquire(timeout=IMPORT_PATIENCE if _ranks[one] is Rank.FIRST_USE else PATIENCE):
                _held.append(one)
        _door.acquire()


def _let_go() -> None:
    while _held:
        _held.pop().release()
    _asked.clear()
    _door.release()
    _forking.release()


def _reset() -> None:
    for one in _asked:
        if one not in _held:
            one._at_fork_reinit()
    _let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_reset)
