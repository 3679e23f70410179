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

LOCK_TIMEOUT_SECONDS = 2.0
"""How long a fork waits for one lock; after that the child gets a new one."""

IMPORT_LOCK_TIMEOUT_SECONDS = 60.0
"""How long it waits for the lock of imports: they end by themselves, and the child needs them complete."""


class LockOrder(IntEnum):
    """The order in which locks are acquired, by a fork and by a request: a later one inside an earlier one."""

    SESSION = 1
    PARAMETERS = 2
    STORING = 3
    FIRST_USE = 4
    MODEL = 5
    CLIENT = 6
    LOOP = 7
    STORE = 8


_orders: WeakKeyDictionary[Any, LockOrder] = WeakKeyDictionary()
_fork_lock = threading.RLock()
_registry_lock = threading.RLock()
"""Held while a lock is made, and by a fork that has all locks: the holder of one may be making another."""

_attempted: list[Any] = []
_acquired: list[Any] = []
"""The locks that the current fork tried to acquire, and those it got."""


def fork_safe_lock(order: LockOrder) -> Any:
    """Make a ``threading.RLock`` for something that a child process goes on using."""
    lock = threading.RLock()
    with _registry_lock:
        _orders[lock] = order
    return lock


def _acquire_all() -> None:
    _fork_lock.acquire()
    _registry_lock.acquire()
    while missing := [lock for lock in _orders if lock not in _attempted]:
        _registry_lock.release()
        for lock in sorted(missing, key=lambda lock: _orders[lock]):
            _attempted.append(lock)
            is_import = _orders[lock] is LockOrder.FIRST_USE
            if lock.acquire(timeout=IMPORT_LOCK_TIMEOUT_SECONDS if is_import else LOCK_TIMEOUT_SECONDS):
                _acquired.append(lock)
        _registry_lock.acquire()


def _release_all() -> None:
    while _acquired:
        _acquired.pop().release()
    _attempted.clear()
    _registry_lock.release()
    _fork_lock.release()


def _reset_in_child() -> None:
    for lock in _attempted:
        if lock not in _acquired:
            lock._at_fork_reinit()
    _release_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_acquire_all, after_in_parent=_release_all, after_in_child=_reset_in_child)
